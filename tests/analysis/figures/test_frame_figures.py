"""Marks, intervals and bands of the figures made of frames."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from numpy.testing import assert_allclose

from rsrl_ray.analysis.figures.curves import noise_curves
from rsrl_ray.analysis.figures.differences import BAND, differences
from rsrl_ray.analysis.numbers.wrong_labels import NOISE_COLUMNS

ROWS = [
    ("paper", "none", "equal rounds", "macro_f1", -0.02, -0.05, 0.01),
    ("random", "none", "equal rounds", "macro_f1", 0.03, 0.01, 0.05),
    ("random", "none", "equal rounds", "accuracy", 9.0, 8.0, 10.0),
    ("random", "none", "equal photos seen", "macro_f1", 0.02, 0.0, 0.04),
]
FRAME = pd.DataFrame(ROWS, columns=["method", "against", "at", "measure", "difference", "low", "high"])


def test_a_row_for_every_method_an_interval_and_the_band() -> None:
    figure = differences(FRAME, rope=0.015)
    (axes,) = figure.axes
    zero, rounds, photos = axes.lines
    assert zero.get_xdata() == [0, 0]
    assert_allclose(rounds.get_xydata(), [[-0.02, -0.16], [0.03, 0.84]])
    assert_allclose(photos.get_xydata(), [[0.02, 1.16]])
    assert_allclose(axes.collections[0].get_segments(), [[[-0.05, -0.16], [0.01, -0.16]], [[0.01, 0.84], [0.05, 0.84]]])
    assert_allclose(axes.collections[1].get_segments(), [[[0, 1.16], [0.04, 1.16]]])
    (band,) = axes.patches
    assert (band.get_x(), band.get_width()) == pytest.approx((-0.015, 0.03))
    assert band.get_facecolor() == to_rgba(BAND)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["paper", "random"]
    assert axes.get_ylim() == (1.5, -0.5)  # the first on top
    assert figure.get_supxlabel() == "difference in macro F to none"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *("equal rounds", "equal photos seen", "within ±0.015"),
    ]


def test_marks_of_one_kind_lie_in_the_middle_of_their_rows() -> None:
    (axes,) = differences(FRAME[:2], rope=0.01).axes
    assert_allclose(axes.lines[1].get_ydata(), [0, 1])


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
