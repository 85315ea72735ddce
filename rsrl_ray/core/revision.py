"""Self-revision of the training set: chooses the photos that the next network is trained on (section III)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import Mask
from rsrl_ray.core.rules.rule import Rule, Seen, as_mask, as_weights, least_kept


@dataclass(frozen=True)
class Revised:
    """What one revision decided.

    kept : [n] bool, True for the training photos that the next network is trained on.
    guarded : classes in which the guard kept photos that the rule drops, ascending.
    counts : for each class, [C], its number of photos and how many of them are dropped.
    weights : [n] float32, what each training photo weighs, 0 if it is dropped; None if all kept photos weigh the same.
    """

    kept: Mask
    guarded: tuple[int, ...]
    counts: tuple[tuple[int, int], ...]
    weights: NDArray[np.float32] | None = None


def majority_classes(labels: NDArray[np.int64], count: int = 3) -> NDArray[np.int64]:
    """The ``count`` largest classes of the training photos, largest first; of equal ones the lower class is first."""
    sizes = np.bincount(labels, minlength=count)
    return np.argsort(-sizes, kind="stable")[:count]


def revise(rule: Rule, seen: Seen) -> Revised:
    """Drop the photos that the rule drops, but never a whole class.

    The rule always sees the ORIGINAL training photos, so a photo that was dropped can come back. A class keeps the
    share ``min_kept`` of its photos, and 5 at least. If the rule would leave fewer, the dropped photos with the highest
    self-confidence stay (of equal ones the earlier photo), and the class is reported as guarded. If the rule gives
    weights, they weigh as much as the lightest other photo of the class, or 1 if there is none.
    """
    assert np.isfinite(seen.last).all()
    weights = _weights(rule, seen)
    drops = as_mask(rule.drops(seen), seen, type(rule).__name__) if weights is None else weights == 0
    kept, guarded, counts = ~drops, [], []
    for label in range(seen.last.shape[1]):
        members = seen.members(label)
        missing = least_kept(len(members), seen.min_kept) - int(kept[members].sum())
        if missing > 0:
            guarded.append(label)
            gone = members[~kept[members]]
            back = gone[np.argsort(-seen.confidence[gone], kind="stable")[:missing]]
            if weights is not None:
                others = weights[members[kept[members]]]
                weights[back] = others.min() if len(others) else 1
            kept[back] = True
        counts.append((len(members), int((~kept[members]).sum())))
    if weights is not None and np.isin(weights, (0, 1)).all():
        weights = None  # it is the same round as that of a rule that drops these photos
    return Revised(kept, tuple(guarded), tuple(counts), weights)


def _weights(rule: Rule, seen: Seen) -> NDArray[np.float32] | None:
    """What the rule gives, [n]; None if it only drops."""
    if not getattr(rule, "weighs", False):  # an object of a user's own class may lack it
        return None
    return as_weights(rule.weights(seen), seen, type(rule).__name__)
