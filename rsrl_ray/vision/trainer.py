"""One round of training: a pure function of the parent's weights, the kept photos and the round's number."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rsrl_ray.core.arrays import MaskOrWeights
from rsrl_ray.core.passes import Sampling, passes
from rsrl_ray.core.trial import Device
from rsrl_ray.vision import network as networks
from rsrl_ray.vision.evaluation import EVALUATION_BATCH, autocast, evaluate
from rsrl_ray.vision.inputs import DeviceRows, Indices, batches
from rsrl_ray.vision.layers import StandardisedHead
from rsrl_ray.vision.lesson import AUGMENTATION, DROPOUT, HEAD, SHUFFLE, Lesson, LossOf, NotFinite, diverged
from rsrl_ray.vision.lockstep import (
    fit_in_lockstep,
    has_stacked_head,
    judge_in_lockstep,
    most_in_lockstep,
)
from rsrl_ray.vision.mixup import Partners, mixed_inputs, mixed_losses
from rsrl_ray.vision.network import Conv1, Weights
from rsrl_ray.vision.on_device import NetworkOnDevice
from rsrl_ray.vision.optimizer import optimizer_settings, sgd
from rsrl_ray.vision.reproducible import reproducible
from rsrl_ray.vision.sampling import drawn
from rsrl_ray.vision.solved_layer import Solving

_UNTOLD = Device()


@dataclass(frozen=True)
class _Pass:
    """One pass: the photos in their order, the weights [N] of all photos or None, what augmentation draws from.

    partners : what the photos are mixed with, or None.
    """

    order: Indices
    weights: NDArray[np.float32] | None
    augmentation: torch.Generator
    partners: Partners | None


class NetworkTrainer:
    """Trains and judges a network, or the part of it that is trained, on the photos of one fold.

    On one kind of device ``fit`` and ``logits`` give the same bits for the same arguments, whatever was called before.
    While they run, they set switches of the whole process (see `reproducible`). If a call asks for the weights that
    the call before it has left on the device, they are not loaded again.
    """

    def __init__(self, lesson: Lesson, network: NetworkOnDevice, device: Device = _UNTOLD) -> None:
        """Device : for which the bits hold. The trainer only keeps it, for callers that ask."""
        self.device, self.lesson, self.network = device, lesson, network
        self.training = lesson.training or network.training
        self.solving = None if lesson.ridge is None else Solving(lesson.ridge)

    @property
    def has_stacked_head(self) -> bool:
        """Whether its layer is trained and judged together with those of others."""
        return has_stacked_head(self.network, self.training)

    def fit(self, parent: Weights, kept: MaskOrWeights, number: int) -> Weights:
        """Train round ``number`` on the kept photos ([N]), from the ``parent`` weights of the round before.

        kept : a mask; or with ``weighted`` steps, or if the layer is solved, what each photo weighs.

        Raises
        ------
        NotFinite
            If the loss or a weight is not finite.
        OutOfMemory
            If the GPU's memory is full, or so full that the bits may differ. `logits` raises it too.
        ValueError
            If the network or its inputs cannot be made. `logits` raises it too.
        """
        (found,) = fit_together([self], [parent], [kept], number)
        if isinstance(found, NotFinite):
            raise found
        return found

    def fit_alone(self, parent: Weights, kept: MaskOrWeights, number: int) -> Weights | NotFinite:
        """See `fit`; the switches of the process are set before this."""
        network, lesson, training = self.network, self.lesson, self.training
        network.check_batches(training.batch_size)
        taken = lesson.taken(kept, training.steps, number)
        loss = lesson.loss_of(taken, number, network.device)
        augmentation = torch.Generator().manual_seed(lesson.stream(number, AUGMENTATION))
        mixer = lesson.mixer(taken.photos, number)
        model = self.begin(parent, number).train()
        optimizer = sgd(model, training)
        for order in self.passes(taken.photos, number):
            partners = None if mixer is None else mixer.partners(len(order), training.batch_size)
            one = _Pass(order, taken.weights, augmentation, partners)
            if not self._epoch(model, one, optimizer, loss).isfinite():
                return diverged(f"round {number}: the loss", training)
        optimizer.zero_grad()  # frees the memory of the gradients
        weights = network.weights()
        return diverged(f"round {number}: a weight", training) if weights is None else weights

    def logits(self, weights: Weights) -> NDArray[np.float32]:
        """The logits [N, C] of all photos, in evaluation mode.

        Raises
        ------
        NotFinite
            If a logit is not finite.
        """
        (logits,) = judge_together([self], [weights])
        if isinstance(logits, NotFinite):
            raise logits
        return logits

    def seen(self, weights: Weights, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logits [N, C] of these weights as rules see them."""
        return logits if self.solving is None else self.solving.seen(weights, logits)

    def judge_alone(self, weights: Weights) -> Tensor:
        """See `logits`; they may be not finite, and are on the device."""
        network, training = self.network, self.network.training
        network.load(weights)
        inputs = network.inputs.batches(batches(np.arange(len(self.lesson.labels)), EVALUATION_BATCH))
        return torch.cat(evaluate(network.model, inputs, network.device, training.precision, training.threads))

    def features(self) -> NDArray[np.float32] | None:
        """What the frozen layers make of all photos, [N, D]; None if no layer is frozen."""
        return self.network.features

    def conv1(self, weights: Weights) -> Conv1 | None:
        """The first convolution with these ``weights``; None if it is frozen."""
        frozen = self.network.training.trainable != "all"
        return None if frozen else networks.conv1_of(self.network.model, weights)

    def begin(self, parent: Weights, number: int) -> nn.Module:
        """The model with the weights that the round begins with."""
        lesson, network = self.lesson, self.network
        network.load(lesson.start if lesson.warm_start == "cold" else parent)
        model = network.change()
        head = model.get_submodule(networks.head_name(model))
        if isinstance(head, StandardisedHead):
            moments = network.moments(lesson.train)
            head.set(moments.mean, moments.sd)
        if lesson.warm_start != "all":
            networks.load_weights(model, networks.new_head(model, [lesson.seed, lesson.fold, number, HEAD]))
        return model

    def passes(self, photos: Indices, number: int) -> Iterator[Indices]:
        """Yield the photos of each pass of a round that takes these, in the order of training."""
        training, lesson = self.training, self.lesson
        shuffle = torch.Generator().manual_seed(lesson.stream(number, SHUFFLE))
        sampling: Sampling = (
            "shuffled" if training.steps == "weighted" else lesson.sampling_in(number)
        )  # it is in the weights then
        for count in passes(len(photos), len(lesson.train), training.batch_size, training.epochs, training.steps):
            yield drawn(photos, lesson.labels, sampling, shuffle)[:count]

    def _epoch(
        self,
        model: nn.Module,
        one: "_Pass",
        optimizer: torch.optim.Optimizer,
        loss_of: LossOf,
    ) -> Tensor:
        """Train one pass. The sum of the losses is returned on the device, so that no step waits for it."""
        device, training = self.network.device, self.training
        total = torch.zeros((), device=device)
        # sorted, so that a memory-mapped file is read forwards
        parts = [np.sort(batch) for batch in batches(one.order, training.batch_size)]
        inputs = self.network.inputs.batches(parts, one.augmentation)
        rows = DeviceRows(self.lesson.labels, device)
        losses: Iterator[LossOf] = itertools.repeat(loss_of, len(parts))
        if one.partners is not None:
            others, shares = one.partners
            inputs = mixed_inputs(inputs, self.network.inputs.batches(others, one.augmentation), shares)
            losses = mixed_losses(loss_of, rows.batches(others), shares)
        steps = zip(inputs, rows.batches(parts), self._weights(one.weights, parts), losses, strict=True)
        for batch, labels, weights, loss_here in steps:
            with autocast(device, training.precision):
                logits = model(batch)
                if weights is not None:  # the gradient of a photo's logits is its own, because the loss is a mean
                    logits.register_hook(weights.mul)
                loss = loss_here(logits, labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.detach()
        return total

    def _weights(self, weights: NDArray[np.float32] | None, parts: Sequence[Indices]) -> Iterator[Tensor | None]:
        """Yield the weights of the photos of each batch, [B, 1], or None."""
        if weights is None:
            return itertools.repeat(None, len(parts))
        return DeviceRows(weights[:, None], self.network.device).batches(parts)

    @contextmanager
    def fitting(self, number: int) -> Iterator[None]:
        """Set the switches of the arithmetic, and seed the generators of dropout; restore both afterwards."""
        cuda = self.network.device.type == "cuda"
        with (
            self.network.computing(),
            reproducible(self._threads()),
            torch.random.fork_rng(devices=[self.network.device] if cuda else []),
        ):
            seed_all = torch.manual_seed if cuda else torch.default_generator.manual_seed
            seed_all(self.lesson.stream(number, DROPOUT))
            yield

    def _threads(self) -> int:
        """How many CPU threads train a round.

        It is one for layers in lockstep: several threads share the products in a way that depends on how many layers
        there are, and a layer has other last bits alone.
        """
        return 1 if self.has_stacked_head and self.solving is None else self.training.threads


def fit_together(
    trainers: Sequence[NetworkTrainer],
    parents: Sequence[Weights],
    kept: Sequence[MaskOrWeights],
    number: int,
) -> list[Weights | NotFinite]:
    """Train the same round of several trainers of one network and fold, see `NetworkTrainer.fit`.

    Each has the bits that it has alone. With ``trainable: head`` and ``steps: weighted`` they train in lockstep.
    """
    found: list[Weights | NotFinite | None] = [None for _ in trainers]
    with trainers[0].network.computing():
        parts = list(_at_once(trainers))
    for places in parts:
        first, *_ = some = [trainers[place] for place in places]
        theirs, masks = [parents[place] for place in places], [kept[place] for place in places]
        with first.fitting(number):  # once for all of them: each begins with the same random numbers
            if first.solving is not None:
                ended = [first.solving.solve(first, theirs[0], masks[0])]
            elif first.has_stacked_head:
                ended = fit_in_lockstep(some, theirs, masks, number)
            else:
                ended = [first.fit_alone(theirs[0], masks[0], number)]
        for place, weights in zip(places, ended, strict=True):
            found[place] = weights
    return [weights for weights in found if weights is not None]


def _at_once(trainers: Sequence[NetworkTrainer]) -> Iterator[list[int]]:
    """The places of trainers that train at once: in lockstep, with equally many steps, or one alone."""
    steps = defaultdict[tuple[int, int], list[int]](list)
    for place, trainer in enumerate(trainers):
        if trainer.has_stacked_head and trainer.solving is None:
            steps[trainer.training.epochs, trainer.training.batch_size].append(place)
        else:
            yield [place]
    for places in steps.values():
        first = trainers[places[0]]
        with first.fitting(1):
            alone = len(places) == 1
            most = 1 if alone else most_in_lockstep(first.network, len(first.lesson.train), first.training.batch_size)
        # those with the same settings lie beside each other, because they share an optimizer
        places.sort(key=lambda place: sorted(optimizer_settings(trainers[place].training).items()))
        yield from (places[begin : begin + most] for begin in range(0, len(places), most))


def judge_together(
    trainers: Sequence[NetworkTrainer], weights: Sequence[Weights]
) -> list[NDArray[np.float32] | NotFinite]:
    """The logits [N, C] of all photos for each trainer's weights, see `NetworkTrainer.logits`."""
    first = trainers[0]
    network = first.network
    with network.computing():
        if len(trainers) > 1 and all(trainer.has_stacked_head for trainer in trainers):
            found = judge_in_lockstep(network, weights, len(first.lesson.labels))
        else:
            found = [trainer.judge_alone(each) for trainer, each in zip(trainers, weights, strict=True)]
        judged = zip(trainers, weights, found, strict=True)
        logits = [trainer.seen(own, each.cpu().numpy()) for trainer, own, each in judged]
    return [
        each if np.isfinite(each).all() else diverged("a logit", trainer.training)
        for trainer, each in zip(trainers, logits, strict=True)
    ]
