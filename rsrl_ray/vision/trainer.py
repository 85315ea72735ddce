"""One round of training: a pure function of the parent's weights, the kept photos and the round's number."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from rsrl_ray import config
from rsrl_ray.core.passes import passes
from rsrl_ray.core.trial import Device
from rsrl_ray.vision import network as networks
from rsrl_ray.vision.evaluation import EVALUATION_BATCH, autocast, evaluate
from rsrl_ray.vision.inputs import DeviceRows, Indices, batches
from rsrl_ray.vision.layers import StandardisedHead
from rsrl_ray.vision.losses import CROSS_ENTROPY, Loss
from rsrl_ray.vision.network import Conv1, Weights
from rsrl_ray.vision.on_device import NetworkOnDevice
from rsrl_ray.vision.reproducible import reproducible
from rsrl_ray.vision.sampling import drawn, kept_weights

_UNTOLD = Device()

# What a round draws random numbers for. Each purpose has its own stream.
_SHUFFLE, _DROPOUT, _AUGMENTATION, _HEAD = 1, 2, 3, 4


class NotFinite(RuntimeError):
    """The training has diverged: a loss, weight or logit is not finite. what : which of them."""

    def __init__(self, message: str, what: str = "") -> None:
        super().__init__(message, what)
        self.what = what

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Lesson:
    """What is learnt from the photos of one fold.

    labels : [N], 0 to C - 1. start : the whole network's weights; with ``cold`` each round starts from them.
    train : the training photos before any is dropped, ascending.
    weights : [N], float32, by which the loss of each photo is multiplied; None : by 1.
    """

    labels: NDArray[np.int64]
    start: Weights
    train: Indices
    seed: int = 0
    fold: int = 0
    warm_start: config.WarmStart = "all"
    loss: Loss = CROSS_ENTROPY
    sampling: config.Sampling = "shuffled"
    weights: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class _Pass:
    """One pass: the photos in their order, the weights [N] of all photos or None, what augmentation draws from."""

    order: Indices
    weights: NDArray[np.float32] | None
    augmentation: torch.Generator


class NetworkTrainer:
    """Trains and judges a network, or the part of it that is trained, on the photos of one fold.

    On one kind of device ``fit`` and ``logits`` give the same bits for the same arguments, whatever was called before.
    While they run, they set switches of the whole process (see `reproducible`). If a call asks for the weights that
    the call before it has left on the device, they are not loaded again.
    """

    def __init__(self, lesson: Lesson, network: NetworkOnDevice, device: Device = _UNTOLD) -> None:
        """Device : for which the bits hold. The trainer only keeps it, for callers that ask."""
        self.device = device
        self._lesson, self._network = lesson, network
        self._labels = np.asarray(lesson.labels, dtype=np.int64)

    def fit(self, parent: Weights, kept: NDArray[np.bool_], number: int) -> Weights:
        """Train round ``number`` on the kept photos ([N]), from the ``parent`` weights of the round before.

        Raises
        ------
        NotFinite
            If the loss or a weight is not finite.
        OutOfMemory
            If the GPU's memory is full, or so full that the bits may differ. `logits` raises it too.
        ValueError
            If the network or its inputs cannot be made. `logits` raises it too.
        """
        assert kept.any()
        assert kept.shape == self._labels.shape
        photos, weights_of = self._taken(kept)
        shuffle, augmentation = (
            torch.Generator().manual_seed(self._stream(number, purpose)) for purpose in (_SHUFFLE, _AUGMENTATION)
        )
        numbers = self._global_numbers(self._stream(number, _DROPOUT))
        training = self._network.training
        with self._network.computing(), reproducible(training.threads), numbers:
            model = self._load_first(parent, number).train()
            optimizer = sgd(model, training)
            loss = self._loss(photos, weights_of, number)
            for order in self._epochs(photos, shuffle):
                if not self._epoch(model, _Pass(order, weights_of, augmentation), optimizer, loss).isfinite():
                    raise self._diverged(f"round {number}: the loss")
            optimizer.zero_grad()  # frees the memory of the gradients
            weights = self._network.weights()
        if weights is None:
            raise self._diverged(f"round {number}: a weight")
        return weights

    def logits(self, weights: Weights) -> NDArray[np.float32]:
        """The logits [N, C] of all photos, in evaluation mode.

        Raises
        ------
        NotFinite
            If a logit is not finite.
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

    def features(self) -> NDArray[np.float32] | None:
        """What the frozen layers make of all photos, [N, D]; None if no layer is frozen."""
        return self._network.features

    def conv1(self, weights: Weights) -> Conv1 | None:
        """The first convolution with these ``weights``; None if it is frozen."""
        frozen = self._network.training.trainable != "all"
        return None if frozen else networks.conv1_of(self._network.model, weights)

    def _load_first(self, parent: Weights, number: int) -> nn.Module:
        """The model with the weights that the round begins with."""
        lesson, network = self._lesson, self._network
        network.load(lesson.start if lesson.warm_start == "cold" else parent)
        model = network.change()
        head = model.get_submodule(networks.head_name(model))
        if isinstance(head, StandardisedHead):
            head.set(*self._moments)
        if lesson.warm_start != "all":
            networks.load_weights(model, networks.new_head(model, [lesson.seed, lesson.fold, number, _HEAD]))
        return model

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the features of the fold's training photos, [D] each."""
        scaler = StandardScaler()
        for features in self._network.inputs.batches(batches(self._lesson.train, EVALUATION_BATCH)):
            scaler.partial_fit(features.double().cpu().numpy())
        mean, sd = (torch.from_numpy(values).float() for values in (scaler.mean_, scaler.scale_))
        return mean, sd

    def _taken(self, kept: NDArray[np.bool_]) -> tuple[Indices, NDArray[np.float32] | None]:
        """The photos that pass in a round, and the weights [N] of all photos; None if each weighs 1."""
        lesson, own = self._lesson, self._lesson.weights
        if self._network.training.steps != "weighted":
            return np.flatnonzero(kept), own
        weights = kept_weights(kept, self._labels, lesson.train, lesson.sampling)
        return lesson.train, weights if own is None else weights * own

    def _loss(
        self, photos: Indices, weights: NDArray[np.float32] | None, number: int
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss as a function of a batch's logits and labels, in a round in which these photos pass."""
        classes = int(self._labels.max()) + 1
        of_each = weights[photos] if self._network.training.steps == "weighted" and weights is not None else None
        found = np.bincount(self._labels[photos], of_each, minlength=classes).astype(np.float64)
        counts = torch.from_numpy(found).to(self._network.device)
        return lambda logits, labels: self._lesson.loss(logits, labels, counts, number)

    def _epochs(self, photos: Indices, shuffle: torch.Generator) -> Iterator[Indices]:
        """Yield the photos of each pass, in the order of training."""
        training, lesson = self._network.training, self._lesson
        sampling = "shuffled" if training.steps == "weighted" else lesson.sampling  # it is in the weights then
        for count in passes(len(photos), len(lesson.train), training.batch_size, training.epochs, training.steps):
            yield drawn(photos, self._labels, sampling, shuffle)[:count]

    def _epoch(
        self,
        model: nn.Module,
        one: "_Pass",
        optimizer: torch.optim.Optimizer,
        loss_of: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Train one pass. The sum of the losses is returned on the device, so that no step waits for it."""
        device, training = self._network.device, self._network.training
        total = torch.zeros((), device=device)
        # sorted, so that a memory-mapped file is read forwards
        parts = [np.sort(batch) for batch in batches(one.order, training.batch_size)]
        inputs = self._network.inputs.batches(parts, one.augmentation)
        labelled = DeviceRows(self._labels, device).batches(parts)
        for batch, labels, weights in zip(inputs, labelled, self._weights(one.weights, parts), strict=True):
            with autocast(device, training.precision):
                logits = model(batch)
                if weights is not None:  # the gradient of a photo's logits is its own, because the loss is a mean
                    logits.register_hook(weights.mul)
                loss = loss_of(logits, labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.detach()
        return total

    def _weights(self, weights: NDArray[np.float32] | None, parts: Sequence[Indices]) -> Iterator[Tensor | None]:
        """Yield the weights of the photos of each batch, [B, 1], or None."""
        if weights is None:
            return itertools.repeat(None, len(parts))
        return DeviceRows(weights[:, None], self._network.device).batches(parts)

    def _stream(self, number: int, purpose: int) -> int:
        return networks.torch_seed([self._lesson.seed, self._lesson.fold, number, purpose])

    @contextmanager
    def _global_numbers(self, seed: int) -> Iterator[None]:
        """Seed the generators that dropout draws from during the body, and restore them afterwards."""
        cuda = self._network.device.type == "cuda"
        with torch.random.fork_rng(devices=[self._network.device] if cuda else []):
            seed_all = torch.manual_seed if cuda else torch.default_generator.manual_seed
            seed_all(seed)
            yield

    def _diverged(self, what: str) -> NotFinite:
        training = self._network.training
        hint = " or training.precision fp32" if training.precision == "bf16" else ""
        return NotFinite(
            f"{what} is not finite (learning rate {training.learning_rate:g}, head "
            f"{training.learning_rate * training.head_factor:g}): try training.learning_rate "
            f"{training.learning_rate / 10:g}{hint}",
            what,
        )


def sgd(model: nn.Module, training: config.Training) -> torch.optim.Optimizer:
    """A new optimizer. The last layer has its own learning rate."""
    head = f"{networks.head_name(model)}."
    named = list(model.named_parameters())
    last = [parameter for name, parameter in named if name.startswith(head)]
    others = [parameter for name, parameter in named if not name.startswith(head)]
    head_rate = training.learning_rate * training.head_factor
    groups: list[dict[str, Any]] = [{"params": others}, {"params": last, "lr": head_rate}]
    return torch.optim.SGD(
        groups,
        lr=training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        fused=True,  # on the CPU too: with AlexNet's 57 million weights a step takes 20 ms instead of 140 ms
    )
