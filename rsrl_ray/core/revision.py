"""Self-revision of the training set: chooses the photos that the next network is trained on (section III)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import Mask
from rsrl_ray.core.rules.rule import Rule, Seen, as_mask, least_kept


@dataclass(frozen=True)
class Revised:
    """What one revision decided.

    kept : [n] bool, True for the training photos that the next network is trained on.
    guarded : classes in which the guard kept photos that the rule drops, ascending.
    counts : for each class, [C], its number of photos and how many of them are dropped.
    """

    kept: Mask
    guarded: tuple[int, ...]
    counts: tuple[tuple[int, int], ...]


def majority_classes(labels: NDArray[np.int64], count: int = 3) -> NDArray[np.int64]:
    """The ``count`` largest classes of the training photos, largest first; of equal ones the lower class is first."""
    sizes = np.bincount(labels, minlength=count)
    return np.argsort(-sizes, kind="stable")[:count]


def revise(rule: Rule, seen: Seen) -> Revised:
    """Drop the photos that the rule drops, but never a whole class.

    The rule always sees the ORIGINAL training photos, so a photo that was dropped can come back. A class keeps the
    share ``min_kept`` of its photos, and 5 at least. If the rule would leave fewer, the dropped photos with the highest
    self-confidence stay (of equal ones the earlier photo), and the class is reported as guarded.
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
