"""Edited nearest neighbours: drops photos whose nearest photos have other labels. No network judges here."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import Labels, Mask
from rsrl_ray.core.digest import array_digest
from rsrl_ray.core.rules.rule import Rule, Seen
from rsrl_ray.core.similarity import nearest
from rsrl_ray.core.value import check_count

_REMEMBERED = 8  # methods of a fold that train in one process


@dataclass(frozen=True)
class EditedNeighbours(Rule):
    """Drops photos of majority classes that their k nearest training photos find in another class.

    The nearest photos have the highest cosine of features less their mean (`rsrl_ray.core.similarity.nearest`, the
    same likeness by which near-duplicates are found). Photos that were dropped are neighbours too, and a photo is none
    of itself. A photo is dropped if one other class has more of the k neighbours than each of the rest; a tie for the
    most keeps it. Features do not change, so it drops the same photos after every round.

    edited_neighbours : k; all other photos if there are fewer. ordered : classes are ordered scores, and a photo is
    dropped if the median of its neighbours' classes is more than one class away from its own. Of an even k there are
    two medians, the k/2-th and the next; it is dropped if neither they nor what lies between them is within one class.

    References
    ----------
    D. L. Wilson, Asymptotic properties of nearest neighbor rules using edited data, IEEE Trans. SMC 2(3), 1972. The
    median in the place of the vote: K. Hechenbichler and K. Schliep, Weighted k-nearest-neighbor techniques and
    ordinal classification, SFB 386 discussion paper 399, LMU Munich 2004.
    """

    edited_neighbours: int
    ordered: bool = False

    def __post_init__(self) -> None:
        check_count("edited_neighbours", self.edited_neighbours)
        if not isinstance(self.ordered, bool):
            raise ValueError(f"ordered: {self.ordered!r}; give true or false")

    def __str__(self) -> str:
        """For people."""
        return f"edited {'ordered ' if self.ordered else ''}neighbours, {self.edited_neighbours} nearest"

    @property
    def needs_features(self) -> bool:
        """See `Rule`."""
        return True

    @property
    def looks_at_logits(self) -> bool:
        """See `Rule`."""
        return False

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`. Raises ValueError if there are no features of frozen layers."""
        found = seen.labels[_neighbours(seen.features, self.edited_neighbours)]
        if not found.size:
            return np.zeros(len(seen.labels), dtype=bool)
        elsewhere = _far_from_median(found, seen.labels) if self.ordered else _outvoted(found, seen.labels)
        return np.isin(seen.labels, seen.majority) & elsewhere


def _outvoted(found: Labels, labels: Labels) -> Mask:
    """Whether one class has the most neighbours, and it is not that of the label. found : [n, k] labels."""
    classes = np.arange(max(found.max(), labels.max()) + 1)
    votes = np.stack([(found == label).sum(axis=1) for label in classes], axis=1)
    most = votes == votes.max(axis=1, keepdims=True)
    return np.asarray((most.sum(axis=1) == 1) & (most.argmax(axis=1) != labels))


def _far_from_median(found: Labels, labels: Labels) -> Mask:
    """Whether the label is more than one class away from all medians of its neighbours' labels, [n, k]."""
    scores, k = np.sort(found, axis=1), found.shape[1]
    return np.asarray((scores[:, (k - 1) // 2] - labels > 1) | (labels - scores[:, k // 2] > 1))


_found: dict[tuple[str, int], Labels] = {}


def _neighbours(features: NDArray[np.float32], count: int) -> Labels:
    """See `nearest`. It is computed once for the rounds and methods of a fold, as long as features are the same."""
    key = array_digest({"features": features}), count
    found = _found.get(key)
    if found is None:
        if len(_found) >= _REMEMBERED:
            _found.pop(next(iter(_found)))
        _found[key] = found = nearest(features, count)
    return found
