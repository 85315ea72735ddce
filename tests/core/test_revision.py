"""Which photos a revision drops: by hand, and as laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rsrl_ray.core.revision import Membership, Revision, likelihood, majority_classes, revise, self_confidence

MEMBERSHIPS: tuple[Membership, ...] = ("sigmoid", "centred", "softmax")

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


def _dropped(revision: Revision) -> list[int]:
    return np.flatnonzero(~revision.kept).tolist()


# likelihood


def test_sigmoid_of_each_output_by_itself() -> None:
    logits = np.array([[np.log(9), 0.0, -np.log(9)], [np.log(3), np.log(3), np.log(3)]])
    np.testing.assert_allclose(likelihood(logits), [[0.9, 0.5, 0.1], [0.75, 0.75, 0.75]], rtol=1e-15)


def test_centred_takes_the_mean_of_each_photo_away() -> None:
    logits = np.array([[5 + np.log(9), 5.0, 5 - np.log(9)], [-100.0, -100.0, -100.0]])
    np.testing.assert_allclose(likelihood(logits, "centred"), [[0.9, 0.5, 0.1], [0.5, 0.5, 0.5]], rtol=1e-14)


def test_softmax_makes_the_classes_share_one() -> None:
    logits = np.log([[1.0, 2.0, 5.0], [4.0, 4.0, 8.0]]) + np.array([[0.0], [300.0]])
    expected = [[1 / 8, 2 / 8, 5 / 8], [1 / 4, 1 / 4, 1 / 2]]
    np.testing.assert_allclose(likelihood(logits, "softmax"), expected, rtol=1e-12)


@pytest.mark.parametrize("membership", MEMBERSHIPS)
def test_large_outputs_neither_overflow_nor_lose_float64(membership: Membership) -> None:
    found = likelihood(np.array([[3000.0, -3000.0]], dtype=np.float32), membership)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[1.0, 0.0]])


@pytest.mark.parametrize("membership", MEMBERSHIPS)
def test_bits_depend_neither_on_memory_order_nor_on_the_other_photos(membership: Membership) -> None:
    # A table read back holds its columns one by one, a network's outputs come row by row, a fold is a part of them.
    logits = (np.random.default_rng(0).normal(size=(500, 9)) * 4).astype(np.float32)
    expected = likelihood(logits, membership)
    np.testing.assert_array_equal(likelihood(np.asfortranarray(logits), membership), expected)
    np.testing.assert_array_equal(likelihood(logits[3::7], membership), expected[3::7])


def test_self_confidence_is_the_likelihood_at_the_own_label() -> None:
    likelihoods = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])
    assert self_confidence(likelihoods, np.array([2, 0, 1])).tolist() == [0.3, 0.4, 0.8]


# majority classes


def test_the_papers_majority_classes() -> None:
    labels = np.repeat(np.arange(8), [93, 697, 1488, 512, 186, 113, 9, 2])
    assert majority_classes(labels).tolist() == [2, 1, 3]
    assert majority_classes(labels, 1).tolist() == [2]


def test_of_equally_large_classes_the_lower_comes_first() -> None:
    assert majority_classes(np.array([3, 3, 0, 2, 2, 1, 1]), 3).tolist() == [1, 2, 3]


# revise


def test_photos_below_their_threshold_are_dropped_and_equal_ones_stay() -> None:
    revision = revise(CONFIDENCE, LABELS, MAJORITY, [0.5, 0.94])
    assert _dropped(revision) == [0, 3, 8, 12]
    assert revision.counts == ((8, 2), (7, 2))
    assert revision.guarded == ()


def test_each_threshold_belongs_to_its_place_not_to_its_class() -> None:
    assert _dropped(revise(CONFIDENCE, LABELS, np.array([0, 1]), [0.94, 0.5])) == [0, 3, 8, 12]
    assert _dropped(revise(CONFIDENCE, LABELS, np.array([1, 0]), [0.0, 0.3])) == [12]


def test_the_guard_keeps_the_most_likely_five() -> None:
    revision = revise(CONFIDENCE, LABELS, MAJORITY, [0.5, 0.95])  # K2 alone would leave four
    assert _dropped(revision) == [0, 3, 8, 12]
    assert revision.guarded == (1,)
    assert revision.counts == ((8, 2), (7, 2))


def test_of_equally_likely_photos_the_guard_keeps_the_earlier() -> None:
    confidence = np.array([0.2, 0.3, 0.2, 0.2, 0.3, 0.2, 0.2])
    revision = revise(confidence, np.zeros(7, dtype=np.int64), np.array([0]), [0.9])
    assert _dropped(revision) == [5, 6]
    assert revision.guarded == (0,)


def test_a_class_of_fewer_than_five_stays_whole() -> None:
    revision = revise(np.full(3, 0.1), np.zeros(3, dtype=np.int64), np.array([0]), [0.9])
    assert revision.kept.all()
    assert revision.guarded == (0,)
    assert revision.counts == ((3, 0),)


@pytest.mark.parametrize(
    ("photos", "min_kept", "stay"),
    [(1000, 0.01, 10), (1001, 0.01, 11), (400, 0.01, 5), (40, 0.5, 20), (30, 1.0, 30), (30, 0.0, 5)],
)
def test_the_guards_share(photos: int, min_kept: float, stay: int) -> None:
    confidence = np.linspace(0.0, 0.5, photos)
    revision = revise(confidence, np.zeros(photos, dtype=np.int64), np.array([0]), [1.0], min_kept)
    assert revision.guarded == (0,)
    assert np.flatnonzero(revision.kept).tolist() == list(range(photos - stay, photos))


@pytest.mark.parametrize(("photos", "min_kept", "stay"), [(100, 0.1, 10), (100, 0.07, 7), (300, 0.07, 21)])
def test_exactly_the_guards_share_is_enough(photos: int, min_kept: float, stay: int) -> None:
    confidence = np.where(np.arange(photos) < stay, 0.9, 0.1)
    revision = revise(confidence, np.zeros(photos, dtype=np.int64), np.array([0]), [0.5], min_kept)
    assert revision.guarded == ()
    assert revision.counts == ((photos, photos - stay),)


def test_a_majority_class_without_training_photos_is_passed_over() -> None:
    revision = revise(np.full(6, 0.1), np.zeros(6, dtype=np.int64), np.array([0, 1]), [0.5, 0.5])
    assert revision.counts == ((6, 1), (0, 0))
    assert revision.guarded == (0,)


def test_inputs_are_left_alone() -> None:
    confidence, labels = CONFIDENCE.copy(), LABELS.copy()
    revise(confidence, labels, MAJORITY, [0.5, 0.95])
    np.testing.assert_array_equal(confidence, CONFIDENCE)
    np.testing.assert_array_equal(labels, LABELS)


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
    at_low = revise(confidence, labels, majority, [low] * 3, min_kept)
    at_high = revise(confidence, labels, majority, [high] * 3, min_kept)
    assert at_low.kept[~np.isin(labels, majority)].all()  # the minority classes stay whole
    assert not (at_high.kept & ~at_low.kept).any()  # a higher K keeps no photo that a lower one drops
    assert revise(confidence, labels, majority, [0.0] * 3, min_kept).kept.all()
    for place, cls in enumerate(majority):
        members = labels == cls
        size, dropped = at_high.counts[place]
        assert (size, dropped) == (members.sum(), (members & ~at_high.kept).sum())
        assert size - dropped >= max(min(size, 5), min_kept * size)
        # Where the guard was not needed, it changed nothing.
        if place not in at_high.guarded:
            np.testing.assert_array_equal(at_high.kept[members], confidence[members] >= high)
