"""Figures by round (the paper's Figs. 4 to 8): fold means, with a band of one standard deviation (ddof 1) over folds.

A mean is over the folds that have logged the round. If these are fewer than in round 1, as in a sweep that still runs,
the line is pale. One fold has no band. Up to four methods share their axes. If there are more, each has axes of its
own, with the other methods in grey behind it.
"""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rsrl_ray.analysis.figures.style import (
    COLOURS,
    DASHES,
    MARKERS,
    PALE,
    WIDTH,
    groups,
    legend,
    look,
    round_axis,
    shortened,
    styled,
)
from rsrl_ray.analysis.numbers.curves import ByFold, by_fold, fold_mean, metric_by_fold
from rsrl_ray.analysis.numbers.measures import ChosenRounds, confusion
from rsrl_ray.analysis.numbers.wrong_labels import rates_by_fold
from rsrl_ray.analysis.sweep.arrays import Sweep, TrialRounds
from rsrl_ray.core import metrics

_COLUMN_TITLES = ("precision", "recall", "F-measure")
_FOUND = _COLUMN_TITLES[:2]  # of wrong labels, by what is dropped


@styled
def training_size(sweep: Sweep) -> Figure:
    """Fig. 4: how many training photos are kept, by round."""
    figure, panels = _panels(sweep, "train_size", "training photos")
    for axes, _ in panels:
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))
    return figure


@styled
def majority_share(sweep: Sweep) -> Figure:
    """Share of the largest classes among the kept training photos, by round (section V.B)."""
    figure, panels = _panels(sweep, "majority_share", f"share of the {sweep.majority} largest classes")
    for axes, _ in panels:
        axes.yaxis.set_major_formatter(PercentFormatter(1))  # with as many decimals as tell its ticks apart
    return figure


@styled
def f_measure(sweep: Sweep, chosen: ChosenRounds, kind: str = "total") -> Figure:
    """Fig. 8: total (sum over classes) or macro (their mean) F-measure of the test photos, by round.

    chosen : the rounds to mark, each at the value of its own fold.
    """
    metric = f"test_{kind}_f1"
    figure, panels = _panels(sweep, metric, f"{kind} F-measure (test)")
    for axes, shown in panels:
        for key, number in sorted(chosen.items()):
            if key.method in shown:
                place = sweep.methods.index(key.method)
                axes.plot(
                    number,
                    float(sweep.trials[key].metrics[metric].loc[number]),
                    linestyle="none",
                    marker=MARKERS[place % len(MARKERS)],
                    markersize=4,
                    markerfacecolor="white",
                    markeredgecolor=look(place)["color"],
                    clip_on=False,
                    zorder=3,
                )
    return figure


@styled
def class_measures(sweep: Sweep, shown: Sequence[str]) -> Figure:
    """Figs. 5 to 7: precision, recall and F of every class on the test photos, by round; ``shown`` : methods.

    A fold without test photos of a class is left out of its mean. A class without test photos in all folds is left out,
    as in the paper.
    """
    values = {method: by_fold(sweep, method, lambda trial: _test_measures(sweep, trial)) for method in shown}
    tested = np.any([np.isfinite(v).any(axis=(0, 1, 3)) for v in values.values()], axis=0)
    present = np.flatnonzero(tested)
    height = 0.62 * len(present) + 0.95
    figure = Figure(figsize=(WIDTH, height))  # laid out by hand: constrained layout takes a second for 24 axes
    margins = {"left": 0.15, "right": 0.97, "bottom": 0.37 / height, "top": 1 - 0.5 / height}
    grid = figure.subplots(len(present), 3, sharex=True, sharey=True, squeeze=False, gridspec_kw=margins)
    for row, place in zip(grid, present, strict=True):
        row[0].set_ylabel(f"score {sweep.classes[place]}", fontsize=7)
        for measure, axes in enumerate(row):
            _draw(axes, sweep, {name: v[:, :, place, measure] for name, v in values.items()}, shown, ticks=3)
    for axes, title in zip(grid[0], _COLUMN_TITLES, strict=True):
        axes.set_title(title)
    grid[0, 0].set_ylim(0, min(1.02, grid[0, 0].get_ylim()[1]))  # of all of them
    grid[0, 0].yaxis.set_major_locator(MaxNLocator(nbins=3))
    figure.supxlabel("round", fontsize=8, y=0.04 / height, va="bottom")
    _name(figure, sweep, shown)
    return figure


@styled
def noise_curves(noise: pd.DataFrame) -> Figure:
    """Precision and recall of what is dropped against wrong labels, by round from 2 on, fold means; axes a method."""
    dropping = noise.groupby("method", sort=False)["dropped"].sum()
    methods = [str(name) for name, dropped in dropping.items() if dropped]
    rates = rates_by_fold(noise)
    looks = {name: {"color": COLOURS[place], "linestyle": DASHES[place]} for place, name in enumerate(_FOUND)}
    rows = ceil(len(methods) / 2)
    figure, grid = _grid(len(methods), 2.15 if rows == 1 else 0.75 + rows)
    for axes, method in zip(grid, methods, strict=True):
        means = {name: fold_mean(values).mean[1:] for name, values in rates[method].items()}
        numbers = np.arange(2, 2 + len(means["base_rate"]))
        axes.plot(numbers, means["base_rate"], color=PALE, linewidth=1.0, zorder=1)
        for name in _FOUND:
            axes.plot(numbers, means[name], marker="." if len(numbers) == 1 else "", **looks[name])
        round_axis(axes, int(noise["round"].max()))
        _title(axes, method)
    grid[0].set_ylim(0, 1)
    handles = [Line2D([], [], **looks[name]) for name in _FOUND]
    legend(figure, [*_FOUND, "share of wrong labels"], [*handles, Line2D([], [], color=PALE)])
    return figure


def _panels(sweep: Sweep, metric: str, label: str) -> tuple[Figure, list[tuple[Axes, list[str]]]]:
    """Draw one metric by round; returns the figure and its axes, each with the methods that it shows."""
    curves = metric_by_fold(sweep, metric)
    together = groups(list(curves))
    rows = ceil(len(together) / 2)
    figure, grid = _grid(len(together), 2.3 if rows == 1 else 0.4 + rows)
    for axes, shown in zip(grid, together, strict=True):
        _draw(axes, sweep, curves, shown)
        if len(together) > 1:
            _title(axes, shown[0])
    figure.supylabel(label, fontsize=8)
    if len(together) == 1:
        _name(figure, sweep, together[0])
    return figure, list(zip(grid, together, strict=True))


def _grid(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """So many axes over rounds, two in a row. height : of the figure, inches."""
    columns = min(2, count)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = list(figure.subplots(ceil(count / columns), columns, sharex=True, sharey=True, squeeze=False).ravel())
    for axes in grid[count:]:
        axes.remove()
        grid[count - 2].xaxis.set_tick_params(labelbottom=True)
    figure.supxlabel("round", fontsize=8)
    return figure, grid[:count]


def _title(axes: Axes, method: str) -> None:
    axes.set_title(shortened(method, 26), loc="left", fontsize=7, pad=2)


def _draw(axes: Axes, sweep: Sweep, curves: Mapping[str, ByFold], shown: Sequence[str], ticks: int = 6) -> None:
    """Lines of the fold means of values [F, R]: the methods ``shown`` with their bands, the others in grey."""
    for method, values in curves.items():
        found = fold_mean(values)
        mean, rounds = found.mean, np.arange(1, len(found.mean) + 1)
        if method not in shown:
            axes.plot(rounds, mean, color=PALE, linewidth=0.5, zorder=1)
            continue
        style = look(sweep.methods.index(method))
        whole = int((found.folds == found.folds[0]).sum())  # folds only ever become fewer
        axes.fill_between(rounds, mean - found.sd, mean + found.sd, color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(rounds[:whole], mean[:whole], marker="." if whole == 1 else "", **style)
        if whole < len(mean):
            axes.plot(rounds[whole - 1 :], mean[whole - 1 :], alpha=0.35, **style)
    round_axis(axes, max(values.shape[1] for values in curves.values()), ticks)


def _name(figure: Figure, sweep: Sweep, shown: Sequence[str]) -> None:
    """Say which line is which method."""
    legend(figure, shown, [Line2D([], [], **look(sweep.methods.index(method))) for method in shown])


def _test_measures(sweep: Sweep, trial: TrialRounds) -> ByFold:
    """Precision, recall and F of every class on the test photos, [R, C, 3]; NaN for classes without test photos."""
    measured = np.empty((len(trial.predicted), len(sweep.classes), len(_COLUMN_TITLES)))
    for number, row in enumerate(measured, start=1):
        scores = metrics.class_scores(confusion(sweep, trial, number))
        row[:] = np.stack([scores.precision, scores.recall, scores.f1], axis=1)
        row[scores.support == 0] = np.nan
    return measured
