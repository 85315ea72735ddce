"""A rule as somebody else writes it: this file, and a line in the table of rules."""

from dataclasses import dataclass

import numpy as np

from rsrl_ray.core.arrays import Mask
from rsrl_ray.core.rules.rule import Rule, Seen


@dataclass(frozen=True)
class First(Rule):
    """Drops the first photos of the largest class."""

    first: int

    def __str__(self) -> str:
        return f"the first {self.first}"

    def drops(self, seen: Seen) -> Mask:
        drops = np.zeros(len(seen.labels), dtype=bool)
        drops[seen.members(seen.majority[0])[: self.first]] = True
        return drops
