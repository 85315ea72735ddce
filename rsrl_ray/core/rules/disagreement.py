"""Drops photos that several rounds together find in another class."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import Mask
from rsrl_ray.core.likelihood import likelihood, self_confidence
from rsrl_ray.core.rules.rule import KEEPS, Rule, Seen
from rsrl_ray.core.value import check_count


@dataclass(frozen=True)
class Disagreement(Rule):
    """Drops photos of majority classes if another class has a higher mean softmax over the last k rounds.

    disagreement : k; all rounds if there are fewer. start : the first revision that drops photos.
    """

    disagreement: int
    start: int = 1

    def __post_init__(self) -> None:
        check_count("disagreement", self.disagreement)
        check_count("start", self.start)

    def __str__(self) -> str:
        """For people."""
        return f"disagreement of {self.disagreement} rounds" + (
            f", from revision {self.start}" if self.start > 1 else ""
        )

    @property
    def looks_back(self) -> int:
        """See `Rule`."""
        return self.disagreement

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        if seen.revision < self.start:
            return np.zeros(len(seen.labels), dtype=bool)
        rounds = [likelihood(logits, "softmax") for logits in seen.logits[-self.disagreement :]]
        mean: NDArray[np.float64] = np.mean(rounds, axis=0)
        outvoted: Mask = self_confidence(mean, seen.labels) < mean.max(axis=1)
        return np.isin(seen.labels, seen.majority) & outvoted

    def at(self, revision: int) -> Hashable:
        """See `Rule`."""
        return KEEPS if revision < self.start else (type(self), min(self.disagreement, revision))
