"""Which round is chosen, by hand."""

import math

import numpy as np
import pytest

from rsrl_ray.core.selection import (
    CRITERIA,
    TEST,
    VALIDATION,
    Curves,
    Split,
    best_round,
    choose,
    choosing_split,
    curve_of,
    default_criterion,
    split_of_curves,
    usable_criteria,
)
from rsrl_ray.core.trial import TrialKey

NAN = math.nan
FIRST, SECOND, OTHER = TrialKey(0, "paper"), TrialKey(1, "paper"), TrialKey(1, "none")
# Two folds of three and four rounds. The mean validation curve over the three that both hold is 0.3, 0.4, 0.35.
CURVES: dict[TrialKey, Curves] = {
    FIRST: {VALIDATION: np.array([0.5, 0.4, 0.3]), TEST: np.array([0.2, 0.1, 0.3])},
    SECOND: {VALIDATION: np.array([0.1, 0.4, 0.4, 0.9]), TEST: np.array([0.7, 0.6, 0.7, 0.5])},
}


@pytest.mark.parametrize(
    ("curve", "number"),
    [([0.3], 1), ([0.1, 0.3, 0.2], 2), ([0.1, 0.3, 0.3], 2), ([0.0, 0.0], 1), ([0.1, 0.2, 0.3], 3)],
)
def test_the_best_round_is_counted_from_1_and_of_equals_the_earlier(curve: list[float], number: int) -> None:
    assert best_round(np.array(curve)) == number


@pytest.mark.parametrize(
    ("criterion", "rounds"), [("validation", (1, 4)), ("validation_mean", (2, 2)), ("last", (3, 4)), ("oracle", (3, 1))]
)
def test_criteria_by_hand(criterion: str, rounds: tuple[int, int]) -> None:
    other = {VALIDATION: np.array([0.1, 0.9]), TEST: np.array([0.1, 0.9])}  # of another method: it changes nothing
    chosen = choose({**CURVES, OTHER: other}, criterion)  # type: ignore[arg-type]
    assert chosen == {FIRST: rounds[0], SECOND: rounds[1], OTHER: 2}


def test_rounds_before_the_first_are_no_candidates() -> None:
    assert choose(CURVES, "validation", first=2) == {FIRST: 2, SECOND: 4}
    assert choose(CURVES, "validation", first=4) == {SECOND: 4}  # the other has no fourth round


def test_another_measure() -> None:
    curves = {FIRST: {"test_accuracy": np.array([0.1, 0.2]), **CURVES[FIRST]}}
    assert choose(curves, "oracle", "accuracy") == {FIRST: 2}


def test_a_curve_from_values_by_round() -> None:
    np.testing.assert_array_equal(curve_of({1: 0.5, 3: 0.2, 4: 0.9}, 3), [0.5, NAN, 0.2])


def test_which_photos_choose_is_a_fact_of_the_folds() -> None:
    assert (choosing_split(0.1), choosing_split(0)) == ("validation", "test")
    found: dict[Split, tuple[object, str]] = {
        "validation": (CRITERIA, "validation"),
        "test": (("last", "oracle"), "oracle"),
    }
    assert {split: (usable_criteria(split), default_criterion(split)) for split in found} == found


def test_of_a_sweep_that_does_not_say_it_one_trial_without_decides_for_all() -> None:
    whole, empty = CURVES[FIRST], {VALIDATION: np.array([]), TEST: np.array([])}  # no round yet
    assert split_of_curves([whole, empty]) == split_of_curves([]) == "validation"
    for lacking in ({TEST: np.array([0.1])}, {VALIDATION: np.array([0.1, NAN]), TEST: np.array([0.1, 0.2])}):
        assert split_of_curves([whole, lacking]) == "test"


def test_ties_of_the_mean_curve_go_to_the_earlier_round() -> None:
    curves = {key: {VALIDATION: np.array(curve), TEST: np.zeros(2)} for key, curve in
              ((FIRST, [0.25, 0.5]), (SECOND, [0.5, 0.25]))}  # fmt: skip
    assert choose(curves, "validation_mean") == {FIRST: 1, SECOND: 1}


def test_without_validation_photos_only_the_criteria_that_do_without_choose() -> None:
    missing: dict[TrialKey, Curves] = {FIRST: {TEST: CURVES[FIRST][TEST]}, SECOND: CURVES[SECOND]}
    assert choose(missing, "last") == {FIRST: 3, SECOND: 4}
    assert choose(missing, "oracle") == {FIRST: 3, SECOND: 1}
    for criterion in ("validation", "validation_mean"):  # never silently on the test photos of one trial
        with pytest.raises(ValueError, match="because there is no value of round 1, 2, 3"):
            choose(missing, criterion)  # type: ignore[arg-type]


def test_one_missing_value_is_enough_not_to_choose() -> None:
    with pytest.raises(ValueError, match="because there is no value of round 2"):
        best_round(np.array([0.5, math.nan, 0.1]))


def test_no_round_is_no_choice() -> None:
    assert choose({FIRST: {TEST: np.array([])}}, "last") == {}
