"""Cross-validation folds with a validation part held out of each fold's training photos."""

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
    """One fold: ascending indices into all photos; the three parts are disjoint and cover all of them."""

    number: int
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def make_folds(
    labels: NDArray[np.int64], draw: Draw, groups: NDArray[np.int64] | None = None, named: bool = True
) -> list[Fold]:
    """Split N photos ``draw.repeats`` times into ``draw.count`` folds; in each repeat a photo is tested by one of them.

    Fold f of repeat r (both from 0) has the number r * count + f, and the list is in the order of the numbers. The
    first repeat is the same whatever the number of repeats.

    ``stratified`` deals the photos of each class, shuffled, to the folds in turn: the sizes of a class in two
    folds of a repeat differ by one at most, so a class with fewer photos than folds is absent from some test sets.
    ``random`` is the paper's plain 4/5 : 1/5 (section V.A). ``draw.validation`` is the share of a fold's training
    photos that is held out of it, by the same kind of draw, to choose the round on; the last training
    photo of a class is never taken.

    labels : [N] class indices. groups : [N], of photos that belong together (None: no two do) and so fall into one
    part of a fold, classes being dealt as evenly as groups allow (`rsrl_ray.core.dealing`). named : whether somebody
    has named groups. Else they are of equal photos, and all that have no equal are dealt as if these stood once in the
    table. The draw depends on these and on ``draw.seed`` alone.

    Raises
    ------
    ValueError
        If a fold has no test photo, no training photo, or no validation photo though a share of them is asked for.
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
    """Of photos of which no two belong together."""
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
    """Given : folds of the same numbers, of some of the photos, which keep their parts."""
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
    """The fold in which each photo is tested, [N], 0 to count - 1.

    Every fold has a photo. Where photos are dealt by class, every fold has one of each class that is in as many groups
    as there are folds.

    labels, groups : [N]. given : see `Deal`. Raises ValueError if there are fewer groups than folds.
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


def _held_out(labels: Labels, groups: Labels, draw: Draw, number: int, given: Labels | None) -> Mask:
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


def _folds_with_equals(labels: NDArray[np.int64], groups: NDArray[np.int64], draw: Draw) -> list[Fold]:
    """A photo that is added twice leaves all others where they are."""
    _, first, group, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    once = np.sort(first)  # of equal photos the first
    alone = sizes[group] == 1

    def kept(part: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(once[part][alone[once[part]]])

    dealt = _dealt_folds(labels[once], draw)
    given = [Fold(fold.number, *map(kept, (fold.train, fold.validation, fold.test))) for fold in dealt]
    return _grouped_folds(labels, groups, draw, given)


def _parts(labels: NDArray[np.int64], parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The part of each photo, [N], from the photos of each; -1 of those in none."""
    part = np.full(len(labels), -1, dtype=np.int64)
    for number, rows in enumerate(parts):
        part[rows] = number
    return part


def _check_parts(fold: Fold, labels: NDArray[np.int64], draw: Draw, grouped: bool) -> None:
    """A part that is asked for has a photo, or else nothing rests on it."""
    rest = len(fold.train) + len(fold.validation)
    if not len(fold.test):
        raise ValueError(
            f"folds.count: {draw.count}, but there are {len(labels)} photos, so fold {fold.number} tests none; give "
            f"{len(labels)} or less"
        )
    if not len(fold.train):
        raise ValueError(f"folds: of {len(labels)} photos fold {fold.number} has none to train on; give more photos")
    if draw.validation and not len(fold.validation):
        least = math.ceil(1000 / rest) / 1000
        undivided = ", and groups are not divided" if grouped else ""
        why = f"the last photo of a score is never held out{undivided}"
        too_small = draw.validation < least <= 0.5 and not grouped
        give = f"{least:g} or more" if too_small else f"another share ({why})"
        raise ValueError(
            f"folds.validation: {draw.validation:g}, but of the {rest} photos that fold {fold.number} does not test, "
            f"none is held out to choose the round on; give {give}, or 0 to choose it on the test photos"
        )


def _fold(labels: NDArray[np.int64], test: NDArray[np.bool_], number: int, draw: Draw) -> Fold:
    """The fold with these test photos, [N] bool, and its validation part drawn from the others."""
    rest = np.flatnonzero(~test)
    if not len(rest):
        return Fold(number, rest, rest, np.flatnonzero(test))
    generator = np.random.default_rng([draw.seed, 1, number])
    validation = draw.validation
    place = (_dealt(labels[rest], draw.kind, generator) + generator.integers(len(rest))) % len(rest)
    # Every (1/validation)-th place of the dealt order, turned by a random step so that no class is always met
    # or missed: exact in number and, if stratified, in shares. 100 * 0.29 falls short of 29, hence the 1e-9.
    held = np.floor((place + 1) * validation + 1e-9) > np.floor(place * validation + 1e-9)
    for last in np.setdiff1d(labels[rest], labels[rest][~held]):
        held[np.flatnonzero(labels[rest] == last)[0]] = False
    return Fold(number, rest[~held], rest[held], np.flatnonzero(test))


def _dealt(labels: NDArray[np.int64], kind: FoldKind, generator: np.random.Generator) -> NDArray[np.int64]:
    """Each photo's place, [N], in an order that is random, and where stratified also sorted by class."""
    shuffle = generator.random(len(labels))
    order = np.lexsort((shuffle, labels)) if kind == "stratified" else np.argsort(shuffle, kind="stable")
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels))
    return place
