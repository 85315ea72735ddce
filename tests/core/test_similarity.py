"""Cosines, pairs and groups, by hand."""

import numpy as np
import pytest

from rsrl_ray.core import similarity
from rsrl_ray.core.similarity import SimilarPairs, divided, joined, nearest, share_divided, similar_pairs

# The mean is (10, 10). Less it: 0 and 3 point right, 1 and 4 left, 2 and 5 are 3-4-5 triangles, upwards and downwards.
FEATURES = np.array([[11, 10], [9, 10], [13, 14], [12, 10], [8, 10], [7, 6]], dtype=np.float32)


def pairs(*found: tuple[int, int]) -> SimilarPairs:
    first, second = np.array(found, dtype=np.int64).reshape(-1, 2).T
    return SimilarPairs(first, second, np.ones(len(found), dtype=np.float32))


def told(found: SimilarPairs) -> list[tuple[int, int, float]]:
    columns = (found.first.tolist(), found.second.tolist(), found.cosine.round(6).tolist())
    return list(zip(*columns, strict=True))


def test_pairs_by_the_cosine_of_what_differs_from_the_mean() -> None:
    assert told(similar_pairs(FEATURES, 1.0)) == [(0, 3, 1.0), (1, 4, 1.0)]
    six_tenths = pytest.approx(0.6)
    found = told(similar_pairs(FEATURES, 0.6))
    assert found[:2] == [(0, 3, 1.0), (1, 4, 1.0)]
    assert sorted(found[2:]) == [(0, 2, six_tenths), (1, 5, six_tenths), (2, 3, six_tenths), (4, 5, six_tenths)]
    assert told(similar_pairs(FEATURES + 1000, 0.99)) == told(similar_pairs(FEATURES, 0.99))


def test_blocks_give_the_same_pairs_and_tell_how_far_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, steps = told(similar_pairs(FEATURES, 0.6)), []
    monkeypatch.setattr(similarity, "BLOCK", 4 * len(FEATURES))
    blocks = similar_pairs(FEATURES, 0.6, lambda done, of: steps.append((done, of)))
    assert sorted(told(blocks)) == sorted(whole)
    assert steps == [(4, 6), (6, 6)]


def test_too_many_pairs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "MOST_PAIRS", 5)
    with pytest.raises(ValueError, match=r"more than 5 pairs of photos have a cosine of 0\.6 or more"):
        similar_pairs(FEATURES, 0.6)
    assert len(similar_pairs(FEATURES, 0.7)) == 2


def test_a_photo_that_is_the_mean_is_like_no_other() -> None:
    assert len(similar_pairs(np.ones((4, 3), dtype=np.float32), 0.1)) == 0
    assert len(similar_pairs(np.ones((1, 3), dtype=np.float32), 0.1)) == 0


def test_the_nearest_photos_of_each_and_of_equal_ones_the_earlier() -> None:
    expected = [[3, 2, 5, 1, 4], [4, 5, 2, 0, 3], [0, 3, 1, 4, 5], [0, 2, 5, 1, 4], [1, 5, 2, 0, 3], [1, 4, 0, 3, 2]]
    for count in (1, 2, 5):
        assert nearest(FEATURES, count).tolist() == [row[:count] for row in expected]
    assert nearest(FEATURES, 9).tolist() == expected  # a photo is never near itself
    assert nearest(FEATURES + 1000, 3).tolist() == [row[:3] for row in expected]


def test_blocks_find_the_same_nearest_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    features = np.concatenate([features, features[:20]])  # equal photos
    whole = nearest(features, 4)
    for rows in (1, 3, 64):
        monkeypatch.setattr(similarity, "BLOCK", 2 * rows * len(features))
        assert nearest(features, 4).tolist() == whole.tolist()
    assert whole[:20, 0].tolist() == list(range(50, 70))


@pytest.mark.parametrize(("photos", "found"), [(1, (1, 0)), (2, (2, 1))])
def test_there_are_no_more_neighbours_than_other_photos(photos: int, found: tuple[int, int]) -> None:
    assert nearest(np.eye(2, 3, dtype=np.float32)[:photos], 3).shape == found


def test_pairs_that_folds_divide() -> None:
    tested_in = np.array([[0, 0, 1, 1, 2], [3, 4, 4, 5, 5]])  # two deals of three folds
    found = pairs((0, 1), (1, 2), (2, 4))
    assert divided(found, tested_in).tolist() == [[False, True, True], [True, False, True]]
    assert share_divided(found, tested_in) == pytest.approx((3 / 5 + 4 / 5) / 2)  # photos 1, 2, 4; then 0, 1, 2, 4
    assert share_divided(pairs(), tested_in) == 0


def test_groups_are_what_hangs_together() -> None:
    alone = np.arange(6)
    assert joined(pairs(), alone).tolist() == [0, 1, 2, 3, 4, 5]
    assert joined(pairs((0, 3), (3, 5)), alone).tolist() == [0, 1, 2, 0, 3, 0]
    before = np.array([1, 1, 0, 2, 3, 3])
    assert joined(pairs(), before).tolist() == [0, 0, 1, 2, 3, 3]
    assert joined(pairs((1, 4)), before).tolist() == [0, 0, 1, 2, 0, 0]
