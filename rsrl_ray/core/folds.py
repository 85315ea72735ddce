"""Cross-validation folds with a validation part held out of each fold's training photos."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.grouped import Draw, Kind, held_out, test_folds


@dataclass(frozen=True)
class Fold:
    """One fold: ascending indices into all photos; the three parts are disjoint and cover all of them."""

    number: int
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def make_folds(
    labels: NDArray[np.int64],
    count: int,
    kind: Kind,
    validation: float,
    seed: int,
    repeats: int = 1,
    groups: NDArray[np.int64] | None = None,
) -> list[Fold]:
    """Split N photos ``repeats`` times into ``count`` folds; in each repeat a photo is a test photo of exactly one.

    Fold f of repeat r (both from 0) has the number r * count + f, and the list is in the order of the numbers. The
    first repeat is the same whatever the number of repeats.

    ``stratified`` deals the photos of each class, shuffled, to the folds in turn: the sizes of a class in two
    folds of a repeat differ by one at most, so a class with fewer photos than folds is absent from some test sets.
    ``random`` is the paper's plain 4/5 : 1/5 (section V.A). ``validation`` is the share of a fold's training
    photos that is held out of it, by the same kind of draw, to choose the round on; the last training
    photo of a class is never taken.

    labels : [N] class indices; groups : [N], of photos that belong together (None: no two do) and so fall into one
    part of a fold, classes being dealt as evenly as groups allow (`rsrl_ray.core.grouped`). The draw depends on them
    and on ``seed`` alone.

    Raises
    ------
    ValueError
        Where there are fewer groups than folds.
    """
    if groups is not None:
        return _grouped_folds(labels, groups, Draw(count, kind, validation, seed), repeats)
    folds = []
    for repeat in range(repeats):
        stream = [seed, 0, repeat] if repeat else [seed, 0]
        fold_of = _dealt(labels, kind, np.random.default_rng(stream)) % count
        numbers = range(repeat * count, (repeat + 1) * count)
        folds += [_fold(labels, fold_of == number % count, number, kind, validation, seed) for number in numbers]
    return folds


def _grouped_folds(labels: NDArray[np.int64], groups: NDArray[np.int64], draw: Draw, repeats: int) -> list[Fold]:
    folds = []
    for repeat in range(repeats):
        fold_of = test_folds(labels, groups, draw, repeat)
        for place in range(draw.count):
            number, test, rest = repeat * draw.count + place, fold_of == place, np.flatnonzero(fold_of != place)
            held = held_out(labels[rest], groups[rest], draw, number)
            folds.append(Fold(number, rest[~held], rest[held], np.flatnonzero(test)))
    return folds


def _fold(
    labels: NDArray[np.int64], test: NDArray[np.bool_], number: int, kind: Kind, validation: float, seed: int
) -> Fold:
    """The fold with these test photos, [N] bool, and its validation part drawn from the others."""
    rest = np.flatnonzero(~test)
    generator = np.random.default_rng([seed, 1, number])
    place = (_dealt(labels[rest], kind, generator) + generator.integers(len(rest))) % len(rest)
    # Every (1/validation)-th place of the dealt order, turned by a random step so that no class is always met
    # or missed: exact in number and, where stratified, in shares. 100 * 0.29 falls short of 29, hence the 1e-9.
    held = np.floor((place + 1) * validation + 1e-9) > np.floor(place * validation + 1e-9)
    for last in np.setdiff1d(labels[rest], labels[rest][~held]):
        held[np.flatnonzero(labels[rest] == last)[0]] = False
    return Fold(number, rest[~held], rest[held], np.flatnonzero(test))


def _dealt(labels: NDArray[np.int64], kind: Kind, generator: np.random.Generator) -> NDArray[np.int64]:
    """Each photo's place, [N], in an order that is random, and where stratified also sorted by class."""
    shuffle = generator.random(len(labels))
    order = np.lexsort((shuffle, labels)) if kind == "stratified" else np.argsort(shuffle, kind="stable")
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels))
    return place
