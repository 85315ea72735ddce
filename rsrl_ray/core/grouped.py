"""Folds of photos that belong together: a group, such as a burst or a photographer's photos, is never divided."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["stratified", "random"]

_PARTS = 20  # at most, that photos are dealt to, of which some are held out

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """How photos are dealt: to so many folds, of which kind, with which share of the rest held out for validation."""

    count: int
    kind: Kind
    validation: float
    seed: int


def test_folds(labels: Labels, groups: Labels, draw: Draw, repeat: int) -> Labels:
    """The fold in which each photo is tested, [N], 0 to count - 1.

    labels, groups : [N]. Raises ValueError where there are fewer groups than folds.
    """
    there = len(np.unique(groups))
    if there < draw.count:
        raise ValueError(f"folds.count: {draw.count}, but the photos are of {there} groups, which are not divided")
    generator = np.random.default_rng([draw.seed, 0, repeat])
    return deal(_as_dealt(labels, draw.kind), groups, draw.count, generator)


def held_out(labels: Labels, groups: Labels, draw: Draw, number: int) -> NDArray[np.bool_]:
    """The validation photos among those of a fold that are not tested, [n] bool; about ``draw.validation`` of them.

    labels, groups : [n], of these photos. A group without which a class had no training photo is not taken.
    """
    generator = np.random.default_rng([draw.seed, 1, number])
    share = Fraction(draw.validation).limit_denominator(_PARTS)
    dealt = deal(_as_dealt(labels, draw.kind), groups, share.denominator, generator)
    chosen = generator.permutation(share.denominator)[: share.numerator]  # or always the one that was dealt to first
    held = np.isin(dealt, chosen)
    for last in np.setdiff1d(labels, labels[~held]):
        held[groups == groups[np.flatnonzero(labels == last)[0]]] = False
    return held


def deal(labels: Labels, groups: Labels, count: int, generator: np.random.Generator) -> Labels:
    """Deal N photos to ``count`` parts, each group to one, so that every class is shared as evenly as groups allow.

    The groups whose photos are spread least evenly over the classes come first, as in scikit-learn's
    StratifiedGroupKFold; each goes to the part that has least of its classes. Photos that are a group of their own
    come last and fill up, class by class. Returns each photo's part, [N].
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    classes, label = np.unique(labels, return_inverse=True)
    part = np.full(len(labels), -1, dtype=np.int64)
    held = np.zeros((count, len(classes)))
    alone = sizes[group] == 1
    members = _of_groups(group, label, sizes, len(classes))
    weights = 1.0 / np.bincount(label) ** 2
    places = np.full(len(sizes), -1, dtype=np.int64)
    several = np.flatnonzero(sizes > 1)
    several = several[generator.permutation(len(several))]
    for place in several[np.argsort(-members[several].std(axis=1), kind="stable")]:
        load = held @ (weights * members[place])  # by how much the sum of squares grows
        least = np.flatnonzero(np.isclose(load, load.min()))
        places[place] = least[held[least].sum(axis=1).argmin()]
        held[places[place]] += members[place]
    part[~alone] = places[group[~alone]]
    for one in range(len(classes)):
        rows = np.flatnonzero(alone & (label == one))
        part[rows[generator.permutation(len(rows))]] = _filled(held[:, one], len(rows), generator)
    return part


def _of_groups(group: Labels, label: Labels, sizes: Labels, classes: int) -> NDArray[np.float64]:
    """How many photos of each class a group has, [groups, C]."""
    counts = np.bincount(group * classes + label, minlength=len(sizes) * classes)
    return counts.reshape(len(sizes), classes).astype(np.float64)


def _filled(held: NDArray[np.float64], more: int, generator: np.random.Generator) -> Labels:
    """The parts that ``more`` photos go to, one after the other to the part that has least; ties at random."""
    order = generator.permutation(len(held))
    heights = held[order][:, None] + np.arange(more)
    first = np.argsort(heights.T.ravel(), kind="stable")[:more]
    return order[first % len(held)]


def _as_dealt(labels: Labels, kind: Kind) -> Labels:
    return labels if kind == "stratified" else np.zeros_like(labels)
