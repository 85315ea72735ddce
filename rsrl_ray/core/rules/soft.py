"""Drops no photo, but lets those weigh less whose label the network finds unlikely."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.rules.quantile import LIKELIHOODS
from rsrl_ray.core.rules.rule import Seen, Weighing
from rsrl_ray.core.value import as_text, check_choice, check_number


@dataclass(frozen=True)
class Soft(Weighing):
    """A photo of a majority class weighs w = min(1, p / K)^g, with its self-confidence p; all others weigh 1.

    So a photo that `Thresholds` with the same K keeps weighs 1, and one that it drops weighs less, the less likely its
    label is. It is dropped only if p is 0, or w is below 1e-45, the smallest number in float32.

    soft : K, above 0 and at most 1. power : g, above 0; with a large g the weights are nearly those of `Thresholds`.
    likelihood : p is the self-confidence in the ``last`` round, or its ``mean`` over all rounds so far.

    References
    ----------
    The paper's section I on its reference [9]: ambiguous samples are given lower weights, clear ones high weights; it
    says that [9] does not give the weights explicitly. The formula is ours: the simplest that meets the paper's K.
    """

    soft: float
    power: float = 1.0
    likelihood: str = "last"

    def __post_init__(self) -> None:
        check_number("soft", self.soft, 0, 1, "K, a likelihood")
        check_number("power", self.power, 0)
        for name, value in (("soft", self.soft), ("power", self.power)):
            if not value:
                raise ValueError(f"{name}: 0, so that all photos weigh the same; give a number above 0")
        check_choice("likelihood", self.likelihood, LIKELIHOODS)

    def __str__(self) -> str:
        """For people."""
        power = "" if self.power == 1 else f"^{as_text(self.power)}"
        return f"soft weights min(1, p / {as_text(self.soft)}){power}, p the {self.likelihood} likelihood"

    @property
    def recalls(self) -> bool:
        """See `Rule`."""
        return self.likelihood == "mean"

    def weights(self, seen: Seen) -> NDArray[np.floating]:
        """See `Rule`."""
        confidence = seen.confidence
        if self.likelihood == "mean":
            confidence = np.mean([*seen.before, seen.confidence], axis=0)
        weights = np.minimum(1, confidence / self.soft) ** self.power
        return np.where(np.isin(seen.labels, seen.majority), weights, 1.0)
