"""Which of a trial's reports is told as its chosen round."""

import math

import numpy as np
import pytest
from sweep.reports import report

from rsrl_ray.core.selection import TEST, choose
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.sweep.driver.logged import choices
from rsrl_ray.sweep.report import Report


def measured(number: int, **metrics: float) -> Report:
    return report(number, created=100.0 + number, metrics=metrics)


def test_each_round_that_is_better_than_all_before_it_is_a_choice_with_its_measures() -> None:
    chain = [
        measured(1, validation_macro_f1=0.2, test_macro_f1=0.9, test_spearman=0.5, f1_2=0.1, train_size=9, seconds=3),
        measured(2, validation_macro_f1=0.1, test_macro_f1=0.8, test_spearman=0.4, f1_2=0.2, train_size=8, seconds=3),
        measured(3, validation_macro_f1=0.4, test_macro_f1=0.7, f1_2=0.3, train_size=7, seconds=3),
    ]
    first, last = choices(chain, "validation")
    assert (first.number, last.number, last.created) == (1, 3, 103.0)
    assert first.values == {
        **{"round": 1, "validation_macro_f1": 0.2, "test_macro_f1": 0.9, "test_spearman": 0.5, "f1_2": 0.1},
        "train_size": 9,
    }
    lacks = last.values["test_spearman"]  # not that of round 1, which MLflow would show else
    assert math.isnan(lacks) and last.values["test_macro_f1"] == 0.7 and last.values["round"] == 3
    assert [choice.number for choice in choices(chain[:2], "validation")] == [1]


@pytest.mark.parametrize(
    ("curve", "numbers"),
    [([0.3], [1]), ([0.2, 0.1, 0.2, 0.4], [1, 4]), ([0.1, 0.2, 0.3], [1, 2, 3]), ([0.0, 0.0], [1])],
)
def test_the_last_choice_so_far_is_the_chosen_round(curve: list[float], numbers: list[int]) -> None:
    made = choices([report(place, metrics={"test_macro_f1": value}) for place, value in enumerate(curve, 1)], "test")
    assert [choice.number for choice in made] == numbers
    trial = TrialKey(0, "")
    assert choose({trial: {TEST: np.array(curve)}}, "oracle") == {trial: numbers[-1]}


def test_where_no_round_is_done_nothing_is_chosen() -> None:
    assert choices([], "validation") == choices([], "test") == []


def test_where_nothing_is_held_out_the_test_photos_choose() -> None:
    chain = [measured(number, test_macro_f1=value) for number, value in ((1, 0.3), (2, 0.5), (3, 0.4))]
    assert [choice.number for choice in choices(chain, "test")] == [1, 2]
    with pytest.raises(ValueError, match="no round can be chosen"):  # never on others than those the sweep says
        choices(chain, "validation")
