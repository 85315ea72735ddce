"""What is learnt from the photos of one fold, and what a round takes of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rsrl_ray import config
from rsrl_ray.core.arrays import MaskOrWeights, weights_of
from rsrl_ray.core.passes import RoundSteps, Sampling, sampling_in
from rsrl_ray.core.ridge import Ridge
from rsrl_ray.vision import network as networks
from rsrl_ray.vision.inputs import Indices
from rsrl_ray.vision.losses import CROSS_ENTROPY, Loss
from rsrl_ray.vision.mixup import Mixer
from rsrl_ray.vision.network import Weights
from rsrl_ray.vision.sampling import kept_weights
from rsrl_ray.vision.slopes import Slopes, Tabled

# What a round draws random numbers for. Each purpose has its own stream.
SHUFFLE, DROPOUT, AUGMENTATION, HEAD, PARTNERS = 1, 2, 3, 4, 5

LossOf = Callable[[Tensor, Tensor], Tensor]
"""Logits [B, C] and labels [B] -> the mean loss of the batch."""


class NotFinite(RuntimeError):
    """The training has diverged: a loss, weight or logit is not finite. what : which of them."""

    def __init__(self, message: str, what: str = "") -> None:
        super().__init__(message, what)
        self.what = what

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class RoundPhotos:
    """What passes in a round.

    photos : [n], ascending. weights : [N], of all photos; None if each weighs 1. counts : [C], float64, how many photos
    of each class the round trains on, or what they weigh.
    """

    photos: Indices
    weights: NDArray[np.float32] | None
    counts: NDArray[np.float64]


@dataclass(frozen=True)
class Lesson:
    """What is learnt from the photos of one fold.

    labels : [N], 0 to C - 1. start : the whole network's weights; with ``cold`` each round starts from them.
    train : the training photos before any is dropped, ascending.
    sampling : from round ``balanced_from`` on. mixup : alpha, see `rsrl_ray.vision.mixup`; 0 mixes nothing.
    weights : [N], float32, by which the loss of each photo is multiplied; None : by 1.
    training : with which it is learnt, if not with that of the network. ridge : the last layer is solved, not trained.
    """

    labels: NDArray[np.int64]
    start: Weights
    train: Indices
    seed: int = 0
    fold: int = 0
    warm_start: config.WarmStart = "all"
    loss: Loss = CROSS_ENTROPY
    sampling: Sampling = "shuffled"
    balanced_from: int = 1
    mixup: float = 0.0
    weights: NDArray[np.float32] | None = None
    training: config.Training | None = None
    ridge: Ridge | None = None

    def stream(self, number: int, purpose: int) -> int:
        """The seed of the random numbers for one purpose in a round."""
        return networks.torch_seed([self.seed, self.fold, number, purpose])

    def sampling_in(self, number: int) -> Sampling:
        """How a round draws its photos."""
        return sampling_in(number, self.sampling, self.balanced_from)

    def taken(self, kept: MaskOrWeights, steps: RoundSteps, number: int) -> RoundPhotos:
        """What passes in round ``number``, which keeps these photos, [N]. They have weights with ``weighted`` only."""
        assert kept.any()
        assert kept.shape == self.labels.shape
        classes = int(self.labels.max()) + 1
        if steps != "weighted":
            assert weights_of(kept) is None
            photos = np.flatnonzero(kept)
            return RoundPhotos(
                photos, self.weights, np.bincount(self.labels[photos], minlength=classes).astype(np.float64)
            )
        weights = kept_weights(kept, self.labels, self.train, self.sampling_in(number))
        if self.weights is not None:
            weights = weights * self.weights
        summed = np.bincount(self.labels[self.train], weights[self.train], minlength=classes)
        return RoundPhotos(self.train, weights, summed.astype(np.float64))

    def mixer(self, photos: Indices, number: int) -> Mixer | None:
        """What the batches of a round that takes these photos are mixed with."""
        if not self.mixup:
            return None
        return Mixer(self.mixup, photos, self.labels, torch.Generator().manual_seed(self.stream(number, PARTNERS)))

    def loss_of(self, taken: RoundPhotos, number: int, device: torch.device) -> LossOf:
        """The loss as a function of a batch's logits and labels, in a round that takes these photos."""
        counts = torch.from_numpy(taken.counts).to(device)
        return lambda logits, labels: self.loss(logits, labels, counts, number)

    def slopes_of(self, taken: RoundPhotos, number: int, device: torch.device) -> Slopes | None:
        """The same as tables, see `Tabled`; None if the loss has none."""
        counts = torch.from_numpy(taken.counts).to(device)
        return self.loss.slopes(counts, number) if isinstance(self.loss, Tabled) else None


def diverged(what: str, training: config.Training) -> NotFinite:
    """The error for something that is not finite, with what to try."""
    hint = " or training.precision fp32" if training.precision == "bf16" else ""
    return NotFinite(
        f"{what} is not finite (learning rate {training.learning_rate:g}, head "
        f"{training.learning_rate * training.head_factor:g}): try training.learning_rate "
        f"{training.learning_rate / 10:g}{hint}",
        what,
    )
