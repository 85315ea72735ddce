"""Losses for imbalanced classes: what a training step minimises in place of the cross-entropy.

Each takes the logits [B, C] and labels [B] of a batch, and the number of photos of each class that the round trains
on, [C]. pi is the share of each class in them. A class without photos is masked: it takes no part in the softmax and
has no weight. Losses are computed in float32.

This module does not import torch before a loss is computed, because losses of a file are checked before torch is
loaded.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rsrl_ray.core.own import Own
from rsrl_ray.core.value import as_text, check_count, check_number, check_share
from rsrl_ray.vision.slopes import Slopes, every_label, from_label, hard_targets

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CROSS_ENTROPY", "LOSSES", "Balanced", "CrossEntropy", "EffectiveNumber", "Focal", "Ldam", "Loss"]

NEARLY_0 = 1e-9  # if gamma is below 1, the slope of x^gamma is infinite at 0, where a photo is learnt completely
MASKED = -1e9  # a logit that adds nothing to a softmax; it is finite, because infinity times 0 is not 0


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

    def __post_init__(self) -> None:
        check_number("balanced", self.balanced, 0)
        check_number("ordinal", self.ordinal, 0)

    def __str__(self) -> str:
        """For people."""
        return f"balanced {as_text(self.balanced)}" + (f", ordinal {as_text(self.ordinal)}" if self.ordinal else "")

    def __call__(self, logits: "Tensor", labels: "Tensor", counts: "Tensor", number: int = 1) -> "Tensor":
        """See `Loss`."""
        prior = (self.balanced * (counts.clamp(min=1) / counts.sum()).log()).float()
        found = _masked(logits + prior, counts).log_softmax(dim=1)
        if not self.ordinal:
            return -_own(found, labels).mean()
        near = -((from_label(labels, counts) / self.ordinal) ** 2) / 2 + prior
        return -(_masked(near, counts).softmax(dim=1) * found).sum(dim=1).mean()

    def slopes(self, counts: "Tensor", number: int) -> Slopes:
        """See `Tabled`."""
        prior, (none, hard, ones) = (
            (self.balanced * (counts.clamp(min=1) / counts.sum()).log()).float(),
            hard_targets(counts),
        )
        shift = _masked(none + prior, counts)
        if not self.ordinal:
            return Slopes(shift, hard, ones)
        near = -((from_label(every_label(counts), counts) / self.ordinal) ** 2) / 2 + prior
        return Slopes(shift, _masked(near, counts).softmax(dim=1), ones)


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
        own = _own(_masked(logits, counts).log_softmax(dim=1), labels)
        missed = (-own.expm1()).clamp(min=NEARLY_0)
        return -(missed**self.focal * own).mean()

    def slopes(self, counts: "Tensor", number: int) -> Slopes:
        """See `Tabled`."""
        none, hard, ones = hard_targets(counts)
        return Slopes(_masked(none, counts), hard, ones, self.focal)


@dataclass(frozen=True)
class EffectiveNumber:
    """Cross-entropy with the weights (1 - beta) / (1 - beta^n_c), scaled so that their mean over the classes is 1.

    effective_number : beta.

    References
    ----------
    Y. Cui et al., Class-balanced loss based on effective number of samples, CVPR 2019 (eq. 3).
    """

    effective_number: float = 0.999

    def __post_init__(self) -> None:
        _check_beta("effective_number", self.effective_number)

    def __str__(self) -> str:
        """For people."""
        return f"weights by effective number, beta {as_text(self.effective_number)}"

    def __call__(self, logits: "Tensor", labels: "Tensor", counts: "Tensor", number: int = 1) -> "Tensor":
        """See `Loss`."""
        own = _own(_masked(logits, counts).log_softmax(dim=1), labels)
        return _weighted(own, labels, counts, self.effective_number)

    def slopes(self, counts: "Tensor", number: int) -> Slopes:
        """See `Tabled`."""
        (none, hard, _), weights = hard_targets(counts), _effective(counts, self.effective_number)
        return Slopes(_masked(none, counts), hard * weights[:, None], weights)


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

    def __post_init__(self) -> None:
        check_number("ldam", self.ldam, 0)
        if isinstance(self.drw, bool) or self.drw != 0:
            check_count("drw", self.drw, "0 for never, or a whole number")
        _check_beta("beta", self.beta)

    def __str__(self) -> str:
        """For people."""
        late = f", weighted from round {self.drw} (beta {as_text(self.beta)})" if self.drw else ""
        return f"LDAM {as_text(self.ldam)}{late}"

    def __call__(self, logits: "Tensor", labels: "Tensor", counts: "Tensor", number: int = 1) -> "Tensor":
        """See `Loss`."""
        moved = logits - (from_label(labels, counts) == 0) * self._margins(counts)
        own = _own(_masked(moved, counts).log_softmax(dim=1), labels)
        if self.drw and number >= self.drw:
            return _weighted(own, labels, counts, self.beta)
        return -own.mean()

    def slopes(self, counts: "Tensor", number: int) -> Slopes:
        """See `Tabled`."""
        none, hard, weights = hard_targets(counts)
        if self.drw and number >= self.drw:
            weights = _effective(counts, self.beta)
        return Slopes(_masked(none - hard * self._margins(counts), counts), hard * weights[:, None], weights)

    def _margins(self, counts: "Tensor") -> "Tensor":
        """[C], of each class."""
        smallest = counts.masked_fill(counts == 0, math.inf).min()
        return (self.ldam * (smallest / counts.clamp(min=1)) ** 0.25).float()


@dataclass(frozen=True)
class OwnLoss:
    """A loss of a user's own class: anything that is called like `Loss`."""

    own: Own

    def __str__(self) -> str:
        """For people."""
        return str(self.own)

    def check(self) -> None:
        """Raises ValueError if the object cannot be made or is not a loss."""
        if not callable(self.own.make()):
            raise ValueError(f"{self.own.path}: it cannot be called with logits, labels, counts, number, as a loss is")

    def __call__(self, logits: "Tensor", labels: "Tensor", counts: "Tensor", number: int = 1) -> "Tensor":
        """See `Loss`."""
        try:
            return self.own.make()(logits, labels, counts, number)  # type: ignore[no-any-return]
        except RuntimeError:  # perhaps the GPU is full, which the trainer finds out
            raise
        except Exception as error:  # a user's code may raise anything
            raise ValueError(f"{self.own.path}: {type(error).__name__}: {error}") from error


CROSS_ENTROPY = CrossEntropy()

LOSSES: dict[str, Callable[..., Loss]] = {
    "balanced": Balanced,
    "focal": Focal,
    "effective_number": EffectiveNumber,
    "ldam": Ldam,
}
"""All losses except the cross-entropy, by their names in an experiment file."""


def _masked(logits: "Tensor", counts: "Tensor") -> "Tensor":
    return logits.float().masked_fill(counts == 0, MASKED)


def _own(values: "Tensor", labels: "Tensor") -> "Tensor":
    """[B], the value of each photo at its label."""
    return values.gather(1, labels[:, None])[:, 0]


def _weighted(own: "Tensor", labels: "Tensor", counts: "Tensor", beta: float) -> "Tensor":
    """The weighted mean of a batch, divided by the sum of its weights, as in torch's cross-entropy."""
    weights = _effective(counts, beta)[labels]
    return -(weights * own).sum() / weights.sum()


def _effective(counts: "Tensor", beta: float) -> "Tensor":
    """[C], the weights by effective number; their mean over the classes with photos is 1."""
    with_photos = counts > 0
    weights = ((1 - beta) / (1 - beta ** counts.clamp(min=1))) * with_photos
    return (weights / weights.sum() * with_photos.sum()).float()


def _check_beta(name: str, value: object) -> None:
    check_share(name, value)
    if value == 1:
        raise ValueError(f"{name}: 1; give a share below 1")


def __dir__() -> list[str]:
    return __all__
