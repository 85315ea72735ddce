"""Balanced-MixUp: each batch is mixed with a class-balanced one."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rsrl_ray.vision.inputs import Indices, batches
from rsrl_ray.vision.sampling import drawn

BatchLoss = Callable[[Tensor, Tensor], Tensor]
DIGITS = 6  # of lambda: last bits of a power are other ones on other machines


class Partners(NamedTuple):
    """What the photos of a pass are mixed with: x becomes (1 - lambda) x + lambda x', and its loss likewise.

    parts : for each batch as many photos, with all classes equally likely; in the order in which they were drawn, so
    that a photo's partner does not depend on its place. shares : lambda of each batch.
    """

    parts: list[Indices]
    shares: list[float]


class Mixer:
    """Draws the partners of a round: lambda ~ Beta(alpha, 1), one for a batch, so a small alpha mixes little.

    References
    ----------
    A. Galdran et al., Balanced-MixUp for highly imbalanced medical image classification, MICCAI 2021 (with lambda on
    the class-balanced photos, as in the authors' code).
    """

    def __init__(self, alpha: float, photos: Indices, labels: Indices, generator: torch.Generator) -> None:
        """``photos`` : those of the round, [n]. labels : [N], of all photos."""
        self._alpha, self._photos, self._labels, self._generator = alpha, photos, labels, generator

    def partners(self, count: int, batch_size: int) -> Partners:
        """For the next pass, which has so many photos."""
        order = drawn(self._photos, self._labels, "class_balanced", self._generator)[:count]
        parts = batches(order, batch_size)
        uniform = torch.rand(len(parts), generator=self._generator, dtype=torch.float64)
        return Partners(parts, [round(one ** (1 / self._alpha), DIGITS) for one in uniform.tolist()])


def mixed_inputs(inputs: Iterator[Tensor], others: Iterator[Tensor], shares: Sequence[float]) -> Iterator[Tensor]:
    """Yield (1 - lambda) x + lambda x' for each batch, [B, ...]."""
    for one, other, share in zip(inputs, others, shares, strict=True):
        yield torch.lerp(one, other, share)


def mixed_losses(loss_of: BatchLoss, others: Iterator[Tensor], shares: Sequence[float]) -> Iterator[BatchLoss]:
    """Yield the loss of each batch: (1 - lambda) loss(z, y) + lambda loss(z, y').

    For the cross-entropy it is that of the mixed labels. others : the labels y' of each batch, [B].
    """
    for other, share in zip(others, shares, strict=True):

        def mixed(logits: Tensor, labels: Tensor, other: Tensor = other, share: float = share) -> Tensor:
            return (1 - share) * loss_of(logits, labels) + share * loss_of(logits, other)

        yield mixed
