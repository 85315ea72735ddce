"""Label noise that is known: a share of labels is wrong on purpose, and it is remembered which."""

from typing import Literal

import numpy as np

from rsrl_ray.core.arrays import Labels
from rsrl_ray.core.revision import majority_classes
from rsrl_ray.core.rules.rule import share_of

NoiseKind = Literal["shift", "invade"]


def flipped(labels: Labels, share: float, kind: NoiseKind, majority: int, seed: int) -> Labels:
    """Labels [N], 0 to C - 1, of which the ``share`` is wrong; of each class one photo at least keeps its label.

    ``shift`` : of each of the ``majority`` largest classes floor(share * n_c) photos get the label of a class beside
    it, above or below at random, among these largest classes; classes without such a neighbour stay.
    ``invade`` : of each other class floor(share * n_c) photos get the label of the nearest of the largest classes, of
    two that are as near the upper or lower at random.

    The draw depends on labels and ``seed`` alone.
    """
    largest = np.sort(majority_classes(labels, majority))
    ways_of = {"shift": _beside, "invade": _nearest}[kind]
    generator = np.random.default_rng([seed, _NOISE_DRAW])
    noisy = labels.copy()
    for label in range(int(labels.max()) + 1):
        members = generator.permutation(np.flatnonzero(labels == label))
        ways = ways_of(label, largest)
        draws = generator.integers(max(1, len(ways)), size=len(members))
        if len(ways):
            wrong = min(share_of(share, len(members)), len(members) - 1)
            noisy[members[:wrong]] = ways[draws[:wrong]]
    return noisy


_NOISE_DRAW = 0xBAD  # of these random numbers, besides those that folds and rounds draw


def _beside(label: int, largest: Labels) -> Labels:
    """Of the largest classes, those beside ``label``, if it is one of them."""
    return largest[np.abs(largest - label) == 1] if label in largest else largest[:0]


def _nearest(label: int, largest: Labels) -> Labels:
    """Of the largest classes, the one or two that are nearest to ``label``, if it is none of them."""
    distance = np.abs(largest - label)
    return largest[:0] if label in largest else largest[distance == distance.min()]
