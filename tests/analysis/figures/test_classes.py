"""Photos of each score, and confusion matrices."""

from dataclasses import replace

import numpy as np
from analysis.figures.conftest import CHOSEN, legend_of, texts_of
from matplotlib.colors import to_rgba
from numpy.testing import assert_array_equal

from rsrl_ray.analysis.figures.classes import confusion_matrices, score_histogram
from rsrl_ray.analysis.figures.style import PALE
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.core.trial import TrialKey


def test_score_histogram(sweep: Sweep) -> None:
    figure = score_histogram(sweep)
    bars = figure.axes[0].patches
    assert [bar.get_height() for bar in bars] == [2, 6, 4]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["2", "3", "4"]
    assert texts_of(figure) == ["2", "6", "4"]
    assert [bar.get_facecolor() == to_rgba(PALE) for bar in bars] == [True, False, False]
    assert legend_of(figure) == ["2 largest classes (83%)", "others (17%)"]


def test_confusion_matrices_of_many_classes_hold_no_counts(sweep: Sweep) -> None:
    """10,000 numbers in a figure are drawn for minutes, and nobody can read them."""
    axes = confusion_matrices(replace(sweep, classes=np.arange(100)), "paper", CHOSEN).axes
    assert [len(axis.texts) for axis in axes] == [0, 0]
    assert [[len(axis.get_xticklabels()), len(axis.get_yticklabels())] for axis in axes] == [[20, 20]] * 2


def test_confusion_matrices_add_up_over_the_folds(sweep: Sweep) -> None:
    figure = confusion_matrices(sweep, "paper", CHOSEN)
    above, below = figure.axes
    # round 1: everything is a 3; chosen: fold 0 has all three right, fold 1 takes the 3 for a 4
    assert_array_equal(above.images[0].get_array(), [[0, 1, 0], [0, 1, 0], [0, 1, 0]])
    assert_array_equal(below.images[0].get_array(), [[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]])
    assert [(text.get_position(), text.get_text()) for text in below.texts] == [
        ((0, 0), "2"),
        ((1, 1), "1"),
        ((2, 1), "1"),
        ((2, 2), "2"),
    ]
    assert [label.get_text() for label in below.get_yticklabels()] == ["2 (2)", "3 (2)", "4 (2)"]
    assert (above.get_title(), below.get_title()) == ("round 1", "chosen rounds 2, 3")
    assert texts_of(confusion_matrices(sweep, "paper", {TrialKey(0, "paper"): 2})) == ["1", "1", "1", "1", "1", "1"]
