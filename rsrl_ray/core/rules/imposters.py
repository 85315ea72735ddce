"""Drops what the paper looks for: photos of a minority class that are hidden in a majority class."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import Labels, Mask
from rsrl_ray.core.likelihood import self_confidence
from rsrl_ray.core.rules.rule import KEEPS, Rule, Seen, lowest, share_of
from rsrl_ray.core.value import as_text, check_count, check_share


@dataclass(frozen=True)
class Imposters(Rule):
    """Drops photos of majority classes for which a minority class is likelier than their label.

    Likelihoods are corrected for pi, the frequencies of the classes in the photos that the last network was trained on:
    softmax(z - ln pi). Classes that it was not trained on are left out.

    imposters : the largest share of a class that is dropped; photos with the largest difference go first. smallest :
    minority classes with fewer training photos do not count.
    """

    imposters: float
    smallest: int = 10

    def __post_init__(self) -> None:
        check_share("imposters", self.imposters)
        check_count("smallest", self.smallest)

    def __str__(self) -> str:
        """For people."""
        return f"imposters, at most {as_text(self.imposters)}, of classes of {self.smallest} photos or more"

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        sizes = np.bincount(seen.labels, minlength=seen.last.shape[1])
        minority = np.setdiff1d(np.flatnonzero(sizes >= self.smallest), seen.majority)
        if len(minority) == 0:
            return np.zeros(len(seen.labels), dtype=bool)
        corrected = _corrected(seen)
        gain = corrected[:, minority].max(axis=1) - self_confidence(corrected, seen.labels)

        def surest(members: Labels) -> Labels:
            places = lowest(-gain[members], share_of(self.imposters, len(members)))
            return np.asarray(members[places[gain[members][places] > 0]])

        return seen.in_majority(surest)

    def at(self, revision: int) -> Hashable:
        """See `Rule`."""
        return self if self.imposters else KEEPS


def _corrected(seen: Seen) -> NDArray[np.float64]:
    """The values z - ln pi of the last round, [n, C]. They have the order of their softmax, without its rounding.

    -inf for classes that the last network was not trained on.
    """
    counts = np.bincount(seen.labels[seen.kept], minlength=seen.last.shape[1])
    prior = np.log(np.maximum(counts, 1) / counts.sum())
    return np.where(counts > 0, seen.last.astype(np.float64) - prior, -np.inf)
