"""The numbers of the page's curves, from the rounds made by hand."""

from dataclasses import replace

import pandas as pd
import pytest

from rsrl_ray.analysis.numbers.wrong_labels import NOISE_COLUMNS
from rsrl_ray.analysis.page.charts import charts, library, looks, noise_charts, score_charts
from rsrl_ray.analysis.sweep.arrays import Sweep


def test_lines_are_means_over_the_folds_that_have_the_round(by_hand: Sweep) -> None:
    test, validation = charts(by_hand)
    assert (test.name, validation.name) == ("test_macro_f1", "validation_macro_f1")  # nothing else is logged
    paper, none, late = test.lines
    assert paper.mean == (0.366667, 0.7, 0.366667)  # of 0.4 and 1/3, of 2/3 and 11/15
    assert paper.sd == (0.0471405, 0.0471405, 0.0471405)
    assert (paper.n, none.n, late.n) == ((2, 2, 2), (2, 2, 2), (1,))
    assert late.sd == (None,)
    assert late.method == 2
    # three lines: with their bands, from 0.32 to 0.75, and a little more
    assert test.domain == (pytest.approx(0.3192 - 0.0257, abs=1e-3), pytest.approx(0.7471 + 0.0257, abs=1e-3))


def test_scores_share_one_scale_and_a_score_without_test_photos_has_no_curves(by_hand: Sweep) -> None:
    for trial in by_hand.trials.values():
        trial.metrics["f1_3"] = 0.9
        trial.metrics["f1_5"] = 0.0
    three, five = score_charts(by_hand)
    assert (three.title, five.title) == ("F of score 3", "F of score 5")
    assert three.domain == five.domain == (0.0, pytest.approx(0.954))


def test_a_curve_of_one_value_has_room_around_it(by_hand: Sweep) -> None:
    for trial in by_hand.trials.values():
        trial.metrics["train_size"] = 100.0
    kept = next(chart for chart in charts(by_hand) if chart.name == "train_size")
    assert kept.domain == (95.0, 105.0)


def test_the_leading_measure_comes_first_and_may_be_below_0(by_hand: Sweep) -> None:
    for trial in by_hand.trials.values():
        trial.metrics["test_quadratic_kappa"] = -0.2
    first, second, *_ = charts(replace(by_hand, measure="quadratic_kappa"))
    assert (first.title, second.name) == ("Quadratic kappa on the test photos", "test_macro_f1")
    assert first.domain == pytest.approx((-0.21, -0.19))


def test_what_was_dropped_against_wrong_labels(by_hand: Sweep) -> None:
    rows = [
        *[("paper", fold, 1, 10, 2, 0.2, 0, None, 0.0, None) for fold in (0, 1)],
        ("paper", 0, 2, 10, 2, 0.2, 4, 0.25, 0.5, 0.3),
        ("paper", 1, 2, 10, 2, 0.2, 4, 0.75, 1.0, 0.5),
        ("none", 0, 1, 10, 2, 0.2, 0, None, 0.0, None),
        ("none", 0, 2, 10, 2, 0.2, 0, None, 0.0, 0.3),
    ]
    noise = pd.DataFrame(rows, columns=list(NOISE_COLUMNS)).astype({"precision": float, "average_precision": float})
    precision, recall, average = noise_charts(by_hand, noise)
    (paper,) = precision.lines  # none drops nothing, so it has none
    assert (paper.mean, paper.n) == ((None, 0.5), (0, 2))
    assert [line.mean for line in recall.lines] == [(None, 0.75), (None, 0.0)]
    assert [line.mean for line in average.lines] == [(None, 0.4), (None, 0.3)]
    assert noise_charts(by_hand, noise[:0]) == []


def test_twenty_eight_methods_look_apart() -> None:
    names = tuple(map(str, range(28)))
    assert len({(look["colour"], look["dash"]) for look in looks(names)}) == 28


def test_nothing_logged_nothing_drawn(by_hand: Sweep) -> None:
    assert charts(replace(by_hand, trials={})) == []


@pytest.mark.slow
def test_the_library_is_small_and_can_stand_in_a_page() -> None:
    code = library()
    assert len(code) < 1_500_000
    assert not any(mark in code for mark in ("</script", "<!--", "\r"))  # what would end it there, or change its digest
