"""The rule that drops nothing. It is equal training, with which all other rules are compared."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from rsrl_ray.core.arrays import Mask
from rsrl_ray.core.rules.rule import KEEPS, Rule, Seen


@dataclass(frozen=True)
class Keep(Rule):
    """Keeps all photos."""

    def __str__(self) -> str:
        """For people."""
        return "keeps all"

    def drops(self, seen: Seen) -> Mask:
        """None, see `Rule`."""
        return np.zeros(len(seen.labels), dtype=bool)

    @property
    def looks_at_logits(self) -> bool:
        """See `Rule`."""
        return False

    def at(self, revision: int) -> Hashable:
        """See `Rule`."""
        return KEEPS
