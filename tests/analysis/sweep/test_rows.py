"""Rows of rounds are indexed as the arrays that they stand for."""

import numpy as np
import pytest

from rsrl_ray.analysis.sweep.rows import Bits, ByRound, OnDemand

VALUES = np.random.default_rng(0).random((3, 21)) < 0.5
FEW = np.array([20, 0, 7])


@pytest.fixture(params=["bits", "on demand"])
def rows(request: pytest.FixtureRequest) -> ByRound:
    if request.param == "bits":
        return Bits(np.packbits(VALUES, axis=1), 21)
    return OnDemand(3, lambda number: VALUES[number - 1])


@pytest.mark.parametrize(
    "place", [0, 2, -1, slice(None), slice(1, None), (0, FEW), (-1, FEW), (slice(None), FEW), (slice(2), VALUES[0])]
)
def test_rounds_then_photos(rows: ByRound, place: object) -> None:
    found = rows[place]
    np.testing.assert_array_equal(found, VALUES[place])
    assert (found.shape, found.dtype, len(rows)) == (VALUES[place].shape, np.bool_, 3)


def test_round_after_round(rows: ByRound) -> None:
    np.testing.assert_array_equal(list(rows), VALUES)
    with pytest.raises(IndexError):
        rows[3]


def test_one_round_is_read_for_one() -> None:
    read: list[int] = []
    on_demand = OnDemand(9, lambda number: (read.append(number), VALUES[0])[1])
    assert on_demand[-1, 4] == VALUES[0, 4]
    assert read == [9]
