"""Marks, intervals and the band of the differences to the baseline."""

import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from numpy.testing import assert_allclose

from rsrl_ray.analysis.figures.differences import BAND, differences

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
