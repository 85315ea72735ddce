"""Self-revision of the training set: which photos the next network is trained on (section III, eqs. 1 to 3)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

Membership = Literal["sigmoid", "centred", "softmax"]
FLOOR = 5  # photos of a class that stay at the least, however small `min_kept` makes the share


@dataclass(frozen=True)
class Revision:
    """What one revision decided.

    kept : [n] bool, True for the training photos that the next network is trained on.
    guarded : places m (0 = the largest class) whose K_m would have left fewer photos than the guard keeps.
    counts : for each majority class, largest first, how many photos it has and how many of them are dropped.
    """

    kept: NDArray[np.bool_]
    guarded: tuple[int, ...]
    counts: tuple[tuple[int, int], ...]


def likelihood(logits: NDArray[np.floating], membership: Membership = "sigmoid") -> NDArray[np.float64]:
    """Likelihood f of every class for every photo, [N, C] in 0 to 1, from the outputs of 'fc', [N, C].

    ``sigmoid`` is the paper's sigmoidal fuzzy membership, slope 1 and centre 0, of each output by itself.
    A network trained with softmax fixes its logits only up to a shift per photo; ``centred`` takes the
    photo's mean logit away first, ``softmax`` makes the classes share 1. The likelihoods of training
    photos are in-sample by design: the network that judges a photo was trained on it, or on its kin.
    """
    outputs = np.ascontiguousarray(logits, dtype=np.float64)  # sums depend on the order in memory
    if membership == "softmax":
        return np.asarray(softmax(outputs, axis=1))
    if membership == "centred":
        outputs = outputs - outputs.mean(axis=1, keepdims=True)
    return np.asarray(expit(outputs))


def self_confidence(likelihoods: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each photo's likelihood at its own label, [N], from likelihoods [N, C] and labels [N]."""
    return likelihoods[np.arange(len(labels)), labels]


def majority_classes(labels: NDArray[np.int64], count: int = 3) -> NDArray[np.int64]:
    """The ``count`` largest classes of the training set, largest first; ties go to the lower class."""
    sizes = np.bincount(labels, minlength=count)
    return np.argsort(-sizes, kind="stable")[:count]


def revise(
    confidence: NDArray[np.float64],
    labels: NDArray[np.int64],
    majority: NDArray[np.int64],
    thresholds: Sequence[float],
    min_kept: float = 0.01,
) -> Revision:
    """Drop from the m-th largest class the photos whose self-confidence is below K_m (eqs. 1 to 3).

    Always judges the ORIGINAL training set, so a photo that was dropped can come back. Where a K would leave
    a class with less than the share ``min_kept`` of its photos, or fewer than 5, the most likely ones up to that
    number stay (ties: the earlier photo) and the class is reported as guarded.

    confidence, labels : [n], over the original training set; majority, thresholds : [M].
    """
    assert len(majority) == len(thresholds)
    assert np.isfinite(confidence).all()
    kept = np.ones(len(labels), dtype=bool)
    guarded, counts = [], []
    for place, threshold in enumerate(thresholds):
        members = np.flatnonzero(labels == majority[place])
        stays = ~(confidence[members] < threshold)
        floor = min(len(members), max(FLOOR, math.ceil(min_kept * len(members) - 1e-9)))
        if stays.sum() < floor:
            guarded.append(place)
            stays = np.zeros(len(members), dtype=bool)
            stays[np.argsort(-confidence[members], kind="stable")[:floor]] = True
        kept[members] = stays
        counts.append((len(members), int((~stays).sum())))
    return Revision(kept, tuple(guarded), tuple(counts))
