"""Draws bench.png: the differences to the baseline on several sets, side by side, in one or two measures.

    python experiments/bench_figure.py bench.png "photos=.../comparisons.csv" --measures macro_f1 quadratic_kappa

Each set is a title and the `comparisons.csv` that `rsrl analyze` has written. Methods stand in the order of the first.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rsrl_ray.analysis.figures.differences import BAND, MARKS, marks
from rsrl_ray.analysis.figures.style import COLOURS, legend, styled
from rsrl_ray.analysis.numbers.comparisons import in_measure
from rsrl_ray.core.compared import COMPARED


@styled
def drawn(sets: Mapping[str, pd.DataFrame], measures: Sequence[str]) -> Figure:
    """A panel for each set, a row a method, a mark for each measure; their comparisons by title."""
    first, *_ = sets.values()
    methods = list(dict.fromkeys(in_measure(first, measures[-1]).sort_values("difference", ascending=False)["method"]))
    figure = Figure(figsize=(1.4 + 2.1 * len(sets), 0.9 + 0.24 * len(methods)), layout="constrained")
    for axes, (title, frame) in zip(
        figure.subplots(1, len(sets), sharex=True, sharey=True, squeeze=False)[0], sets.items(), strict=True
    ):
        _panel(axes, title)
        for place, measure in enumerate(measures):
            marks(axes, in_measure(frame, measure), methods, place, len(measures))
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.set_yticks(range(len(methods)), methods)
    figure.supxlabel(f"difference to {first['against'].iloc[0]}, with 95 % intervals", fontsize=8)
    look: dict[str, Any] = {"color": COLOURS[0], "markersize": 4, "linewidth": 1}
    handles = [Line2D([], [], **look, **mark) for mark in MARKS[: len(measures)]]
    legend(figure, [COMPARED[measure].words for measure in measures], handles)
    return figure


def _panel(axes: Axes, title: str) -> None:
    axes.axvline(0, color="black", linewidth=0.6, zorder=1)
    axes.spines["left"].set_visible(False)
    axes.tick_params("y", length=0)
    axes.grid(axis="y", color=BAND, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.set_title(title, fontsize=8)


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("sets", nargs="+", metavar="TITLE=FILE")
    parser.add_argument("--measures", nargs="+", choices=list(COMPARED), default=["macro_f1"])
    asked = parser.parse_intermixed_args()
    files = dict(one.split("=", 1) for one in asked.sets)
    sets = {title: pd.read_csv(file).query("criterion == 'validation'") for title, file in files.items()}
    drawn(sets, asked.measures).savefig(asked.out, dpi=150)


if __name__ == "__main__":
    main()
