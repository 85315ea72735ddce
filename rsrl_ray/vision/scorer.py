"""Trained networks that score photos. All photos of their sweep, in its order, get the same bits as in the sweep."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rsrl_ray import config
from rsrl_ray.config import Head, Precision
from rsrl_ray.core.arrays import Pixels
from rsrl_ray.core.likelihood import Membership
from rsrl_ray.photos.picture import Interpolation, decode_photo, quiet_pillow
from rsrl_ray.vision import network as vision_network
from rsrl_ray.vision.encoders import TORCHVISION, Colour, Preprocessing
from rsrl_ray.vision.evaluation import EVALUATION_BATCH, Normaliser, evaluate
from rsrl_ray.vision.gpu_or_cpu import GpuOrCpu
from rsrl_ray.vision.network import Weights

Reader = Callable[[], bytes]
"""Gives a picture's bytes, or raises ValueError with a short cause. It is called in another thread."""

_AHEAD = 4 * EVALUATION_BATCH  # photos that are decoded at a time
_DECODING = threading.BoundedSemaphore(os.cpu_count() or 1)  # of all requests to a server: decoding takes memory


@dataclass(frozen=True)
class Settings:
    """What a scorer needs besides weights.

    scores : the classes, ascending. precision, threads, device (``cpu`` or ``cuda``) : as in training, because the
    logits depend on them. membership : how logits become likelihoods. photo_memory : GiB that decoding one photo may
    take. head, standardise : see `rsrl_ray.config.Network`. mean, std, interpolation : see `Preprocessing`.
    """

    backbone: str
    image_size: int
    scores: tuple[int, ...]
    membership: Membership
    precision: Precision
    threads: int
    device: str
    photo_memory: float = config.PHOTO_MEMORY
    head: Head = "own"
    standardise: bool = False
    mean: Colour = TORCHVISION.mean
    std: Colour = TORCHVISION.std
    interpolation: Interpolation = TORCHVISION.interpolation


@dataclass(frozen=True)
class Judgement:
    """The outputs of K networks for N photos.

    logits : [K, N, C], nan for a photo that cannot be read. errors : N causes, "" for a photo that can be read.
    """

    logits: NDArray[np.float32]
    errors: tuple[str, ...]


class Scorer:
    """Networks with their weights, loaded once. If several threads call it, they wait for each other."""

    def __init__(self, networks: Sequence[Weights], settings: Settings) -> None:
        """``networks`` : the weights of K networks of one sweep.

        Networks that were trained on a GPU are put on a GPU if there is one with room. Otherwise their logits differ
        in the last bits. Like `NetworkOnDevice`, this sets the environment variable CUBLAS_WORKSPACE_CONFIG if it is
        not set.
        """
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self.settings = settings
        self._place = GpuOrCpu(settings.device)
        self._model = _Together([self._loaded(weights) for weights in networks])
        self._place.run(self._model.to)
        self._alone = threading.Lock()  # the number of threads and others are switches of the whole process

    def _loaded(self, weights: Weights) -> nn.Module:
        asked = self.settings
        network = config.Network(asked.backbone, "none", asked.image_size, asked.head, asked.standardise)
        model = vision_network.build(network, len(self.settings.scores))
        assert model.state_dict().keys() == weights.keys()
        vision_network.load_weights(model, weights)
        return model.to(memory_format=torch.channels_last)

    def judge(self, photos: Sequence[Reader]) -> Judgement:
        """Read, decode and judge photos, one batch at a time.

        The same photos in the same order have the same logits, bit for bit, as from the `NetworkTrainer` on the same
        kind of device. Among other photos, or at another place among them, a photo's last digits may differ.
        """
        count = len(self._model.networks)
        logits = np.full((count, len(photos), len(self.settings.scores)), np.nan, dtype=np.float32)
        errors = list[str]()

        def judged(device: torch.device) -> list[Tensor]:
            errors[:] = [""] * len(photos)
            normalise = Normaliser(device, Preprocessing(self.settings.mean, self.settings.std))
            inputs = (
                normalise(torch.from_numpy(np.stack(pixels)).to(device))
                for pixels in _in_batches(self._decoded(photos, errors))
            )
            model, settings = self._model.to(device), self.settings
            return [part.cpu() for part in evaluate(model, inputs, device, settings.precision, settings.threads)]

        with self._alone, quiet_pillow():
            found = self._place.run(judged)
        if found:
            logits[:, [not error for error in errors]] = torch.cat(found, dim=1).numpy()
        return Judgement(logits, tuple(errors))

    def _decoded(self, photos: Sequence[Reader], errors: list[str]) -> Iterator[Pixels]:
        """Yield the pixels of the photos that can be read, in order; ``errors`` gets the causes of the others.

        Threads decode a few batches ahead.
        """
        with ThreadPoolExecutor() as pool:
            for first in range(0, len(photos), _AHEAD):
                for row, pixels in enumerate(pool.map(self._pixels, photos[first : first + _AHEAD]), first):
                    if isinstance(pixels, str):
                        errors[row] = pixels
                    else:
                        yield pixels

    def _pixels(self, photo: Reader) -> Pixels | str:
        """The photo's pixels, or why it cannot be read."""
        settings = self.settings
        try:
            data = photo()
            with _DECODING:
                return decode_photo(data, settings.image_size, settings.photo_memory, settings.interpolation)
        except ValueError as error:
            return str(error)


class _Together(nn.Module):
    """Networks that judge the same photos: [B, 3, S, S] -> [K, B, C]."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, photos: Tensor) -> Tensor:
        """See the class."""
        return torch.stack([network(photos) for network in self.networks])


def _in_batches(photos: Iterator[Pixels]) -> Iterator[list[Pixels]]:
    """Cut photos as `inputs.batches` does: a single photo that is left over joins the last batch."""
    batch: list[Pixels] = []
    for photo in photos:
        batch.append(photo)
        if len(batch) == EVALUATION_BATCH + 2:
            yield batch[:EVALUATION_BATCH]
            batch = batch[EVALUATION_BATCH:]
    if batch:
        yield batch
