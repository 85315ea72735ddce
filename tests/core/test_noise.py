"""Labels that are wrong on purpose."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrl_ray.core.noise import flipped

# Classes 0 to 5; the three largest are 1 (10 photos), 2 (20) and 4 (10): 1 and 2 lie side by side, 4 by itself.
SIZES = (2, 10, 20, 4, 10, 5)
LABELS = np.repeat(np.arange(6), SIZES)


def pairs(noisy: np.ndarray) -> dict[tuple[int, int], int]:
    """How many labels went from one class to another."""
    wrong = noisy != LABELS
    found, counts = np.unique(np.stack([LABELS[wrong], noisy[wrong]]), axis=1, return_counts=True)
    return {(int(before), int(after)): int(n) for (before, after), n in zip(found.T, counts, strict=True)}


def test_shift_moves_a_share_of_each_large_class_to_its_large_neighbour() -> None:
    assert pairs(flipped(LABELS, 0.29, "shift", 3, seed=0)) == {(1, 2): 2, (2, 1): 5}  # floor of 2.9 and 5.8


def test_shift_goes_up_and_down_where_both_neighbours_are_large() -> None:
    labels = np.repeat([0, 1, 2], [40, 100, 40])
    noisy = flipped(labels, 0.5, "shift", 3, seed=0)
    up, down = (int(((labels == 1) & (noisy == to)).sum()) for to in (2, 0))
    assert up + down == 50 and min(up, down) > 15
    assert {(int(a), int(b)) for a, b in zip(labels, noisy, strict=True) if a != b} == {(0, 1), (1, 0), (1, 2), (2, 1)}


def test_invade_moves_a_share_of_each_small_class_to_the_nearest_large_one() -> None:
    found = pairs(flipped(LABELS, 0.5, "invade", 3, seed=0))
    assert found.pop((0, 1)) == 1 and found.pop((5, 4)) == 2
    assert sum(found.values()) == 2 and found.keys() <= {(3, 2), (3, 4)}  # as near to both


@given(st.sampled_from(["shift", "invade"]), st.floats(0, 1), st.integers(0, 2**40), st.integers(1, 6))
def test_every_class_stays_and_no_more_than_the_share_is_wrong(
    kind: Any, share: float, seed: int, majority: int
) -> None:
    noisy = flipped(LABELS, share, kind, majority, seed)
    assert np.array_equal(np.unique(noisy), np.arange(6))
    assert np.array_equal(noisy, flipped(LABELS, share, kind, majority, seed))
    for label, size in enumerate(SIZES):
        assert (noisy != LABELS)[label == LABELS].sum() <= min(share * size + 1e-6, size - 1)


def test_the_draw_depends_on_the_seed() -> None:
    assert not np.array_equal(flipped(LABELS, 0.5, "shift", 3, 0), flipped(LABELS, 0.5, "shift", 3, 1))


@pytest.mark.parametrize("kind", ["shift", "invade"])
def test_no_share_no_wrong_label(kind: str) -> None:
    assert np.array_equal(flipped(LABELS, 0.0, kind, 3, 0), LABELS)
