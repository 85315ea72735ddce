"""One round of training: a pure function of the parent's weights, the kept photos and the round's number."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rsrl_ray import config
from rsrl_ray.vision import network as networks
from rsrl_ray.vision.evaluation import EVALUATION_BATCH, Inputs, autocast, evaluate
from rsrl_ray.vision.network import Conv1, Weights
from rsrl_ray.vision.reproducible import device_kind, reproducible

# What a round draws random numbers for; each purpose has a stream of its own.
_SHUFFLE, _DROPOUT, _AUGMENTATION, _HEAD = 1, 2, 3, 4

Indices = NDArray[np.int64]


class NotFinite(RuntimeError):
    """The training diverged: its loss, weights or logits are no finite numbers."""


class OutOfMemory(RuntimeError):
    """The GPU's memory is full; the first line of what PyTorch says of it."""


class Learner:
    """Trains and judges one network on the photos of one fold.

    ``fit`` and ``logits`` give the same bits for the same arguments, whatever was called before, on one kind of
    device. While they run they set switches of the whole process (see ``reproducible``). The constructor sets the
    environment variable CUBLAS_WORKSPACE_CONFIG where it is missing: CUDA reads it when it is first used.
    """

    def __init__(
        self,
        network: config.Network,
        training: config.Training,
        warm_start: Literal["all", "head", "cold"],
        start: Weights,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.int64],
        classes: int,
        seed: int,
        fold: int,
        device: str = "cpu",
    ) -> None:
        """Build the network, once; every call loads weights into it.

        start : what ``cold`` starts every round from; pixels : [N, S, S, 3], RGB, read a batch at a time, so it
        may be memory-mapped; labels : [N], 0 to ``classes - 1``.

        Raises
        ------
        ValueError
            Where batch normalisation would have to normalise a batch of one photo.
        """
        assert pixels.shape == (len(labels), network.image_size, network.image_size, 3), pixels.shape
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self._training, self._warm_start, self._start = training, warm_start, start
        self._pixels, self._labels = pixels, np.asarray(labels, dtype=np.int64)
        self._seed, self._fold, self._device = seed, fold, torch.device(device)
        with torch.random.fork_rng(devices=[]):
            model = networks.build(network, classes)
        if training.batch_size == 1 and any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
            raise ValueError(
                f"training.batch_size: 1 is too few for {network.backbone}, which normalises over a batch; "
                "give 2 or more"
            )
        self._model = model.to(memory_format=torch.channels_last).to(self._device)
        self._inputs = Inputs(self._device)

    @property
    def device_kind(self) -> str:
        """The kind of device that the bits of a round hold for."""
        return device_kind(self._device)

    def fit(self, parent: Weights, kept: NDArray[np.bool_], number: int) -> Weights:
        """Train round ``number`` on the kept photos ([N]), from the ``parent`` weights of the round before.

        Raises
        ------
        NotFinite
            Where the loss or a weight stops being a finite number.
        OutOfMemory
            Where the GPU's memory is full; likewise `logits`.
        """
        photos = np.flatnonzero(kept)
        assert len(photos)
        assert kept.shape == self._labels.shape
        shuffle, augmentation = (
            torch.Generator().manual_seed(self._stream(number, purpose)) for purpose in (_SHUFFLE, _AUGMENTATION)
        )
        numbers = self._global_numbers(self._stream(number, _DROPOUT))
        with _memory(), reproducible(self._training.threads), numbers:
            networks.load_weights(self._model, self._first_weights(parent, number))
            self._model.train()
            optimizer = self._optimizer()
            for _ in range(self._training.epochs):
                order = photos[torch.randperm(len(photos), generator=shuffle).numpy()]
                if not self._epoch(order, optimizer, augmentation).isfinite():
                    raise self._diverged(f"round {number}: the loss")
            optimizer.zero_grad()  # gives their memory back
            weights = networks.weights_of(self._model)
        if not all(np.isfinite(array).all() for array in weights.values()):
            raise self._diverged(f"round {number}: a weight")
        return weights

    def logits(self, weights: Weights) -> NDArray[np.float32]:
        """Logits [N, C] of all photos, in evaluation mode.

        Raises
        ------
        NotFinite
            Where a logit is no finite number.
        """
        everything = batches(np.arange(len(self._labels)), EVALUATION_BATCH)
        training = self._training
        with _memory():
            networks.load_weights(self._model, weights)
            inputs = (self._photos(rows) for rows in everything)
            logits = np.concatenate(evaluate(self._model, inputs, self._device, training.precision, training.threads))
        if not np.isfinite(logits).all():
            raise self._diverged("a logit")
        return logits

    def conv1(self, weights: Weights) -> Conv1:
        """The first convolution as ``weights`` have it."""
        return networks.conv1_of(self._model, weights)

    def _first_weights(self, parent: Weights, number: int) -> Weights:
        if self._warm_start == "all":
            return parent
        head = networks.new_head(self._model, [self._seed, self._fold, number, _HEAD])
        return (self._start if self._warm_start == "cold" else parent) | head

    def _optimizer(self) -> torch.optim.Optimizer:
        head = f"{networks.head_name(self._model)}."
        named = list(self._model.named_parameters())
        own = [parameter for name, parameter in named if name.startswith(head)]
        rest = [parameter for name, parameter in named if not name.startswith(head)]
        groups: list[dict[str, Any]] = [{"params": rest}, {"params": own}]
        groups[1]["lr"] = self._training.learning_rate * self._training.head_factor
        return torch.optim.SGD(
            groups,
            lr=self._training.learning_rate,
            momentum=self._training.momentum,
            weight_decay=self._training.weight_decay,
            fused=True,  # on the CPU too: a step of AlexNet's 57 million weights takes 20 ms, not 140
        )

    def _epoch(self, order: Indices, optimizer: torch.optim.Optimizer, augmentation: torch.Generator) -> Tensor:
        """One pass; the sum of the losses stays on the device, so that no step has to wait for it."""
        total = torch.zeros((), device=self._device)
        for batch in batches(order, self._training.batch_size):
            rows = np.sort(batch)  # a memory-mapped file is read forwards
            photos = self._photos(rows, augmentation)
            labels = torch.from_numpy(self._labels[rows]).to(self._device)
            with autocast(self._device, self._training.precision):
                loss = cross_entropy(self._model(photos), labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.detach()
        return total

    def _photos(self, rows: Indices, augmentation: torch.Generator | None = None) -> Tensor:
        """The photos at ``rows`` as the network takes them: [B, 3, S, S], normalised, channels last."""
        photos = torch.from_numpy(self._pixels[rows]).to(self._device)  # [B, S, S, 3]
        if augmentation and self._training.augmentation:
            y, x = windows(len(photos), photos.shape[1], self._training.augmentation, augmentation)
            first = torch.arange(len(photos), device=self._device)[:, None, None]
            photos = photos[first, y[:, :, None].to(self._device), x[:, None, :].to(self._device)]
        return self._inputs.normalise(photos)

    def _stream(self, number: int, purpose: int) -> int:
        return networks.torch_seed([self._seed, self._fold, number, purpose])

    @contextmanager
    def _global_numbers(self, seed: int) -> Iterator[None]:
        """Seed the generators that dropout draws from, and put them back afterwards."""
        cuda = self._device.type == "cuda"
        with torch.random.fork_rng(devices=[self._device] if cuda else []):
            (torch.manual_seed if cuda else torch.default_generator.manual_seed)(seed)
            yield

    def _diverged(self, what: str) -> NotFinite:
        training = self._training
        hint = " or training.precision fp32" if training.precision == "bf16" else ""
        return NotFinite(
            f"{what} is not finite (learning rate {training.learning_rate:g}, head "
            f"{training.learning_rate * training.head_factor:g}): try training.learning_rate "
            f"{training.learning_rate / 10:g}{hint}"
        )


@contextmanager
def _memory() -> Iterator[None]:
    """PyTorch's error of a full GPU as ours, so that others need not import PyTorch."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(str(error).splitlines()[0]) from error


def batches(order: Indices, size: int) -> list[Indices]:
    """Cut ``order`` into batches of ``size``; a single photo left over joins the last one (batch normalisation)."""
    cuts = list(range(size, len(order), size))
    if cuts and size > 1 and len(order) - cuts[-1] == 1:
        cuts.pop()
    return np.split(order, cuts)


def windows(count: int, size: int, kinds: Collection[str], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which row and which column of each photo to take: two index tensors [count, size].

    ``crop`` shifts a photo by up to ``size // 8`` pixels each way, its border mirrored (reflect padding);
    ``flip`` mirrors it left to right with probability 1/2. Drawn on the CPU, so the same for every device.
    """
    y = x = torch.arange(size).expand(count, size)
    if "crop" in kinds:
        reach = size // 8
        shift = torch.randint(-reach, reach + 1, (2, count, 1), generator=generator)
        y, x = (size - 1 - (size - 1 - (axis + by).abs()).abs() for axis, by in zip((y, x), shift, strict=True))
    if "flip" in kinds:
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        x = torch.where(mirrored, x.flip(1), x)
    return y, x
