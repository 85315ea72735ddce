"""Curves by round: fold means, bands, marks."""

from dataclasses import replace

import numpy as np
import pandas as pd
from analysis.figures.conftest import CHOSEN, legend_of, lines_of
from numpy.testing import assert_allclose

from rsrl_ray.analysis.figures.curves import class_measures, f_measure, majority_share, noise_curves, training_size
from rsrl_ray.analysis.figures.style import PALE, look
from rsrl_ray.analysis.numbers.wrong_labels import NOISE_COLUMNS
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.core.trial import TrialKey


def test_the_mean_of_the_folds_its_band_and_where_a_fold_is_not_there_yet(sweep: Sweep) -> None:
    (axes,) = training_size(sweep).axes
    assert lines_of(axes) == [([1, 2], [8, 5.5]), ([2, 3], [5.5, 6]), ([1, 2, 3], [8, 8, 8])]
    assert [line.get_alpha() for line in axes.lines] == [None, 0.35, None]
    corners = axes.collections[0].get_paths()[0].vertices
    assert_allclose(sorted(set(corners[corners[:, 0] == 2, 1])), [5.5 - 0.5**0.5, 5.5 + 0.5**0.5])
    assert corners[:, 0].max() == 2  # one fold alone has no deviation
    assert all(not collection.get_paths() for collection in axes.collections[1:])
    assert legend_of(training_size(sweep)) == ["paper", "none"]


def test_majority_share(sweep: Sweep) -> None:
    figure = majority_share(sweep)
    assert_allclose(lines_of(figure.axes[0])[0][1], [0.875, (4 / 5 + 5 / 6) / 2])
    assert figure.get_supylabel() == "share of the 2 largest classes"


def test_no_two_ticks_have_the_same_words(sweep: Sweep) -> None:
    """They were 86 %, 86 %, 86 %."""
    for trial in sweep.trials.values():
        trial.metrics["majority_share"] = np.linspace(0.861, 0.8644, len(trial.metrics))
        trial.metrics["train_size"] = np.linspace(6.0, 7.0, len(trial.metrics))
    for figure in (majority_share(sweep), training_size(sweep)):
        figure.draw_without_rendering()
        words = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert len(words) >= 2 and len(set(words)) == len(words)


def test_total_f_marks_the_chosen_round_of_each_fold_at_its_own_value(sweep: Sweep) -> None:
    (axes,) = f_measure(sweep, CHOSEN | {TrialKey(0, "none"): 1}).axes
    drawn = lines_of(axes)
    assert_allclose(drawn[0][1], [0.5, 5 / 3])
    assert drawn[3:] == [([1], [0.5]), ([3], [3.0]), ([2], [5 / 3])]
    marks = [(line.get_marker(), line.get_markeredgecolor()) for line in axes.lines[3:]]
    assert marks == [("s", look(1)["color"]), ("o", look(0)["color"]), ("o", look(0)["color"])]


def test_class_measures(sweep: Sweep) -> None:
    figure = class_measures(sweep, ["paper", "none"])
    grid = np.reshape(np.array(figure.axes), (3, 3))
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["score 2", "score 3", "score 4"]
    assert [axes.get_title() for axes in grid[0]] == ["precision", "recall", "F-measure"]
    whole = [[lines_of(axes)[0][1] for axes in row] for row in grid]
    expected = [
        [[0, 1 / 2], [0, 1 / 2], [0, 1 / 2]],
        [[1 / 3, 1 / 4], [1, 1 / 2], [1 / 2, 1 / 3]],
        [[0, 3 / 4], [0, 1], [0, 5 / 6]],
    ]
    assert_allclose(whole, expected)
    assert_allclose([lines_of(axes)[1][1][-1] for axes in grid.ravel()], 1)  # round 3, of which fold 0 alone has all
    assert_allclose(lines_of(grid[1, 0])[2][1], [1 / 3] * 3)  # the control


def test_a_class_without_test_photos_is_left_out_and_a_fold_without_any_does_not_count(sweep: Sweep) -> None:
    first, second = sweep.trials[0, "paper"], sweep.trials[1, "paper"]
    first.split[10] = 1  # no test photo of score 2 in this fold
    figure = class_measures(sweep, ["paper"])
    assert [lines_of(axes)[0] for axes in figure.axes[:3]] == [([1, 2], [0, 1])] * 3
    second.split[11] = 1
    assert [axes.get_ylabel() for axes in class_measures(sweep, ["paper"]).axes[::3]] == ["score 3", "score 4"]


def test_one_round_is_a_dot_and_one_fold_has_no_band(sweep: Sweep) -> None:
    trial = sweep.trials[0, "none"]
    short = replace(trial, metrics=trial.metrics.loc[:1], predicted=trial.predicted[:1], kept=trial.kept[:1])
    (axes,) = training_size(replace(sweep, trials={TrialKey(0, "none"): short})).axes
    assert lines_of(axes) == [([1], [8])]
    assert axes.lines[0].get_marker() == "."
    assert axes.get_xticks().tolist() == [1]


def test_ten_methods_have_axes_of_their_own_and_no_two_look_alike(sweep: Sweep) -> None:
    names = tuple(f"method {place}" for place in range(10))
    trials = {TrialKey(0, name): replace(sweep.trials[0, "paper"], method=name) for name in names}
    figure = f_measure(replace(sweep, methods=names, trials=trials), {TrialKey(0, "method 3"): 2})
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(names)
    for place, axes in enumerate(figure.axes):
        strong = [line for line in axes.lines if line.get_color() != PALE and line.get_linestyle() != "None"]
        assert [line.get_color() for line in strong] == [look(place)["color"]]
        assert len(axes.lines) == (11 if place == 3 else 10)
    assert len({str(look(place)) for place in range(28)}) == 28
    eleven = replace(sweep, methods=(*names, "last"), trials=trials | {TrialKey(0, "last"): trials[0, "method 0"]})
    shown = training_size(eleven).axes
    assert len(shown) == 11
    assert shown[9].xaxis.get_tick_params()["labelbottom"]  # nothing stands below it


def test_precision_and_recall_by_round() -> None:
    rows = [
        *[("paper", fold, 1, 10, 2, 0.2, 0, np.nan, 0.0, np.nan) for fold in (0, 1)],
        ("paper", 0, 2, 10, 2, 0.2, 4, 0.25, 0.5, 0.3),
        ("paper", 1, 2, 10, 3, 0.3, 0, np.nan, 0.0, 0.3),
        ("paper", 0, 3, 10, 2, 0.2, 2, 1.0, 1.0, 0.3),
        ("paper", 1, 3, 10, 3, 0.3, 1, 0.0, 0.0, 0.3),
        *[("none", 0, number, 10, 2, 0.2, 0, np.nan, 0.0, 0.3) for number in (1, 2, 3)],
    ]
    figure = noise_curves(pd.DataFrame(rows, columns=list(NOISE_COLUMNS)))
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "paper"
    base, precision, recall = axes.lines
    assert_allclose(base.get_xydata(), [[2, 0.25], [3, 0.25]])
    assert_allclose(precision.get_ydata(), [0.25, 0.5])
    assert_allclose(recall.get_ydata(), [0.25, 0.5])
    assert axes.get_ylim() == (0, 1)
