"""Highlight maps against a short reference, literal maps and scipy."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from rsrl_ray.core.highlight import (
    IDENTICAL,
    NO_VARIANCE,
    agreement,
    correlations,
    differs,
    highlight,
    least_correlated,
    likeness,
)


def reference(maps: Any, against: Any) -> Any:
    """Eqs. 4 and 5, map by map."""
    best, lowest = None, 2.0
    for j in range(len(maps)):
        if maps[j].std() == 0 or against[j].std() == 0:
            continue
        value = np.corrcoef(maps[j].ravel(), against[j].ravel())[0, 1]
        if value < lowest:
            best, lowest = j, value
    return best, lowest, maps[best] - against[best]


@pytest.mark.parametrize("seed", range(20))
def test_as_the_reference(seed: Any) -> None:
    generator = np.random.default_rng(seed)
    maps = generator.normal(2, 3, (7, 5, 6))
    against = maps + generator.normal(0, 10.0 ** generator.integers(-4, 2), maps.shape)
    maps[seed % 7] = 1.5
    j, correlation, difference = reference(maps, against)
    found = highlight(maps, against)
    assert (found.J, found.reason) == (j, "")
    assert found.correlation == pytest.approx(correlation, rel=0, abs=1e-13)
    assert found.map is not None and (found.map == difference).all()


RISING, FALLING, FLAT = [[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]], [[5.0, 5.0], [5.0, 5.0]]


def test_literal_correlations_are_signed() -> None:
    crossed = [[1.0, 3.0], [2.0, 4.0]]  # covariance 4 over variances 5 and 5
    values = correlations(np.array([RISING, RISING, RISING]), np.array([RISING, FALLING, crossed]))
    assert values == pytest.approx([1, -1, 0.8])
    found = highlight(np.array([RISING, RISING, RISING]), np.array([RISING, FALLING, crossed]))
    assert found.J == 1 and found.correlation == pytest.approx(-1)
    assert found.map is not None and found.map.tolist() == [[-3, -1], [1, 3]]


def test_correlation_does_not_see_scale_and_offset() -> None:
    assert correlations(np.array([RISING]), 7 * np.array([RISING]) - 30) == pytest.approx([1])


@pytest.mark.parametrize(("first", "second"), [(FLAT, RISING), (RISING, FLAT), (FLAT, FLAT)])
def test_a_map_of_zero_variance_is_skipped(first: Any, second: Any) -> None:
    maps, against = np.array([first, RISING]), np.array([second, [[1.0, 2.0], [3.0, 5.0]]])
    assert np.isnan(correlations(maps, against)).tolist() == [True, False]
    assert highlight(maps, against).J == 1


def test_rounding_is_no_variance() -> None:
    noise = np.random.default_rng(0).normal(0, 1e-14, (2, 4, 4))
    ramp = np.arange(16.0).reshape(4, 4)
    found = highlight(np.stack([noise[0], ramp]), np.stack([noise[1], ramp + noise[1] + 1e-3 * ramp.T]))
    assert found.J == 1


def test_weak_patterns_count_as_long_as_they_are_no_rounding() -> None:
    ramp = np.arange(16.0).reshape(4, 4)
    maps, against = np.stack([1e-6 * ramp, ramp]), np.stack([-1e-6 * ramp, ramp + 1])
    assert highlight(maps, against).J == 0


def test_zero_variance_everywhere_is_said() -> None:
    found = highlight(np.array([FLAT, FLAT]), np.array([RISING, FLAT]))
    assert (found.J, found.correlation, found.map, found.reason) == (None, None, None, NO_VARIANCE)


def test_identical_maps_are_said() -> None:
    found = highlight(np.array([RISING, FALLING]), np.array([RISING, FALLING]))
    assert (found.J, found.map, found.reason) == (None, None, IDENTICAL)


def test_maps_that_differ_by_rounding_are_identical() -> None:
    maps = np.random.default_rng(0).normal(0, 10, (3, 4, 4))
    assert highlight(maps, maps * (1 + 1e-15)).reason == IDENTICAL
    assert highlight(maps, maps + 1e-9 * maps[::-1]).reason == ""


def test_a_map_that_stayed_the_same_while_another_was_scaled_is_said() -> None:
    found = highlight(np.array([RISING, FALLING]), np.array([RISING, 2 * np.array(FALLING)]))
    assert (found.map, found.reason) == (None, "conv1 map 0 is the same in the two rounds")


def test_a_given_index_is_taken() -> None:
    maps, against = np.array([RISING, RISING]), np.array([FALLING, [[1.0, 2.0], [3.0, 5.0]]])
    assert highlight(maps, against).J == 0
    found = highlight(maps, against, 1)
    assert found.J == 1 and found.map is not None and found.map.tolist() == [[0, 0], [0, -1]]
    flat = highlight(np.array([FLAT, RISING]), against, 0)
    assert (flat.map, flat.reason) == (None, "conv1 map 0 has zero variance on this photo")


def test_least_correlated() -> None:
    assert least_correlated(np.array([0.5, np.nan, -0.25, -0.25])) == 2
    assert least_correlated(np.array([np.nan, np.nan])) is None


def test_the_map_of_single_precision_is_in_double_precision() -> None:
    maps, others = np.array([RISING], dtype=np.float32), np.array([RISING], dtype=np.float32)[:, ::-1]
    found = highlight(maps, others, 0).map
    assert found is not None and found.dtype == np.float64 and found.tolist() == (maps[0] - others[0]).tolist()


def test_agreement_is_the_rank_correlation() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.integers(0, 5, (2, 9, 9))  # many ties
    assert agreement(first, second) == pytest.approx(spearmanr(first.ravel(), second.ravel()).statistic)
    assert agreement(np.array(RISING), np.exp(RISING)) == pytest.approx(1)
    assert agreement(np.array(RISING), np.array(FALLING)) == pytest.approx(-1)
    assert agreement(np.array(RISING), np.array([[1.0, 3.0], [2.0, 4.0]])) == pytest.approx(0.8)
    assert np.isnan(agreement(np.array(RISING), np.array(FLAT)))


def test_likeness_is_by_values_or_by_sizes_whichever_is_farther_from_0() -> None:
    edges = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert likeness(np.array([[-1.0, 2.0], [-3.0, 4.0]]), edges) == pytest.approx(
        1
    )  # edges of either sign; by values 0.4
    assert likeness(np.array([[-1.0, -2.0], [-3.0, -4.0]]), edges) == pytest.approx(-1)  # the first of two as far
    assert likeness(np.array([[-3.0, -1.0], [1.0, 3.0]]), edges) == pytest.approx(1)  # by sizes 0
    assert np.isnan(likeness(np.array(FLAT), edges))
    assert likeness(np.array([[-1.0, -1.0], [1.0, 1.0]]), edges) == pytest.approx(2 / np.sqrt(5))  # no sizes to rank


@pytest.mark.parametrize(
    ("control", "edges", "said"),
    [
        (0.49, -0.49, True),
        (0.5, 0.0, False),
        (-0.5, 0.0, False),
        (0.0, -0.5, False),
        (np.nan, 0.0, None),
        (0.0, np.nan, None),
    ],
)
def test_a_map_differs_where_it_is_like_neither(control: Any, edges: Any, said: bool | None) -> None:
    assert differs(control, edges) is said
