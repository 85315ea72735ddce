"""Drops photos by the margin of their label. A shift of a photo's logits, which training leaves open, has no effect."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import Labels, Mask
from rsrl_ray.core.rules.rule import Rule, Seen
from rsrl_ray.core.value import as_text, check_number


@dataclass(frozen=True)
class Margin(Rule):
    """Drops photos of majority classes whose margin is below ``margin``.

    A photo's margin is the logit of its label minus the largest other logit. ``margin: 0`` drops the photos that the
    network assigns to another class.
    """

    margin: float

    def __post_init__(self) -> None:
        check_number("margin", self.margin, what="a difference of logits")

    def __str__(self) -> str:
        """For people."""
        return f"margin {as_text(self.margin)}"

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        return np.isin(seen.labels, seen.majority) & (margins(seen.last, seen.labels) < self.margin)


def margins(logits: NDArray[np.floating], labels: Labels) -> NDArray[np.float64]:
    """The logit of the label minus the largest other logit, [n], of logits [n, C]; infinite if there is one class."""
    others = logits.astype(np.float64)
    rows = np.arange(len(others))
    own = others[rows, labels]
    others[rows, labels] = -np.inf
    return np.asarray(own - others.max(axis=1))
