"""Folds: who is tested where, and what is held out."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rsrl_ray.core.draw import Draw
from rsrl_ray.core.folds import Fold, FoldKind, make_folds

PAPER = np.repeat(np.arange(8), [93, 697, 1488, 512, 186, 113, 9, 2])
KINDS: tuple[FoldKind, ...] = ("stratified", "random")


def _shuffled(labels: NDArray[np.int64], seed: int = 7) -> NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(labels)


def _classes(labels: NDArray[np.int64], count: int = 8) -> list[int]:
    return np.bincount(labels, minlength=count).tolist()


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=10, max_size=80).map(lambda values: np.array(values, dtype=np.int64)),
    count=st.integers(2, 6),
    kind=st.sampled_from(KINDS),
    validation=st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5]),
    seed=st.integers(0, 2**31),
    repeats=st.integers(1, 3),
)
def test_laws(
    labels: NDArray[np.int64], count: int, kind: FoldKind, validation: float, seed: int, repeats: int
) -> None:
    draw = Draw(count, kind, validation, seed, repeats)
    try:
        folds = make_folds(labels, draw)
    except ValueError:  # less than one would be held out, or only the last of their class
        draw = Draw(count, kind, 0.0, seed, repeats)
        folds = make_folds(labels, draw)
    assert [fold.number for fold in folds] == list(range(repeats * count))
    for fold in folds:  # disjoint, ascending, and together all photos
        parts = [fold.train, fold.validation, fold.test]
        assert all((np.diff(part) > 0).all() for part in parts)
        assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
        # No class is taken from training altogether by the validation part.
        rest = np.concatenate([fold.train, fold.validation])
        assert set(labels[fold.train]) == set(labels[rest])
        assert bool(draw.validation) == bool(len(fold.validation))
        assert len(fold.validation) <= len(rest) * draw.validation
    for first in range(0, len(folds), count):
        repeat = folds[first : first + count]
        assert sorted(np.concatenate([fold.test for fold in repeat]).tolist()) == list(range(len(labels)))
        sizes = [len(fold.test) for fold in repeat]
        assert max(sizes) - min(sizes) <= 1
        if kind == "stratified":
            by_class = np.array([_classes(labels[fold.test], 5) for fold in repeat])
            assert (np.ptp(by_class, axis=0) <= 1).all()


def test_the_papers_sizes() -> None:
    for fold in make_folds(_shuffled(PAPER), Draw(5, "random", 0.0, 0)):
        assert (len(fold.train), len(fold.validation), len(fold.test)) == (2480, 0, 620)


def test_stratified_shares_of_every_class() -> None:
    labels = _shuffled(PAPER)
    folds = make_folds(labels, Draw(5, "stratified", 0.1, 0, repeats=5))
    for fold in folds:
        test, held = _classes(labels[fold.test]), _classes(labels[fold.validation])
        assert all(size // 5 <= n <= -(-size // 5) for size, n in zip(_classes(PAPER), test, strict=True))
        for n, size in zip(held, np.subtract(_classes(PAPER), test), strict=True):
            assert size // 10 <= n <= -(-size // 10)
        # One photo less where the last training photo of the rarest class was drawn.
        assert sum(held) == 248 or (sum(held) == 247 and held[7] == 0)
    # A class of two photos is in two of the five test sets, and in the training photos of every fold.
    for first in range(0, 25, 5):
        tested = [_classes(labels[fold.test])[7] for fold in folds[first : first + 5]]
        assert sorted(tested) == [0, 0, 0, 1, 1]
    assert all(_classes(labels[fold.train])[7] >= 1 for fold in folds)


def test_random_folds_do_not_look_at_the_classes() -> None:
    labels = np.repeat([0, 1], 50)
    sizes = [_classes(labels[fold.test], 2) for fold in make_folds(labels, Draw(5, "random", 0.0, 1))]
    assert any(size != [10, 10] for size in sizes)
    assert [_classes(labels[fold.test], 2) for fold in make_folds(labels, Draw(5, "stratified", 0.0, 1))] == [
        [10, 10]
    ] * 5


@pytest.mark.parametrize(
    ("photos", "validation", "held"), [(125, 0.1, 10), (125, 0.29, 29), (125, 0.07, 7), (124, 0.1, 9), (125, 0.5, 50)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_validation_part_is_exact_in_number(kind: FoldKind, photos: int, validation: float, held: int) -> None:
    labels = np.zeros(photos, dtype=np.int64)
    first = make_folds(labels, Draw(5, kind, validation, 0))[0]
    assert (len(first.validation), len(first.test)) == (held, 25)


def test_the_last_training_photo_of_a_class_is_not_held_out() -> None:
    labels = np.arange(30, dtype=np.int64) // 3  # three photos a class
    for kind in KINDS:
        for fold in make_folds(labels, Draw(3, kind, 0.5, 3)):
            rest = np.concatenate([fold.train, fold.validation])
            assert set(labels[rest]) == set(labels[fold.train])


def test_a_class_may_be_missing_from_a_random_training_part() -> None:
    labels = np.array([0] * 6 + [1] * 2, dtype=np.int64)
    draws = [make_folds(labels, Draw(2, "random", 0.0, seed)) for seed in range(20)]
    missing = [fold for folds in draws for fold in folds if 1 not in labels[fold.train]]
    assert missing
    assert all(np.isin([6, 7], fold.test).all() for fold in missing)


def test_the_draw_depends_on_the_seed_alone() -> None:
    labels = _shuffled(PAPER)
    once = make_folds(labels, Draw(5, "stratified", 0.1, 4))
    again = make_folds(labels, Draw(5, "stratified", 0.1, 4))
    other = make_folds(labels, Draw(5, "stratified", 0.1, 5))
    for a, b, c in zip(once, again, other, strict=True):
        for part in ("train", "validation", "test"):
            np.testing.assert_array_equal(getattr(a, part), getattr(b, part))
            assert not np.array_equal(getattr(a, part), getattr(c, part))


@pytest.mark.parametrize("kind", KINDS)
def test_test_photos_do_not_depend_on_the_validation_share(kind: FoldKind) -> None:
    labels = _shuffled(PAPER)
    for with_, without in zip(
        make_folds(labels, Draw(5, kind, 0.3, 0)), make_folds(labels, Draw(5, kind, 0.0, 0)), strict=True
    ):
        np.testing.assert_array_equal(with_.test, without.test)
        np.testing.assert_array_equal(np.union1d(with_.train, with_.validation), without.train)


@pytest.mark.parametrize("kind", KINDS)
def test_more_repeats_leave_the_first_as_they_are(kind: FoldKind) -> None:
    labels = _shuffled(PAPER)
    once, often = make_folds(labels, Draw(5, kind, 0.1, 4)), make_folds(labels, Draw(5, kind, 0.1, 4, repeats=3))
    for a, b in zip(once, often[:5], strict=True):
        assert (a.number, _parts(a)) == (b.number, _parts(b))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_no_two_folds_are_the_same(kind: FoldKind, seed: int) -> None:
    folds = make_folds(_shuffled(PAPER), Draw(5, kind, 0.1, seed, repeats=5))
    for part in ("train", "validation", "test"):
        assert len({getattr(fold, part).tobytes() for fold in folds}) == 25
    # As many photos as chance has it are tested in the same place of two repeats: 124 of 620, with sd 9 at most.
    shared = [len(np.intersect1d(a.test, b.test)) for a in folds for b in folds if a.number // 5 < b.number // 5]
    assert all(80 < photos < 170 for photos in shared)
    # Held out by two folds: about 20 of 248.
    held = [len(np.intersect1d(a.validation, b.validation)) for a in folds for b in folds if a.number < b.number]
    assert max(held) < 60


def test_the_draw_does_not_change_unnoticed() -> None:
    # Every archived round hangs on these indices: a change here makes all users train everything again.
    labels = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 2, 2])
    assert _validation_and_test(labels, "stratified", 2) == [
        ([6, 10], [0, 2, 3, 5]),
        ([7, 9], [1, 4, 8, 11]),
        ([2, 5], [6, 7, 9, 10]),
        ([9, 11], [0, 1, 6, 7]),
        ([7, 9], [2, 4, 5, 10]),
        ([2, 5], [3, 8, 9, 11]),
    ]
    assert _validation_and_test(labels, "random", 2) == [
        ([3, 5], [0, 1, 10, 11]),
        ([4, 6], [3, 5, 7, 8]),
        ([3, 11], [2, 4, 6, 9]),
        ([9, 11], [1, 5, 7, 8]),
        ([2, 9], [0, 3, 6, 10]),
        ([5, 6], [2, 4, 9, 11]),
    ]


def _validation_and_test(labels: NDArray[np.int64], kind: FoldKind, repeats: int) -> list[tuple[list[int], list[int]]]:
    return [
        (fold.validation.tolist(), fold.test.tolist()) for fold in make_folds(labels, Draw(3, kind, 0.25, 0, repeats))
    ]


def _parts(fold: Fold) -> list[list[int]]:
    return [fold.train.tolist(), fold.validation.tolist(), fold.test.tolist()]


CHOOSE = "training photos to choose the round on; give"
ON_TEST = "or 0 to choose it on the test photos"
LAST = "another share (the last photo of a score is never held out)"


@pytest.mark.parametrize(
    ("labels", "draw", "message"),
    [
        (
            [0, 1] * 2,
            Draw(5, "stratified", 0.0, 0),
            "folds.count: 5, but there are 4 photos, so fold 4 tests none; give 4 or fewer",
        ),
        (
            [0, 1] * 2,
            Draw(4, "stratified", 0.1, 0),
            f"folds.validation: 0.1, but fold 0 holds out none of its 3 {CHOOSE} 0.334 or more, {ON_TEST}",
        ),
        (
            [0, 1] * 200,
            Draw(5, "stratified", 0.002, 0),
            f"folds.validation: 0.002, but fold 0 holds out none of its 320 {CHOOSE} 0.004 or more, {ON_TEST}",
        ),
        (
            [0, 1, 2, 3],
            Draw(2, "random", 0.5, 0),
            f"folds.validation: 0.5, but fold 0 holds out none of its 2 {CHOOSE} {LAST}, {ON_TEST}",
        ),
        ([0], Draw(1, "random", 0.0, 0), "folds: fold 0 of 1 photos has none to train on; give more photos"),
    ],
)
def test_a_part_that_was_asked_for_is_there_or_refused(labels: list[int], draw: Draw, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_folds(np.array(labels), draw)
