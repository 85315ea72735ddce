"""Drops the same share of each majority class, whatever the scale of the likelihoods is."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from rsrl_ray.core.arrays import Mask
from rsrl_ray.core.rules.rule import KEEPS, Rule, Seen, lowest, share_of
from rsrl_ray.core.value import as_text, check_choice, check_share

LIKELIHOODS = ("last", "mean")


@dataclass(frozen=True)
class Quantile(Rule):
    """Drops the floor(q * n_c) photos with the lowest self-confidence of each majority class.

    quantile : q, 0 to 1. likelihood : self-confidence in the ``last`` round, or its ``mean`` over all rounds so far.
    """

    quantile: float
    likelihood: str = "last"

    def __post_init__(self) -> None:
        check_share("quantile", self.quantile)
        check_choice("likelihood", self.likelihood, LIKELIHOODS)

    def __str__(self) -> str:
        """For people."""
        return f"quantile {as_text(self.quantile)} of the {self.likelihood} likelihood"

    @property
    def recalls(self) -> bool:
        """See `Rule`."""
        return self.likelihood == "mean"

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        confidence = seen.confidence
        if self.likelihood == "mean":
            confidence = np.mean([*seen.before, seen.confidence], axis=0)
        return seen.in_majority(
            lambda members: members[lowest(confidence[members], share_of(self.quantile, len(members)))]
        )

    def at(self, revision: int) -> Hashable:
        """See `Rule`."""
        return self if self.quantile else KEEPS
