"""Label noise that is known: a share of the labels is made wrong on purpose."""

from typing import Literal

import numpy as np

from rsrl_ray.core.arrays import Labels
from rsrl_ray.core.revision import majority_classes
from rsrl_ray.core.rules.rule import share_of

NoiseKind = Literal["shift", "invade"]


def flipped(labels: Labels, share: float, kind: NoiseKind, majority: int, seed: int) -> Labels:
    """Labels [N], 0 to C - 1, with wrong ones. In each class, one photo or more keeps its label.

    ``shift`` : in each of the ``majority`` largest classes, floor(share * n_c) photos get the label of the class above
    or below, at random, if this is one of the largest classes too. A class without such a neighbour stays as it is.
    ``invade`` : in each other class, floor(share * n_c) photos get the label of the nearest of the largest classes. If
    two are equally near, one of them is taken at random.

    The draw depends on the arguments alone.
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


_NOISE_DRAW = 0xBAD  # separates these random numbers from those of folds and rounds


def _beside(label: int, largest: Labels) -> Labels:
    """The largest classes next to ``label``, if it is one of the largest itself."""
    return largest[np.abs(largest - label) == 1] if label in largest else largest[:0]


def _nearest(label: int, largest: Labels) -> Labels:
    """The one or two largest classes that are nearest to ``label``, if it is not one of the largest itself."""
    distance = np.abs(largest - label)
    return largest[:0] if label in largest else largest[distance == distance.min()]
