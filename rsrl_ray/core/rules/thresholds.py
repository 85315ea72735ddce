"""The paper's rule (section III, eqs. 1 to 3): thresholds K1, K2, K3 for the three largest classes. Two controls."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import Mask
from rsrl_ray.core.rules.rule import KEEPS, Rule, Seen, lowest
from rsrl_ray.core.schedule import Schedule
from rsrl_ray.core.value import check_choice

PICKS = ("least_likely", "random", "most_likely")


@dataclass(frozen=True)
class Thresholds(Rule):
    """Drops photos of the m-th largest class: so many as have a self-confidence below K_m in the last round.

    thresholds : (K1, ..., KM) of each revision.
    pick : ``least_likely`` drops these photos (the paper). Two controls drop the same number of other photos, as far as
    `Seen.most_dropped` allows: at ``random``, or the ``most_likely`` ones, which is the worst choice.
    """

    thresholds: Schedule
    pick: str = "least_likely"

    def __post_init__(self) -> None:
        if not isinstance(self.thresholds, Schedule):
            raise ValueError(f"thresholds: {self.thresholds!r}; give steps, such as {{1: 0.9, 3: 0.95}}")
        check_choice("pick", self.pick, PICKS)

    def __str__(self) -> str:
        """For people."""
        return str(self.thresholds) + (f"; picked: {self.pick}" if self.pick != PICKS[0] else "")

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        drops, generator = np.zeros(len(seen.labels), dtype=bool), seen.generator()
        for label, threshold in zip(seen.majority, self.thresholds.thresholds(seen.revision), strict=True):
            members = seen.members(label)
            picked = self._picked(seen.confidence[members], threshold, seen.most_dropped(label), generator)
            drops[members[picked]] = True
        return drops

    def _picked(
        self, confidence: NDArray[np.float64], threshold: float, most: int, generator: np.random.Generator
    ) -> NDArray[np.int64]:
        """The indices of the dropped photos of a class, from their self-confidence."""
        below = np.flatnonzero(confidence < threshold)
        if self.pick == "least_likely":
            return below
        count = min(len(below), most)
        if self.pick == "random":
            return generator.permutation(len(confidence))[:count]
        return lowest(-confidence, count)

    def at(self, revision: int) -> Hashable:
        """See `Rule`."""
        thresholds = self.thresholds.thresholds(revision)
        return (type(self), self.pick, *thresholds) if any(thresholds) else KEEPS

    def says(self, revision: int, place: int) -> str:
        """See `Rule`."""
        return f"K = {self.thresholds.thresholds(revision)[place]:g}"
