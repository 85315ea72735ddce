"""A network, or the part of it that is trained, on its device, with the rows that it learns from."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rsrl_ray import config
from rsrl_ray.vision import network as networks
from rsrl_ray.vision.encoders import preprocessing_of
from rsrl_ray.vision.evaluation import EVALUATION_BATCH, Normaliser
from rsrl_ray.vision.frozen import cut
from rsrl_ray.vision.inputs import FeatureInputs, Indices, Inputs, PhotoInputs, batches, rows_on
from rsrl_ray.vision.memory import OutOfMemory, free_memory, gpu_room, memory_errors, no_refusals, trial_memory
from rsrl_ray.vision.network import Weights
from rsrl_ray.vision.reproducible import check_precision


@dataclass(frozen=True)
class Place:
    """A device. share : of the GPU's memory, 0 to 1, that a network and its inputs may take."""

    device: str
    share: float = 1.0


ON_CPU = Place("cpu")


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of features, [D] each. photos : whose they are, ascending."""

    photos: Indices
    mean: Tensor
    sd: Tensor


class NetworkOnDevice:
    """A network, or the part of it that is trained, and its inputs: photos or features.

    Both are made once. Then all trials of a process use them one after the other, so that a trial needs no memory
    besides what the trial before it has left.
    """

    def __init__(
        self,
        network: config.Network,
        training: config.Training,
        classes: int,
        rows: Callable[[], NDArray[Any]],
        place: Place = ON_CPU,
    ) -> None:
        """Nothing is made yet. CUBLAS_WORKSPACE_CONFIG is set, because CUDA reads it at its first use.

        rows : gives the photos, [N, S, S, 3], uint8, RGB, or their features if a part of the network is frozen. They
        are read one batch at a time, so they may be memory-mapped.
        """
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self.device, self.training = torch.device(place.device), training
        self._network, self._classes, self._rows, self._share = network, classes, rows, place.share
        self._holds: Weights | None = None
        self._moments: Moments | None = None

    def make(self) -> None:
        """Make inputs and model now, before the first round needs them.

        If the network is wrong or the GPU is full, this raises nothing: the first round raises it.

        Raises
        ------
        ValueError
            If this machine cannot read or make the inputs.
        """
        with contextlib.suppress(OutOfMemory), self._making():
            with contextlib.suppress(ValueError):
                _ = self.model
            _ = self.inputs

    @cached_property
    def model(self) -> nn.Module:
        """What is trained. Its layers have their names in the whole network.

        Raises
        ------
        ValueError
            If the GPU has no bfloat16.
        """
        training, network = self.training, self._network
        check_precision(training.precision, self.device)
        model = networks.build(network, self._classes)
        if training.trainable != "all":
            model = cut(model, training.trainable).trained
        return model.to(memory_format=torch.channels_last).to(self.device)

    def check_batches(self, batch_size: int) -> None:
        """Raises ValueError if a batch of one photo is too small for batch normalisation."""
        if batch_size == 1 and any(isinstance(module, nn.BatchNorm2d) for module in self.model.modules()):
            raise ValueError(
                f"training.batch_size: 1 is too few for {self._network.backbone}, which normalises over a batch; "
                "give 2 or more"
            )

    @cached_property
    def inputs(self) -> Inputs:
        """The rows, in the form that the model takes."""
        array, size = self._rows(), self._network.image_size
        rows = rows_on(self.device, array, self._room())
        if self.training.trainable != "all":
            return FeatureInputs(rows)
        assert array.shape[1:] == (size, size, 3), array.shape
        normalise = Normaliser(self.device, preprocessing_of(self._network))
        return PhotoInputs(rows, self.training.augmentation, normalise, self.device)

    @cached_property
    def features(self) -> NDArray[np.float32] | None:
        """What the frozen layers make of all photos, [N, D], in the machine's memory; None if no layer is frozen."""
        if self.training.trainable == "all":
            return None
        array = self._rows()
        rows = array if array.dtype == np.float32 else _as_float32(array)
        return rows.reshape(len(rows), -1)

    def _room(self) -> int:
        """How many bytes of the GPU's memory the rows may take."""
        if self.device.type == "cpu" or not self._share:
            return 0
        return gpu_room(self._share, trial_memory(self._network, self.training, self._classes))

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Compute with the model and its inputs in the body. If the GPU's memory is full, both are dropped.

        Raises
        ------
        OutOfMemory
            If the GPU's memory is full, or so full that the bits are not those of this kind of device.
        """
        with self._making():
            _ = self.model, self.inputs  # made first, because rows may be refused and then stay in the host's memory
            with no_refusals():
                yield

    @contextlib.contextmanager
    def _making(self) -> Iterator[None]:
        try:
            with memory_errors():
                yield
        except OutOfMemory:
            self.__dict__.pop("model", None)
            self.__dict__.pop("inputs", None)
            self._holds = None
            free_memory()
            raise

    def moments(self, photos: Indices) -> "Moments":
        """Those of the features of these photos, which all trials of a fold share."""
        from sklearn.preprocessing import StandardScaler  # it takes seconds to import

        if self._moments is None or not np.array_equal(self._moments.photos, photos):
            scaler = StandardScaler()
            for features in self.inputs.batches(batches(photos, EVALUATION_BATCH)):
                scaler.partial_fit(features.double().cpu().numpy())
            mean, sd = (torch.from_numpy(values).float() for values in (scaler.mean_, scaler.scale_))
            self._moments = Moments(photos, mean, sd)
        return self._moments

    def load(self, weights: Weights) -> None:
        """Put weights into the model, unless it has them already. Weights of the whole network fit a part of it too."""
        if self._holds is not weights:
            self._holds = None
            own = self.model.state_dict()
            networks.load_weights(self.model, {name: weights[name] for name in own})
            self._holds = weights

    def change(self) -> nn.Module:
        """The model, for training. From now on its weights are not known."""
        self._holds = None
        return self.model

    def weights(self) -> Weights | None:
        """A copy of the model's weights, which are known now; None if a number is not finite."""
        state = self.model.state_dict().values()
        if not bool(torch.stack([tensor.isfinite().all() for tensor in state]).all()):
            return None
        self._holds = networks.weights_of(self.model)
        return self._holds


def _as_float32(array: NDArray[np.int16]) -> NDArray[np.float32]:
    """Features in bfloat16, whose bits `stored` has written as int16."""
    return (array.astype(np.int32) << 16).view(np.float32)
