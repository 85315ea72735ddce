"""Self-revision of the training set: which photos the next network is trained on (section III, eqs. 1 to 3)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import Mask
from rsrl_ray.core.rules.rule import Rule, Seen, as_mask, least_kept


@dataclass(frozen=True)
class Revised:
    """What one revision decided.

    kept : [n] bool, True for the training photos that the next network is trained on.
    guarded : classes of which the rule would have left fewer photos than the guard keeps, ascending.
    counts : for each class, [C], how many photos it has and how many of them are dropped.
    """

    kept: Mask
    guarded: tuple[int, ...]
    counts: tuple[tuple[int, int], ...]


def majority_classes(labels: NDArray[np.int64], count: int = 3) -> NDArray[np.int64]:
    """The ``count`` largest classes of the training set, largest first; ties go to the lower class."""
    sizes = np.bincount(labels, minlength=count)
    return np.argsort(-sizes, kind="stable")[:count]


def revise(rule: Rule, seen: Seen) -> Revised:
    """Drop what the rule drops, but never a whole class.

    Always judges the ORIGINAL training set, so a photo that was dropped can come back. If a class would be left
    with less than the share ``min_kept`` of its photos, or fewer than 5, the most likely ones of the dropped stay too,
    up to that number (ties: the earlier photo), and the class is reported as guarded.
    """
    assert np.isfinite(seen.last).all()
    drops = as_mask(rule.drops(seen), seen, type(rule).__name__)
    kept, guarded, counts = ~drops, [], []
    for label in range(seen.last.shape[1]):
        members = seen.members(label)
        missing = least_kept(len(members), seen.min_kept) - int(kept[members].sum())
        if missing > 0:
            guarded.append(label)
            gone = members[~kept[members]]
            kept[gone[np.argsort(-seen.confidence[gone], kind="stable")[:missing]]] = True
        counts.append((len(members), int((~kept[members]).sum())))
    return Revised(kept, tuple(guarded), tuple(counts))
