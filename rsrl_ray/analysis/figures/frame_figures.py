"""The figures of frames: differences to the baseline, and what was dropped against labels known to be wrong."""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from rsrl_ray.analysis.figures.drawings import Drawing, Picture
from rsrl_ray.analysis.figures.style import COLOURS, PALE, WIDTH, legend, over_rounds, shortened, styled
from rsrl_ray.analysis.numbers.comparisons import EQUAL, ROPE
from rsrl_ray.analysis.numbers.frames import Frames

BAND = "#e8e8e8"
APART = 0.16  # of a row: half the distance between a method's two marks
MARKS: tuple[dict[str, Any], ...] = (
    {"marker": "o", "markerfacecolor": COLOURS[0]},
    {"marker": "s", "markerfacecolor": "white"},
)
FOUND = {"precision": COLOURS[0], "recall": COLOURS[1]}


def frame_drawings(frames: Frames) -> Iterator[Drawing]:
    """The figures that the frames have rows for, first those that answer first."""
    comparisons = frames.comparisons
    if comparisons["difference"].notna().any():
        text = (
            f"Differences in macro F on the test photos to the method {comparisons['against'].iloc[0]}: mean over the "
            "folds and its 95 % interval (corrected resampled t-test); grey: differences up to "
            f"{frames.rope:g}, taken for none."
        )
        yield Drawing(Picture("differences", text), forest({"": comparisons}, frames.rope))
    if (frames.noise["dropped"] > 0).any():
        text = (
            "What was dropped against labels that are wrong on purpose, by round: precision and recall among the "
            "training photos labelled as one of the classes that are revised, mean of the folds; grey: the share of "
            "wrong labels. Methods that drop none of these are left out."
        )
        yield Drawing(Picture("noise", text), noise_curves(frames.noise))


@styled
def forest(columns: Mapping[str, pd.DataFrame], rope: float = ROPE) -> Figure:
    """Mean differences in macro F to the baseline with 95 % intervals, a row a method, a column a data set.

    columns : by title, frames like `Frames.comparisons`; a method that a data set lacks has no mark there. rope : is
    drawn as a band.
    """
    shown = {title: frame[frame["measure"] == "macro_f1"] for title, frame in columns.items()}
    methods = list(dict.fromkeys(method for frame in shown.values() for method in frame["method"]))
    ways = [at for at in EQUAL if any((frame["at"] == at).any() for frame in shown.values())]
    figure = Figure(figsize=(WIDTH + 1.9 * (len(shown) - 1), 0.75 + 0.22 * len(methods)), layout="constrained")
    grid = figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (title, frame) in zip(grid, shown.items(), strict=True):
        axes.axvspan(-rope, rope, color=BAND, linewidth=0, zorder=0)
        axes.axvline(0, color="black", linewidth=0.6, zorder=1)
        for place, at in enumerate(ways):
            _marks(axes, frame[frame["at"] == at], methods, place, len(ways))
        axes.set_title(title)
        axes.spines["left"].set_visible(False)
        axes.tick_params("y", length=0)
        axes.grid(axis="y", color=BAND, linewidth=0.6)  # leads the eye from a name to its row in the last column
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    grid[0].set_ylim(len(methods) - 0.5, -0.5)
    grid[0].set_yticks(range(len(methods)), [shortened(method, 24) for method in methods])
    against = dict.fromkeys(str(name) for frame in shown.values() for name in frame["against"])
    figure.supxlabel(f"difference in macro F to {shortened(', '.join(against), 24)}", fontsize=8)
    look: dict[str, Any] = {"color": COLOURS[0], "markersize": 4, "linewidth": 1}
    handles = [Line2D([], [], **look, **mark) for mark in MARKS[: len(ways)]]
    legend(figure, [*ways, f"within ±{rope:g}"], [*handles, Patch(color=BAND)])
    return figure


def _marks(axes: Axes, frame: pd.DataFrame, methods: Sequence[str], place: int, ways: int) -> None:
    """A mark and an interval for each row."""
    rows = np.array([methods.index(method) for method in frame["method"]]) + (2 * place - ways + 1) * APART
    look: dict[str, Any] = {"color": COLOURS[0], "zorder": 2}
    axes.hlines(rows, frame["low"], frame["high"], linewidth=1, **look)
    axes.plot(frame["difference"], rows, linestyle="none", markersize=4, markeredgewidth=0.8, **look, **MARKS[place])


@styled
def noise_curves(noise: pd.DataFrame) -> Figure:
    """Precision and recall of what is dropped against wrong labels, by round from 2 on, fold means; axes a method."""
    dropping = noise.groupby("method", sort=False)["dropped"].sum()
    methods = [str(name) for name, dropped in dropping.items() if dropped]
    across = min(2, len(methods))
    down = ceil(len(methods) / across)
    figure = Figure(figsize=(WIDTH, 0.75 + (1.4 if down == 1 else 1.0 * down)), layout="constrained")
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, method in zip(grid, methods, strict=False):
        part = noise[(noise["method"] == method) & (noise["round"] > 1)]
        by_round = part.groupby("round")[["base_rate", *FOUND]].mean()
        numbers = by_round.index.to_numpy(dtype=np.int64)
        axes.plot(numbers, by_round["base_rate"], color=PALE, linewidth=1.0, zorder=1)
        for place, (name, colour) in enumerate(FOUND.items()):
            style = "solid" if place == 0 else (0, (4, 1.2))
            axes.plot(numbers, by_round[name], color=colour, linestyle=style, marker="." if len(numbers) == 1 else "")
        over_rounds(axes, int(noise["round"].max()))
        axes.set_title(shortened(method, 26), loc="left", fontsize=7, pad=2)
    for axes in grid[len(methods) :]:
        axes.remove()
        grid[len(methods) - 2].xaxis.set_tick_params(labelbottom=True)
    grid[0].set_ylim(0, 1)
    figure.supxlabel("round", fontsize=8)
    handles = [Line2D([], [], color=FOUND["precision"]), Line2D([], [], color=FOUND["recall"], linestyle=(0, (4, 1.2)))]
    legend(figure, [*FOUND, "share of wrong labels"], [*handles, Line2D([], [], color=PALE)])
    return figure
