"""Which photos a revision drops: by hand, and as laws."""

import numpy as np
import pytest
from core.rules.judged import confident, judged, places
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from rsrl_ray.core.arrays import Mask
from rsrl_ray.core.revision import Revised, majority_classes, revise
from rsrl_ray.core.rules.lowest_loss import LowestLoss
from rsrl_ray.core.rules.rule import Rule, Seen, Weighing
from rsrl_ray.core.rules.thresholds import Thresholds
from rsrl_ray.core.schedule import make_schedule

# Eight photos of class 1, seven of class 0, two of the minority class 2.
LABELS = np.array([1] * 8 + [0] * 7 + [2] * 2)
CONFIDENCE = np.concatenate(
    [
        [0.1, 0.5, 0.9, 0.49, 0.8, 0.7, 0.6, 0.95],
        [0.3, 0.94, 0.95, 0.96, 0.2, 0.99, 0.97],
        [0.0, 0.01],
    ]
)
MAJORITY = np.array([1, 0])


def _dropped(revision: Revised) -> list[int]:
    return places(~revision.kept)


def _revise(
    confidence: ArrayLike,
    labels: ArrayLike,
    majority: NDArray[np.int64],
    thresholds: list[float],
    min_kept: float = 0.01,
) -> Revised:
    rule = Thresholds(make_schedule({1: thresholds}, len(thresholds)))
    return revise(rule, confident(labels, confidence, majority=majority, min_kept=min_kept))


def _counts(revision: Revised, majority: NDArray[np.int64] = MAJORITY) -> list[tuple[int, int]]:
    """Of the majority classes, largest first."""
    return [revision.counts[label] for label in majority]


# majority classes


def test_the_papers_majority_classes() -> None:
    labels = np.repeat(np.arange(8), [93, 697, 1488, 512, 186, 113, 9, 2])
    assert majority_classes(labels).tolist() == [2, 1, 3]
    assert majority_classes(labels, 1).tolist() == [2]


def test_of_equally_large_classes_the_lower_comes_first() -> None:
    assert majority_classes(np.array([3, 3, 0, 2, 2, 1, 1]), 3).tolist() == [1, 2, 3]


# revise


def test_photos_below_their_threshold_are_dropped_and_equal_ones_stay() -> None:
    revision = _revise(CONFIDENCE, LABELS, MAJORITY, [0.5, 0.94])
    assert _dropped(revision) == [0, 3, 8, 12]
    assert _counts(revision) == [(8, 2), (7, 2)]
    assert revision.guarded == ()


def test_each_threshold_belongs_to_its_place_not_to_its_class() -> None:
    assert _dropped(_revise(CONFIDENCE, LABELS, np.array([0, 1]), [0.94, 0.5])) == [0, 3, 8, 12]
    assert _dropped(_revise(CONFIDENCE, LABELS, np.array([1, 0]), [0.0, 0.3])) == [12]


def test_the_guard_keeps_the_most_likely_five() -> None:
    revision = _revise(CONFIDENCE, LABELS, MAJORITY, [0.5, 0.95])  # K2 alone would leave four
    assert _dropped(revision) == [0, 3, 8, 12]
    assert revision.guarded == (0,)
    assert _counts(revision) == [(8, 2), (7, 2)]


def test_of_equally_likely_photos_the_guard_keeps_the_earlier() -> None:
    confidence = np.array([0.2, 0.3, 0.2, 0.2, 0.3, 0.2, 0.2])
    revision = _revise(confidence, np.zeros(7, dtype=np.int64), np.array([0]), [0.9])
    assert _dropped(revision) == [5, 6]
    assert revision.guarded == (0,)


def test_a_class_of_fewer_than_five_stays_whole() -> None:
    revision = _revise(np.full(3, 0.1), np.zeros(3, dtype=np.int64), np.array([0]), [0.9])
    assert revision.kept.all()
    assert revision.guarded == (0,)
    assert _counts(revision, np.array([0])) == [(3, 0)]


@pytest.mark.parametrize(
    ("photos", "min_kept", "stay"),
    [(1000, 0.01, 10), (1001, 0.01, 11), (400, 0.01, 5), (40, 0.5, 20), (30, 1.0, 30), (30, 0.0, 5)],
)
def test_the_guards_share(photos: int, min_kept: float, stay: int) -> None:
    confidence = np.linspace(0.0, 0.5, photos)
    revision = _revise(confidence, np.zeros(photos, dtype=np.int64), np.array([0]), [1.0], min_kept)
    assert revision.guarded == (0,)
    assert np.flatnonzero(revision.kept).tolist() == list(range(photos - stay, photos))


@pytest.mark.parametrize(("photos", "min_kept", "stay"), [(100, 0.1, 10), (100, 0.07, 7), (300, 0.07, 21)])
def test_exactly_the_guards_share_is_enough(photos: int, min_kept: float, stay: int) -> None:
    confidence = np.where(np.arange(photos) < stay, 0.9, 0.1)
    revision = _revise(confidence, np.zeros(photos, dtype=np.int64), np.array([0]), [0.5], min_kept)
    assert revision.guarded == ()
    assert _counts(revision, np.array([0])) == [(photos, photos - stay)]


def test_a_majority_class_without_training_photos_is_passed_over() -> None:
    revision = _revise(np.full(6, 0.1), np.zeros(6, dtype=np.int64), np.array([0, 1]), [0.5, 0.5])
    assert _counts(revision, np.array([0, 1])) == [(6, 1), (0, 0)]
    assert revision.guarded == (0,)


def test_inputs_are_left_alone() -> None:
    rule = Thresholds(make_schedule({1: [0.5, 0.95]}, 2))
    seen = confident(LABELS, CONFIDENCE, majority=MAJORITY)
    before = seen.last.copy()
    revise(rule, seen)
    np.testing.assert_array_equal(seen.last, before)
    np.testing.assert_array_equal(seen.labels, LABELS)
    assert seen.kept.all()


# other rules


class _Named(Rule):
    """Drops the photos that it is given."""

    def __init__(self, *photos: int) -> None:
        self._photos = photos

    def drops(self, seen: Seen) -> Mask:
        return np.isin(np.arange(len(seen.labels)), self._photos)


def test_the_guard_keeps_the_most_likely_of_those_that_a_rule_drops() -> None:
    confidence = [0.5, 0.1, 0.2, 0.2, 0.9, 0.2, 0.3]
    revision = revise(_Named(1, 2, 3, 4, 5), confident([0] * 7, confidence))
    assert _dropped(revision) == [1, 5]  # 4, 2 and 3 stay, though the rule would rather keep 6
    assert revision.guarded == (0,)
    assert revision.counts[0] == (7, 2)


def test_the_guard_is_of_all_classes() -> None:
    revision = revise(LowestLoss(0), judged([0] * 8 + [1] * 6 + [2] * 3, np.zeros((17, 4)), majority=np.array([0])))
    assert _dropped(revision) == [5, 6, 7, 13]
    assert revision.guarded == (0, 1, 2)
    assert revision.counts == ((8, 3), (6, 1), (3, 0), (0, 0))


def test_what_the_last_network_was_trained_on_stays_dropped_only_if_it_is_dropped_again() -> None:
    seen = confident([0] * 8, [0.9] * 8, kept=np.arange(8) < 5)
    assert revise(_Named(0), seen).kept.tolist() == [False, *[True] * 7]


class _Weighed(Weighing):
    """Gives these weights."""

    def __init__(self, *weights: float) -> None:
        self._weights = weights

    def weights(self, seen: Seen) -> NDArray[np.floating]:
        return np.array(self._weights)


def test_what_the_guard_keeps_weighs_as_the_lightest_other_photo_of_its_class() -> None:
    seen = confident([0] * 7 + [1] * 6, [0.1, 0.3, 0.2, 0.4, 0.5, 0.9, 0.9] + [0.1] * 6)
    revision = revise(_Weighed(0, 0, 0, 0, 0, 0.25, 0.5, 0, 0, 0, 0, 0, 0), seen)
    assert revision.weights is not None
    assert revision.weights.tolist() == [0, 0.25, 0, 0.25, 0.25, 0.25, 0.5, 1, 1, 1, 1, 1, 0]
    np.testing.assert_array_equal(revision.kept, revision.weights > 0)
    assert (revision.guarded, revision.counts[:2]) == ((0, 1), ((7, 2), (6, 1)))
    above_one = revise(_Weighed(0, 0, 0, 0, 0, 3.0, 2, 1, 1, 1, 1, 1, 1), seen)
    assert above_one.weights is not None
    assert above_one.weights[:7].tolist() == [0, 2, 0, 2, 2, 3, 2]


def test_weights_of_zero_and_one_are_a_rule_that_drops() -> None:
    seen = confident([0] * 7, [0.5] * 7)
    revision, drops = revise(_Weighed(1.0, 1, 0, 1, 1, 1, 1), seen), revise(_Named(2), seen)
    assert revision.weights is None
    assert revision.kept.tolist() == drops.kept.tolist()
    assert revise(_Named(2), seen).weights is None


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ((0.5, 0.5), r"weights gave float64 \[2\], not float \[7\]"),
        ((1, 1, 1, 1, 1, 1, 0), r"weights gave int64 \[7\], not float \[7\]"),
        ((0.5,) * 6 + (-0.5,), "weights gave a number below 0, or one that is not finite"),
        ((0.5,) * 6 + (float("nan"),), "weights gave a number below 0, or one that is not finite"),
        ((0.5,) * 6 + (1e300,), "weights gave a number below 0, or one that is not finite"),
    ],
)
def test_weights_that_are_none(weights: tuple[float, ...], said: str) -> None:
    with pytest.raises(ValueError, match=f"^_Weighed: {said}$"):
        revise(_Weighed(*weights), confident([0] * 7, [0.5] * 7))


# laws

PHOTOS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 20).map(lambda step: step / 20)), min_size=1, max_size=60
).map(lambda rows: (np.array([row[0] for row in rows]), np.array([row[1] for row in rows])))
THRESHOLD = st.integers(0, 20).map(lambda step: step / 20)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(photos=PHOTOS, low=THRESHOLD, high=THRESHOLD, min_kept=st.sampled_from([0.0, 0.01, 0.3, 1.0]))
def test_laws(photos: tuple[NDArray[np.int64], NDArray[np.float64]], low: float, high: float, min_kept: float) -> None:
    labels, confidence = photos
    low, high = sorted((low, high))
    majority = majority_classes(labels, 3)
    at_low = _revise(confidence, labels, majority, [low] * 3, min_kept)
    at_high = _revise(confidence, labels, majority, [high] * 3, min_kept)
    assert at_low.kept[~np.isin(labels, majority)].all()  # the minority classes stay whole
    assert not (at_high.kept & ~at_low.kept).any()  # a higher K keeps no photo that a lower one drops
    assert _revise(confidence, labels, majority, [0.0] * 3, min_kept).kept.all()
    for cls in majority:
        members = labels == cls
        size, dropped = at_high.counts[cls] if cls < 5 else (0, 0)
        assert (size, dropped) == (members.sum(), (members & ~at_high.kept).sum())
        assert size - dropped >= max(min(size, 5), min_kept * size)
        # Where the guard was not needed, it changed nothing.
        if cls not in at_high.guarded:
            np.testing.assert_array_equal(at_high.kept[members], confidence[members] >= high)
        else:  # where it was, the most likely stay, and of equal ones the earlier
            likely = sorted(np.flatnonzero(members), key=lambda photo: -confidence[photo])
            assert sorted(likely[: size - dropped]) == places(at_high.kept & members)
