"""Folds of a cross-validation. In each, a validation part is held out of the training photos."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import Labels, Mask
from rsrl_ray.core.dealing import Deal, deal
from rsrl_ray.core.draw import Draw, FoldKind


@dataclass(frozen=True)
class Fold:
    """One fold: ascending indices of photos. Each photo is in one of the three parts."""

    number: int
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def make_folds(
    labels: NDArray[np.int64], draw: Draw, groups: NDArray[np.int64] | None = None, named: bool = True
) -> list[Fold]:
    """Split N photos ``draw.repeats`` times into ``draw.count`` folds. In each repeat, one fold tests a photo.

    Fold f of repeat r (both from 0) has the number r * count + f, and the list is in the order of the numbers. The
    first repeat does not depend on the number of repeats.

    - ``stratified`` deals the shuffled photos of each class to the folds in turn. The sizes of a class in two folds of
      a repeat differ by one at most, so a class with fewer photos than folds is missing from some test sets.
    - ``random`` is the paper's plain draw of 4/5 and 1/5 (section V.A).
    - ``draw.validation`` is the share of a fold's training photos that is held out to choose the round on, by the same
      kind of draw. The last training photo of a class is never held out.

    labels : [N], class indices. groups : [N]; photos of a group are in the same part of each fold, and classes are
    divided as evenly as the groups allow (`rsrl_ray.core.dealing`). None: each photo is alone. named : whether the
    table names groups. If it does not, a group has equal photos, and all other photos are dealt as if equal photos
    stood once in the table. The draw depends on these arguments alone.

    Raises
    ------
    ValueError
        If a fold has no test photo or no training photo, or if validation photos are asked for and it has none.
    """
    if groups is None:
        folds = _dealt_folds(labels, draw)
    elif named:
        folds = _grouped_folds(labels, groups, draw)
    else:
        folds = _folds_with_equals(labels, groups, draw)
    for fold in folds:
        _check_parts(fold, labels, draw, groups is not None)
    return folds


def _dealt_folds(labels: NDArray[np.int64], draw: Draw) -> list[Fold]:
    """The folds if each photo is alone."""
    folds = []
    for repeat in range(draw.repeats):
        stream = [draw.seed, 0, repeat] if repeat else [draw.seed, 0]
        fold_of = _dealt(labels, draw.kind, np.random.default_rng(stream)) % draw.count
        numbers = range(repeat * draw.count, (repeat + 1) * draw.count)
        folds += [_fold(labels, fold_of == number % draw.count, number, draw) for number in numbers]
    return folds


def _grouped_folds(
    labels: NDArray[np.int64], groups: NDArray[np.int64], draw: Draw, given: Sequence[Fold] | None = None
) -> list[Fold]:
    """The folds if photos have groups. given : folds of some of the photos, which keep their parts."""
    folds = []
    for repeat in range(draw.repeats):
        first = repeat * draw.count
        own = None if given is None else _parts(labels, [fold.test for fold in given[first : first + draw.count]])
        fold_of = _tested_in(labels, groups, draw, repeat, own)
        for place in range(draw.count):
            number, test, rest = first + place, fold_of == place, np.flatnonzero(fold_of != place)
            own = None if given is None else _parts(labels, [given[number].train, given[number].validation])[rest]
            held = _held_out(labels[rest], groups[rest], draw, number, own)
            folds.append(Fold(number, rest[~held], rest[held], np.flatnonzero(test)))
    return folds


def _tested_in(labels: Labels, groups: Labels, draw: Draw, repeat: int, given: Labels | None) -> Labels:
    """The fold that tests each photo, [N], 0 to count - 1.

    Each fold tests a photo. If photos are dealt by class, each fold tests a photo of each class that is in as many
    groups as there are folds.

    labels, groups : [N]. given : see `Deal`. Raises ValueError if there are fewer groups than folds.
    """
    there = len(np.unique(groups))
    if there < draw.count:
        raise ValueError(
            f"folds.count: {draw.count}, but the photos are in {there} groups, and no group is divided; give {there} "
            "or fewer"
        )
    shares = np.full(draw.count, 1 / draw.count)
    generator = np.random.default_rng([draw.seed, 0, repeat])
    return deal(Deal(_as_dealt(labels, draw.kind), groups, shares, given), generator)


def _held_out(labels: Labels, groups: Labels, draw: Draw, number: int, given: Labels | None) -> Mask:
    """Which of the photos that a fold does not test are its validation photos, [n] bool: the share ``draw.validation``.

    If photos are dealt by class, there is a validation photo of each class whose share is a photo or more, if the class
    is in two groups. A group is not taken if a class has no training photo without it.

    labels, groups : [n], of these photos. given : 0 training, 1 validation, see `Deal`.
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


def _folds_with_equals(labels: NDArray[np.int64], groups: NDArray[np.int64], draw: Draw) -> list[Fold]:
    """The folds if a group has equal photos: a photo that is added a second time changes no other photo's part."""
    _, first, group, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    once = np.sort(first)  # of equal photos the first
    alone = sizes[group] == 1

    def kept(part: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(once[part][alone[once[part]]])

    dealt = _dealt_folds(labels[once], draw)
    given = [Fold(fold.number, *map(kept, (fold.train, fold.validation, fold.test))) for fold in dealt]
    return _grouped_folds(labels, groups, draw, given)


def _parts(labels: NDArray[np.int64], parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The part of each photo, [N], from the photos of each part; -1 if a photo is in none."""
    part = np.full(len(labels), -1, dtype=np.int64)
    for number, rows in enumerate(parts):
        part[rows] = number
    return part


def _check_parts(fold: Fold, labels: NDArray[np.int64], draw: Draw, grouped: bool) -> None:
    """Raise ValueError if a part that is asked for has no photo: no number could be computed from it."""
    rest = len(fold.train) + len(fold.validation)
    if not len(fold.test):
        raise ValueError(
            f"folds.count: {draw.count}, but there are {len(labels)} photos, so fold {fold.number} tests none; give "
            f"{len(labels)} or fewer"
        )
    if not len(fold.train):
        raise ValueError(f"folds: fold {fold.number} of {len(labels)} photos has none to train on; give more photos")
    if draw.validation and not len(fold.validation):
        least = math.ceil(1000 / rest) / 1000
        undivided = ", and no group is divided" if grouped else ""
        why = f"the last photo of a score is never held out{undivided}"
        too_small = draw.validation < least <= 0.5 and not grouped
        give = f"{least:g} or more" if too_small else f"another share ({why})"
        raise ValueError(
            f"folds.validation: {draw.validation:g}, but fold {fold.number} holds out none of its {rest} training "
            f"photos to choose the round on; give {give}, or 0 to choose it on the test photos"
        )


def _fold(labels: NDArray[np.int64], test: NDArray[np.bool_], number: int, draw: Draw) -> Fold:
    """The fold with these test photos, [N] bool. Its validation part is drawn from the others."""
    rest = np.flatnonzero(~test)
    if not len(rest):
        return Fold(number, rest, rest, np.flatnonzero(test))
    generator = np.random.default_rng([draw.seed, 1, number])
    validation = draw.validation
    place = (_dealt(labels[rest], draw.kind, generator) + generator.integers(len(rest))) % len(rest)
    # Every (1/validation)-th place of the dealt order, turned by a random step so that no class is always taken or
    # never: the number is exact, and if stratified the shares too. 1e-9, because 100 * 0.29 is a little below 29.
    held = np.floor((place + 1) * validation + 1e-9) > np.floor(place * validation + 1e-9)
    for last in np.setdiff1d(labels[rest], labels[rest][~held]):
        held[np.flatnonzero(labels[rest] == last)[0]] = False
    return Fold(number, rest[~held], rest[held], np.flatnonzero(test))


def _dealt(labels: NDArray[np.int64], kind: FoldKind, generator: np.random.Generator) -> NDArray[np.int64]:
    """Each photo's place in a random order, [N]; if stratified, the order is also sorted by class."""
    shuffle = generator.random(len(labels))
    order = np.lexsort((shuffle, labels)) if kind == "stratified" else np.argsort(shuffle, kind="stable")
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels))
    return place
