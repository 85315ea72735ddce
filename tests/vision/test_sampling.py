"""The order in which a pass trains on its photos."""

import numpy as np
import pytest
import torch

from rsrl_ray.core.passes import sampling_in
from rsrl_ray.vision.sampling import drawn, kept_weights

LABELS = np.repeat([0, 1, 2, 0], [60, 30, 6, 4])
PHOTOS = np.flatnonzero(np.arange(100) % 10 != 5)  # 90 of 100


def _drawn(sampling: str, seed: int = 0, photos: np.ndarray = PHOTOS) -> np.ndarray:
    return drawn(photos, LABELS, sampling, torch.Generator().manual_seed(seed))  # type: ignore[arg-type]


def test_shuffled_every_photo_comes_once_in_the_order_that_it_always_had() -> None:
    expected = PHOTOS[torch.randperm(90, generator=torch.Generator().manual_seed(3)).numpy()]
    np.testing.assert_array_equal(_drawn("shuffled", 3), expected)
    assert sorted(_drawn("shuffled", 3)) == PHOTOS.tolist()


def test_class_balanced_every_class_comes_equally_often() -> None:
    taken = np.concatenate([_drawn("class_balanced", seed) for seed in range(100)])
    assert np.isin(taken, PHOTOS).all()
    # A third of 9,000 for each class, within 45. In a class all photos are drawn alike: the five of class 2 600 times.
    counts = np.bincount(LABELS[taken], minlength=3)
    assert np.all(abs(counts - 3000) < 180)
    of_class_2 = np.bincount(taken, minlength=100)[(LABELS == 2) & np.isin(np.arange(100), PHOTOS)]
    assert len(of_class_2) == 5
    assert np.all(abs(of_class_2 - 600) < 100)
    of_class_0 = np.bincount(taken, minlength=100)[(LABELS == 0) & np.isin(np.arange(100), PHOTOS)]
    assert np.all(abs(of_class_0 - 3000 / len(of_class_0)) < 35)


@pytest.mark.parametrize("sampling", ["shuffled", "class_balanced"])
def test_as_many_come_as_there_are_and_the_generator_alone_decides(sampling: str) -> None:
    assert len(_drawn(sampling)) == 90
    np.testing.assert_array_equal(_drawn(sampling), _drawn(sampling))
    assert (_drawn(sampling) != _drawn(sampling, 1)).any()
    generator = torch.Generator().manual_seed(0)
    passes = [drawn(PHOTOS, LABELS, sampling, generator) for _ in range(2)]  # type: ignore[arg-type]
    assert (passes[0] != passes[1]).any()


@pytest.mark.parametrize("sampling", ["shuffled", "class_balanced"])
def test_a_single_class_and_a_single_photo(sampling: str) -> None:
    assert np.isin(_drawn(sampling, photos=np.arange(60)), np.arange(60)).all()
    assert _drawn(sampling, photos=np.array([95])).tolist() == [95]


def test_classes_are_balanced_from_a_round_on() -> None:
    rounds = [sampling_in(number, "class_balanced", 3) for number in (1, 2, 3, 4)]
    assert rounds == ["shuffled", "shuffled", "class_balanced", "class_balanced"]
    assert {sampling_in(number, "shuffled", 3) for number in (1, 4)} == {"shuffled"}


def test_a_dropped_photo_weighs_nothing_and_the_mean_is_one() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    train, kept = np.arange(7), np.array([1, 1, 0, 0, 1, 0, 1, 0], dtype=bool)
    shuffled = kept_weights(kept, labels, train, "shuffled")
    np.testing.assert_array_equal(shuffled, np.float32([1.75, 1.75, 0, 0, 1.75, 0, 1.75, 0]))
    balanced = kept_weights(kept, labels, train, "class_balanced")  # n / (C n_c): 7 / (3 x 2), 7 / (3 x 1)
    np.testing.assert_array_equal(balanced, np.float32([7 / 6, 7 / 6, 0, 0, 7 / 3, 0, 7 / 3, 0]))
    for weights in (shuffled, balanced):
        assert weights[train].mean() == pytest.approx(1)


def test_what_a_rule_lets_a_photo_weigh_is_a_factor() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    train, kept = np.arange(7), np.array([1, 0.25, 0.25, 0, 0.5, 1, 0.5, 0], dtype=np.float32)  # their sum is 3.5
    shuffled = kept_weights(kept, labels, train, "shuffled")
    np.testing.assert_array_equal(shuffled, np.float32([2, 0.5, 0.5, 0, 1, 2, 1, 0]))
    balanced = kept_weights(kept, labels, train, "class_balanced")  # each class has 7 / 3 in all
    expected = [7 / 3 / 1.5, 7 / 3 / 6, 7 / 3 / 6, 0, 7 / 3 / 3, 14 / 3 / 3, 7 / 3, 0]
    np.testing.assert_allclose(balanced, expected, rtol=1e-6)
    assert balanced.dtype == np.float32
    for weights in (shuffled, balanced):
        assert weights[train].mean() == pytest.approx(1)


@pytest.mark.parametrize("sampling", ["shuffled", "class_balanced"])
def test_weights_of_zero_and_one_are_a_mask_to_the_bit(sampling: str) -> None:
    mask = np.random.default_rng(0).random(100) < 0.63
    found = [kept_weights(kept, LABELS, PHOTOS, sampling) for kept in (mask, mask.astype(np.float32))]  # type: ignore[arg-type]
    np.testing.assert_array_equal(*found)
