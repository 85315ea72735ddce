"""Folds of photos that belong together: a group, such as a burst or a photographer's photos, is never divided."""

import numpy as np

from rsrl_ray.core.arrays import Labels, Mask
from rsrl_ray.core.dealing import Deal, deal
from rsrl_ray.core.draw import Draw, FoldKind


def tested_in(labels: Labels, groups: Labels, draw: Draw, repeat: int, given: Labels | None) -> Labels:
    """The fold in which each photo is tested, [N], 0 to count - 1.

    Every fold has a photo. Where photos are dealt by class, every fold has one of each class that is in as many groups
    as there are folds.

    labels, groups : [N]. given : see `Deal`. Raises ValueError where there are fewer groups than folds.
    """
    there = len(np.unique(groups))
    if there < draw.count:
        raise ValueError(
            f"folds.count: {draw.count}, but the photos are of {there} groups, which are not divided; give {there} or "
            "less"
        )
    shares = np.full(draw.count, 1 / draw.count)
    generator = np.random.default_rng([draw.seed, 0, repeat])
    return deal(Deal(_as_dealt(labels, draw.kind), groups, shares, given), generator)


def held_out(labels: Labels, groups: Labels, draw: Draw, number: int, given: Labels | None) -> Mask:
    """The validation photos among those of a fold that are not tested, [n] bool; ``draw.validation`` of them.

    Where photos are dealt by class, they have every class of which that share comes to a photo, if it is in two groups.
    A group without which a class had no training photo is not taken.

    labels, groups : [n], of these photos. given : 0 train, 1 validation, see `Deal`.
    """
    if not draw.validation:
        return np.zeros(len(labels), dtype=bool)
    shares = np.array([1 - draw.validation, draw.validation])
    generator = np.random.default_rng([draw.seed, 1, number])
    held = deal(Deal(_as_dealt(labels, draw.kind), groups, shares, given, labels), generator) == 1
    for last in np.setdiff1d(labels, labels[~held]):
        held[groups == groups[np.flatnonzero(labels == last)[0]]] = False
    return np.asarray(held)


def _as_dealt(labels: Labels, kind: FoldKind) -> Labels:
    return labels if kind == "stratified" else np.zeros_like(labels)
