"""Differences to the baseline, as intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from rsrl_ray.analysis.figures.style import COLOURS, WIDTH, legend, shortened, styled
from rsrl_ray.analysis.numbers.comparisons import EQUAL, in_measure
from rsrl_ray.core.compared import COMPARED

BAND = "#e8e8e8"
APART = 0.16  # of a row: half the distance between a method's two marks
MARKS: tuple[dict[str, Any], ...] = (
    {"marker": "o", "markerfacecolor": COLOURS[0]},
    {"marker": "s", "markerfacecolor": "white"},
)


@styled
def differences(comparisons: pd.DataFrame, rope: float, measure: str = "macro_f1") -> Figure:
    """Mean differences to the baseline with 95 % intervals, a row a method; the rope is drawn as a band.

    rope : in units of the measure.
    """
    found = {at: in_measure(comparisons, measure, at) for at in EQUAL}
    shown = {at: frame for at, frame in found.items() if len(frame)}
    methods = list(dict.fromkeys(method for frame in shown.values() for method in frame["method"]))
    figure = Figure(figsize=(WIDTH, 0.75 + 0.22 * len(methods)), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(-rope, rope, color=BAND, linewidth=0, zorder=0)
    axes.axvline(0, color="black", linewidth=0.6, zorder=1)
    for place, frame in enumerate(shown.values()):
        marks(axes, frame, methods, place, len(shown))
    axes.spines["left"].set_visible(False)
    axes.tick_params("y", length=0)
    axes.grid(axis="y", color=BAND, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_yticks(range(len(methods)), [shortened(method, 24) for method in methods])
    against = str(comparisons["against"].iloc[0])
    figure.supxlabel(f"difference in {COMPARED[measure].words} to {shortened(against, 24)}", fontsize=8)
    look: dict[str, Any] = {"color": COLOURS[0], "markersize": 4, "linewidth": 1}
    handles = [Line2D([], [], **look, **mark) for mark in MARKS[: len(shown)]]
    legend(figure, [*shown, f"within ±{rope:g}"], [*handles, Patch(color=BAND)])
    return figure


def marks(axes: Axes, frame: pd.DataFrame, methods: Sequence[str], place: int, ways: int) -> None:
    """A mark and an interval for each row of a frame of comparisons.

    methods : the rows of the figure. place : of the mark, of as many ``ways`` as each row has.
    """
    rows = np.array([methods.index(method) for method in frame["method"]]) + (2 * place - ways + 1) * APART
    look: dict[str, Any] = {"color": COLOURS[0], "zorder": 2}
    axes.hlines(rows, frame["low"], frame["high"], linewidth=1, **look)
    axes.plot(frame["difference"], rows, linestyle="none", markersize=4, markeredgewidth=0.8, **look, **MARKS[place])
