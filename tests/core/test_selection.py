"""Which round is chosen, by hand."""

import math

import numpy as np
import pytest

from rsrl_ray.core.selection import (
    CRITERIA,
    best_round,
    choices_so_far,
    choose_rounds,
    chosen_round,
    curve_of,
    default_criterion,
    usable_criteria,
)

# Two folds of three and four rounds. The mean validation curve over the three that both hold is 0.3, 0.4, 0.35.
VALIDATION = [np.array([0.5, 0.4, 0.3]), np.array([0.1, 0.4, 0.4, 0.9])]
TEST = [np.array([0.2, 0.1, 0.3]), np.array([0.7, 0.6, 0.7, 0.5])]


@pytest.mark.parametrize(
    ("curve", "number"),
    [([0.3], 1), ([0.1, 0.3, 0.2], 2), ([0.1, 0.3, 0.3], 2), ([0.0, 0.0], 1), ([0.1, 0.2, 0.3], 3)],
)
def test_the_best_round_is_counted_from_1_and_of_equals_the_earlier(curve: list[float], number: int) -> None:
    assert best_round(np.array(curve)) == number


@pytest.mark.parametrize(
    ("curve", "numbers"),
    [([0.3], [1]), ([0.2, 0.1, 0.2, 0.4], [1, 4]), ([0.1, 0.2, 0.3], [1, 2, 3]), ([0.0, 0.0], [1])],
)
def test_the_last_choice_so_far_is_the_best_round(curve: list[float], numbers: list[int]) -> None:
    assert choices_so_far(np.array(curve)) == numbers
    assert numbers[-1] == best_round(np.array(curve))


NAN = math.nan


@pytest.mark.parametrize(
    ("validation", "test", "rounds", "first", "number"),
    [
        ([0.1, 0.3, 0.2], [0.9, 0.1, 0.1], 3, 1, 2),
        ([0.1, 0.3, 0.9], [0.9, 0.1, 0.1], 2, 1, 2),  # round 3 is more than the file asks for
        ([0.9, 0.2, 0.3], [0.1, 0.1, 0.1], 30, 2, 3),  # fewer are there; the first is no candidate
        ([0.4, 0.2, 0.2], [0.1, 0.1, 0.1], 3, 2, 2),
        ([NAN, NAN, NAN], [0.2, 0.3, 0.1], 3, 1, 2),  # no validation photos
        ([0.9, NAN, 0.3], [0.2, 0.1, 0.3], 3, 1, 3),
        ([0.1, 0.3, NAN], [0.9, 0.1, 0.1], 2, 1, 2),  # what is cut away decides nothing
        (None, [0.2, 0.1, 0.3], 2, 1, 1),
    ],
)
def test_the_chosen_round_by_hand(
    validation: list[float] | None, test: list[float], rounds: int, first: int, number: int
) -> None:
    curves = {"test_macro_f1": np.array(test)}
    if validation is not None:
        curves["validation_macro_f1"] = np.array(validation)
    assert chosen_round(curves, rounds, first) == number


def test_a_curve_from_values_by_round() -> None:
    np.testing.assert_array_equal(curve_of({1: 0.5, 3: 0.2, 4: 0.9}, 3), [0.5, NAN, 0.2])


def test_criteria_that_can_choose() -> None:
    assert (usable_criteria(VALIDATION), default_criterion(VALIDATION)) == (CRITERIA, "validation")
    missing = [VALIDATION[0], np.array([0.1, NAN])]
    assert (usable_criteria(missing), default_criterion(missing)) == (("last", "oracle"), "oracle")


@pytest.mark.parametrize(
    ("criterion", "rounds"), [("validation", [1, 4]), ("validation_mean", [2, 2]), ("last", [3, 4]), ("oracle", [3, 1])]
)
def test_criteria_by_hand(criterion: str, rounds: list[int]) -> None:
    assert choose_rounds(criterion, VALIDATION, TEST) == rounds  # type: ignore[arg-type]


def test_ties_of_the_mean_curve_go_to_the_earlier_round() -> None:
    curves = [np.array([0.25, 0.5]), np.array([0.5, 0.25])]
    assert choose_rounds("validation_mean", curves, curves) == [1, 1]


def test_without_validation_photos_only_the_criteria_that_do_without_choose() -> None:
    missing = [np.full(3, math.nan), np.array([0.1, 0.2, math.nan, 0.4])]
    assert choose_rounds("last", missing, TEST) == [3, 4]
    assert choose_rounds("oracle", missing, TEST) == [3, 1]
    with pytest.raises(ValueError, match="no value to choose by in round 1, 2, 3"):
        choose_rounds("validation", missing, TEST)
    with pytest.raises(ValueError, match="no value to choose by in round 1, 2, 3"):
        choose_rounds("validation_mean", missing, TEST)


def test_one_missing_value_is_enough_not_to_choose() -> None:
    with pytest.raises(ValueError, match="no value to choose by in round 2"):
        best_round(np.array([0.5, math.nan, 0.1]))


def test_no_round_is_no_choice() -> None:
    with pytest.raises(ValueError, match="no round to choose from"):
        best_round(np.array([]))
    with pytest.raises(ValueError, match="no round to choose from"):
        choose_rounds("last", [np.array([])], [np.array([])])
