"""One round of training: a pure function of the parent's weights, the kept photos and the round's number."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rsrl_ray import config
from rsrl_ray.vision import network as networks
from rsrl_ray.vision.evaluation import EVALUATION_BATCH, autocast, evaluate
from rsrl_ray.vision.inputs import DeviceRows, Indices, batches
from rsrl_ray.vision.network import Conv1, Weights
from rsrl_ray.vision.on_device import NetworkOnDevice
from rsrl_ray.vision.reproducible import reproducible

# What a round draws random numbers for; each purpose has a stream of its own.
_SHUFFLE, _DROPOUT, _AUGMENTATION, _HEAD = 1, 2, 3, 4


class NotFinite(RuntimeError):
    """The training diverged: its loss, weights or logits are no finite numbers."""


@dataclass(frozen=True)
class Lesson:
    """What is learnt from the photos of one fold.

    labels : [N], 0 to C - 1. start : the whole network's weights, what ``cold`` starts every round from.
    """

    labels: NDArray[np.int64]
    start: Weights
    warm_start: Literal["all", "head", "cold"]
    seed: int
    fold: int


class NetworkTrainer:
    """Trains and judges a network, or its part that is trained, on the photos of one fold.

    ``fit`` and ``logits`` give the same bits for the same arguments, whatever was called before, on one kind of
    device. While they run they set switches of the whole process (see ``reproducible``). Weights stay on the device
    from one call to the next where they are the ones that are asked for.
    """

    def __init__(self, lesson: Lesson, network: NetworkOnDevice) -> None:
        self._lesson, self._network = lesson, network
        self._labels = np.asarray(lesson.labels, dtype=np.int64)

    @property
    def device_kind(self) -> str:
        """The kind of device that the bits of a round hold for."""
        return self._network.kind

    def fit(self, parent: Weights, kept: NDArray[np.bool_], number: int) -> Weights:
        """Train round ``number`` on the kept photos ([N]), from the ``parent`` weights of the round before.

        Raises
        ------
        NotFinite
            Where the loss or a weight stops being a finite number.
        OutOfMemory
            Where the GPU's memory is full; likewise `logits`.
        ValueError
            Where the network or its inputs cannot be made; likewise `logits`.
        """
        photos = np.flatnonzero(kept)
        assert len(photos)
        assert kept.shape == self._labels.shape
        shuffle, augmentation = (
            torch.Generator().manual_seed(self._stream(number, purpose)) for purpose in (_SHUFFLE, _AUGMENTATION)
        )
        numbers = self._global_numbers(self._stream(number, _DROPOUT))
        training = self._network.training
        with self._network.computing(), reproducible(training.threads), numbers:
            model = self._load_first(parent, number).train()
            optimizer = sgd(model, training)
            for _ in range(training.epochs):
                order = photos[torch.randperm(len(photos), generator=shuffle).numpy()]
                if not self._epoch(model, order, optimizer, augmentation).isfinite():
                    raise self._diverged(f"round {number}: the loss")
            optimizer.zero_grad()  # gives their memory back
            weights = self._network.weights()
        if weights is None:
            raise self._diverged(f"round {number}: a weight")
        return weights

    def logits(self, weights: Weights) -> NDArray[np.float32]:
        """Logits [N, C] of all photos, in evaluation mode.

        Raises
        ------
        NotFinite
            Where a logit is no finite number.
        """
        network = self._network
        device, training = network.device, network.training
        with network.computing():
            network.load(weights)
            inputs = network.inputs.batches(batches(np.arange(len(self._labels)), EVALUATION_BATCH))
            found = evaluate(network.model, inputs, device, training.precision, training.threads)
            logits: NDArray[np.float32] = torch.cat(found).cpu().numpy()
        if not np.isfinite(logits).all():
            raise self._diverged("a logit")
        return logits

    def conv1(self, weights: Weights) -> Conv1 | None:
        """The first convolution as ``weights`` have it; None where it is frozen."""
        frozen = self._network.training.trainable != "all"
        return None if frozen else networks.conv1_of(self._network.model, weights)

    def _load_first(self, parent: Weights, number: int) -> nn.Module:
        """The model as the round begins with it, to be trained."""
        lesson, network = self._lesson, self._network
        network.load(lesson.start if lesson.warm_start == "cold" else parent)
        model = network.change()
        if lesson.warm_start != "all":
            networks.load_weights(model, networks.new_head(model, [lesson.seed, lesson.fold, number, _HEAD]))
        return model

    def _epoch(
        self, model: nn.Module, order: Indices, optimizer: torch.optim.Optimizer, augmentation: torch.Generator
    ) -> Tensor:
        """One pass; the sum of the losses stays on the device, so that no step has to wait for it."""
        device, training = self._network.device, self._network.training
        total = torch.zeros((), device=device)
        parts = [np.sort(batch) for batch in batches(order, training.batch_size)]  # a mapped file is read forwards
        inputs = self._network.inputs.batches(parts, augmentation)
        for batch, labels in zip(inputs, DeviceRows(self._labels, device).batches(parts), strict=True):
            with autocast(device, training.precision):
                loss = cross_entropy(model(batch), labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.detach()
        return total

    def _stream(self, number: int, purpose: int) -> int:
        return networks.torch_seed([self._lesson.seed, self._lesson.fold, number, purpose])

    @contextmanager
    def _global_numbers(self, seed: int) -> Iterator[None]:
        """Seed the generators that dropout draws from, and put them back afterwards."""
        cuda = self._network.device.type == "cuda"
        with torch.random.fork_rng(devices=[self._network.device] if cuda else []):
            (torch.manual_seed if cuda else torch.default_generator.manual_seed)(seed)
            yield

    def _diverged(self, what: str) -> NotFinite:
        training = self._network.training
        hint = " or training.precision fp32" if training.precision == "bf16" else ""
        return NotFinite(
            f"{what} is not finite (learning rate {training.learning_rate:g}, head "
            f"{training.learning_rate * training.head_factor:g}): try training.learning_rate "
            f"{training.learning_rate / 10:g}{hint}"
        )


def sgd(model: nn.Module, training: config.Training) -> torch.optim.Optimizer:
    """A fresh optimizer, whose last layer has a learning rate of its own."""
    head = f"{networks.head_name(model)}."
    named = list(model.named_parameters())
    own = [parameter for name, parameter in named if name.startswith(head)]
    rest = [parameter for name, parameter in named if not name.startswith(head)]
    groups: list[dict[str, Any]] = [{"params": rest}, {"params": own}]
    groups[1]["lr"] = training.learning_rate * training.head_factor
    return torch.optim.SGD(
        groups,
        lr=training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        fused=True,  # on the CPU too: a step of AlexNet's 57 million weights takes 20 ms, not 140
    )
