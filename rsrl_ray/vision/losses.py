"""Losses for imbalanced classes: what a training step minimises in place of the cross-entropy.

Each takes the logits [B, C] and labels [B] of a batch, and the number of photos of each class that the round trains
on, [C]. pi is the share of each class in them. A class without photos is masked: it takes no part in the softmax and
has no weight. Losses are computed in float32. ``smooth``: sigma of the kernel by which the counts are smoothed over
neighbouring scores first, in classes (see `rsrl_ray.vision.class_counts.smoothed`); 0 leaves them as they are.

This module does not import torch before a loss is computed, because losses of a file are checked before torch is
loaded.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rsrl_ray.core.value import as_text, check_count, check_number, check_share
from rsrl_ray.vision.class_counts import by_effective_number, masked, smoothed, weighted_mean
from rsrl_ray.vision.slopes import Slopes, every_label, from_label, hard_targets

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CROSS_ENTROPY", "LOSSES", "Balanced", "CrossEntropy", "EffectiveNumber", "Focal", "Ldam", "Loss"]

NEARLY_0 = 1e-9  # if gamma is below 1, the slope of x^gamma is infinite at 0, where a photo is learnt completely


class Loss(Protocol):
    """A frozen value whose ``str`` is for people."""

    def __call__(self, logits: "Tensor", labels: "Tensor", counts: "Tensor", number: int = 1) -> "Tensor":
        """The loss of a batch, a scalar.

        counts : [C], float64, the photos of each class that round ``number`` trains on.
        """
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """The loss of the paper, without knobs. It is used if no loss is named."""

    def __str__(self) -> str:
        """For people."""
        return "cross-entropy"

    def __call__(self, logits: "Tensor", labels: "Tensor", counts: "Tensor", number: int = 1) -> "Tensor":
        """See `Loss`. It is torch's cross-entropy over all classes."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits, labels)


@dataclass(frozen=True)
class Balanced:
    """Cross-entropy of z + tau ln pi, against hard targets or soft ones, in which near scores are similar.

    balanced : tau. 0 is the plain softmax, 1 the balanced softmax. ordinal : sigma of the soft targets
    T(c) ~ exp(-(c - y)^2 / 2 sigma^2) pi_c^tau, in classes; 0 gives hard targets.

    References
    ----------
    J. Ren et al., Balanced meta-softmax for long-tailed visual recognition, NeurIPS 2020 (eq. 3).
    A. K. Menon et al., Long-tail learning via logit adjustment, ICLR 2021 (eq. 10).
    """

    balanced: float
    ordinal: float = 0.0
    smooth: float = 0.0

    def __post_init__(self) -> None:
        for name in ("balanced", "ordinal", "smooth"):
            check_number(name, getattr(self, name), 0)

    def __str__(self) -> str:
        """For people."""
        ordinal = f", ordinal {as_text(self.ordinal)}" if self.ordinal else ""
        return f"balanced {as_text(self.balanced)}{ordinal}{_in_words(self.smooth)}"

    def __call__(self, logits: "Tensor", labels: "Tensor", counts: "Tensor", number: int = 1) -> "Tensor":
        """See `Loss`."""
        counts = smoothed(counts, self.smooth)
        prior = (self.balanced * (counts.clamp(min=1) / counts.sum()).log()).float()
        found = masked(logits + prior, counts).log_softmax(dim=1)
        if not self.ordinal:
            return -_own(found, labels).mean()
        near = -((from_label(labels, counts) / self.ordinal) ** 2) / 2 + prior
        return -(masked(near, counts).softmax(dim=1) * found).sum(dim=1).mean()

    def slopes(self, counts: "Tensor", number: int) -> Slopes:
        """See `Tabled`."""
        counts = smoothed(counts, self.smooth)
        prior, (none, hard, ones) = (
            (self.balanced * (counts.clamp(min=1) / counts.sum()).log()).float(),
            hard_targets(counts),
        )
        shift = masked(none + prior, counts)
        if not self.ordinal:
            return Slopes(shift, hard, ones)
        near = -((from_label(every_label(counts), counts) / self.ordinal) ** 2) / 2 + prior
        return Slopes(shift, masked(near, counts).softmax(dim=1), ones)


@dataclass(frozen=True)
class Focal:
    """-(1 - p_y)^gamma ln p_y.

    focal : gamma. 0 is the cross-entropy.

    References
    ----------
    T.-Y. Lin et al., Focal loss for dense object detection, ICCV 2017 (eq. 4, without alpha).
    """

    focal: float = 2.0

    def __post_init__(self) -> None:
        check_number("focal", self.focal, 0)

    def __str__(self) -> str:
        """For people."""
        return f"focal {as_text(self.focal)}"

    def __call__(self, logits: "Tensor", labels: "Tensor", counts: "Tensor", number: int = 1) -> "Tensor":
        """See `Loss`."""
        own = _own(masked(logits, counts).log_softmax(dim=1), labels)
        missed = (-own.expm1()).clamp(min=NEARLY_0)
        return -(missed**self.focal * own).mean()

    def slopes(self, counts: "Tensor", number: int) -> Slopes:
        """See `Tabled`."""
        none, hard, ones = hard_targets(counts)
        return Slopes(masked(none, counts), hard, ones, self.focal)


@dataclass(frozen=True)
class EffectiveNumber:
    """Cross-entropy with the weights (1 - beta) / (1 - beta^n_c), scaled so that their mean over the classes is 1.

    effective_number : beta.

    References
    ----------
    Y. Cui et al., Class-balanced loss based on effective number of samples, CVPR 2019 (eq. 3).
    """

    effective_number: float = 0.999
    smooth: float = 0.0

    def __post_init__(self) -> None:
        _check_beta("effective_number", self.effective_number)
        check_number("smooth", self.smooth, 0)

    def __str__(self) -> str:
        """For people."""
        return f"weights by effective number, beta {as_text(self.effective_number)}{_in_words(self.smooth)}"

    def __call__(self, logits: "Tensor", labels: "Tensor", counts: "Tensor", number: int = 1) -> "Tensor":
        """See `Loss`."""
        own = _own(masked(logits, counts).log_softmax(dim=1), labels)
        return -weighted_mean(own, by_effective_number(smoothed(counts, self.smooth), self.effective_number)[labels])

    def slopes(self, counts: "Tensor", number: int) -> Slopes:
        """See `Tabled`."""
        counts = smoothed(counts, self.smooth)
        (none, hard, _), weights = hard_targets(counts), by_effective_number(counts, self.effective_number)
        return Slopes(masked(none, counts), hard * weights[:, None], weights)


@dataclass(frozen=True)
class Ldam:
    """LDAM-DRW: the label's logit is reduced by the margin ldam (min n / n_c)^(1/4); late rounds use weights.

    ldam : the margin of the smallest class, in logits. drw : the round from which losses are weighted by the effective
    number with ``beta``; 0 : never. The weights of the last layer are not normalised here, so logits need no scale.

    References
    ----------
    K. Cao et al., Learning imbalanced datasets with label-distribution-aware margin loss, NeurIPS 2019 (eq. 13,
    algorithm 1).
    """

    ldam: float = 0.5
    drw: int = 0
    beta: float = 0.9999
    smooth: float = 0.0

    def __post_init__(self) -> None:
        check_number("ldam", self.ldam, 0)
        if isinstance(self.drw, bool) or self.drw != 0:
            check_count("drw", self.drw, "0 for never, or a whole number")
        _check_beta("beta", self.beta)
        check_number("smooth", self.smooth, 0)

    def __str__(self) -> str:
        """For people."""
        late = f", weighted from round {self.drw} (beta {as_text(self.beta)})" if self.drw else ""
        return f"LDAM {as_text(self.ldam)}{late}{_in_words(self.smooth)}"

    def __call__(self, logits: "Tensor", labels: "Tensor", counts: "Tensor", number: int = 1) -> "Tensor":
        """See `Loss`."""
        counts = smoothed(counts, self.smooth)
        moved = logits - (from_label(labels, counts) == 0) * self._margins(counts)
        own = _own(masked(moved, counts).log_softmax(dim=1), labels)
        if self.drw and number >= self.drw:
            return -weighted_mean(own, by_effective_number(counts, self.beta)[labels])
        return -own.mean()

    def slopes(self, counts: "Tensor", number: int) -> Slopes:
        """See `Tabled`."""
        counts = smoothed(counts, self.smooth)
        none, hard, weights = hard_targets(counts)
        if self.drw and number >= self.drw:
            weights = by_effective_number(counts, self.beta)
        return Slopes(masked(none - hard * self._margins(counts), counts), hard * weights[:, None], weights)

    def _margins(self, counts: "Tensor") -> "Tensor":
        """[C], of each class."""
        smallest = counts.masked_fill(counts == 0, math.inf).min()
        return (self.ldam * (smallest / counts.clamp(min=1)) ** 0.25).float()


CROSS_ENTROPY = CrossEntropy()

LOSSES: dict[str, Callable[..., Loss]] = {
    "balanced": Balanced,
    "focal": Focal,
    "effective_number": EffectiveNumber,
    "ldam": Ldam,
}
"""All losses except the cross-entropy, by their names in an experiment file."""


def _own(values: "Tensor", labels: "Tensor") -> "Tensor":
    """[B], the value of each photo at its label."""
    return values.gather(1, labels[:, None])[:, 0]


def _in_words(smooth: float) -> str:
    return f", counts smoothed by {as_text(smooth)}" if smooth else ""


def _check_beta(name: str, value: object) -> None:
    check_share(name, value)
    if value == 1:
        raise ValueError(f"{name}: 1; give a share below 1")


def __dir__() -> list[str]:
    return __all__
