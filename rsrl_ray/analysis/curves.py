"""Figures by round (the paper's Figs. 4 to 8): fold means, with a band of one standard deviation (ddof 1) over folds.

A mean is over the folds that have logged the round; where these are fewer than in round 1, as in a sweep that still
runs, the line is pale. One fold has no band. Up to four methods share their axes; of more, each has its own, where
there is room with the others in grey behind it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from rsrl_ray.analysis.data import Chosen, Sweep, Trial
from rsrl_ray.analysis.measures import begun, confusion, trials_of
from rsrl_ray.analysis.style import MARKERS, PALE, WIDTH, groups, legend, look, over_rounds, shortened, styled
from rsrl_ray.core import metrics

Values = NDArray[np.float64]
MEASURES = ("precision", "recall", "F-measure")


def fold_mean(values: Values) -> tuple[Values, Values, NDArray[np.int64]]:
    """Mean (NaN for no fold), standard deviation (ddof 1; NaN for one fold) and number of folds of values [F, ...]."""
    folds = np.isfinite(values).sum(axis=0)
    mean = np.where(folds > 0, np.nansum(values, axis=0) / np.maximum(folds, 1), np.nan)
    squares = np.nansum((values - mean) ** 2, axis=0)
    return mean, np.where(folds > 1, np.sqrt(squares / np.maximum(folds - 1, 1)), np.nan), folds


@styled
def training_size(sweep: Sweep) -> Figure:
    """Fig. 4: training photos that are kept, by round."""
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
def total_f(sweep: Sweep, chosen: Chosen) -> Figure:
    """Fig. 8: total F-measure of the test photos (sum over classes), by round.

    chosen : each is marked at its own fold's value.
    """
    return _marked(sweep, chosen, "test_total_f1", "total F-measure (test)")


@styled
def macro_f(sweep: Sweep, chosen: Chosen) -> Figure:
    """The same of macro F, the mean over the classes that a fold tests."""
    return _marked(sweep, chosen, "test_macro_f1", "macro F (test)")


def _marked(sweep: Sweep, chosen: Chosen, column: str, label: str) -> Figure:
    figure, panels = _panels(sweep, column, label)
    for axes, shown in panels:
        for key, number in sorted(chosen.items()):
            if key.method in shown:
                place = sweep.methods.index(key.method)
                axes.plot(
                    number,
                    float(sweep.trials[key].metrics[column].loc[number]),
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

    A fold without test photos of a class is left out of its mean; so is a class without any, as in the paper.
    """
    values = {method: stack(sweep, method, partial(_test_measures, sweep)) for method in shown}
    tested = np.any([np.isfinite(v).any(axis=(0, 1, 3)) for v in values.values()], axis=0)
    present = np.flatnonzero(tested)
    height = 0.62 * len(present) + 0.95
    figure = Figure(figsize=(WIDTH, height))  # laid out by hand: to work it out for 24 axes takes a second
    margins = {"left": 0.15, "right": 0.97, "bottom": 0.37 / height, "top": 1 - 0.5 / height}
    grid = figure.subplots(len(present), 3, sharex=True, sharey=True, squeeze=False, gridspec_kw=margins)
    for row, place in zip(grid, present, strict=True):
        row[0].set_ylabel(f"score {sweep.classes[place]}", fontsize=7)
        for measure, axes in enumerate(row):
            _draw(axes, sweep, {name: v[:, :, place, measure] for name, v in values.items()}, shown, ticks=3)
    for axes, title in zip(grid[0], MEASURES, strict=True):
        axes.set_title(title)
    grid[0, 0].set_ylim(0, min(1.02, grid[0, 0].get_ylim()[1]))  # of all of them
    grid[0, 0].yaxis.set_major_locator(MaxNLocator(nbins=3))
    figure.supxlabel("round", fontsize=8, y=0.04 / height, va="bottom")
    _name(figure, sweep, shown)
    return figure


def _panels(sweep: Sweep, column: str, label: str) -> tuple[Figure, list[tuple[Axes, list[str]]]]:
    """Draw one metric by round; the axes, each with the methods that it shows."""
    curves = {
        method: stack(sweep, method, lambda trial: trial.metrics[column].to_numpy(dtype=np.float64))
        for method in begun(sweep)
    }
    together = groups(list(curves))
    columns = min(2, len(together))
    rows = ceil(len(together) / columns)
    figure = Figure(figsize=(WIDTH, 2.3 if rows == 1 else 0.4 + 1.0 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, shown in zip(grid, together, strict=False):
        _draw(axes, sweep, curves, shown)
        if len(together) > 1:
            axes.set_title(shortened(shown[0], 26), loc="left", fontsize=7, pad=2)
    for axes in grid[len(together) :]:
        axes.remove()
        grid[len(together) - 2].xaxis.set_tick_params(labelbottom=True)
    figure.supxlabel("round", fontsize=8)
    figure.supylabel(label, fontsize=8)
    if len(together) == 1:
        _name(figure, sweep, together[0])
    return figure, list(zip(grid, together, strict=False))


def _draw(axes: Axes, sweep: Sweep, curves: Mapping[str, Values], shown: Sequence[str], ticks: int = 6) -> None:
    """Lines of the fold means of values [F, R]: the methods ``shown`` with their bands, the others in grey."""
    for method, values in curves.items():
        mean, deviation, folds = fold_mean(values)
        rounds = np.arange(1, len(mean) + 1)
        if method not in shown:
            axes.plot(rounds, mean, color=PALE, linewidth=0.5, zorder=1)
            continue
        style = look(sweep.methods.index(method))
        whole = int((folds == folds[0]).sum())  # folds only ever become fewer
        axes.fill_between(rounds, mean - deviation, mean + deviation, color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(rounds[:whole], mean[:whole], marker="." if whole == 1 else "", **style)
        if whole < len(mean):
            axes.plot(rounds[whole - 1 :], mean[whole - 1 :], alpha=0.35, **style)
    over_rounds(axes, max(values.shape[1] for values in curves.values()), ticks)


def _name(figure: Figure, sweep: Sweep, shown: Sequence[str]) -> None:
    """Say which line is which method."""
    legend(figure, shown, [Line2D([], [], **look(sweep.methods.index(method))) for method in shown])


def stack(sweep: Sweep, method: str, values: Callable[[Trial], Values]) -> Values:
    """A value [r, ...] of each of the method's trials as [F, R, ...], NaN where a fold has not logged the round."""
    parts = [values(trial) for trial in trials_of(sweep, method)]
    stacked = np.full((len(parts), max(map(len, parts)), *parts[0].shape[1:]), np.nan)
    for row, part in zip(stacked, parts, strict=True):
        row[: len(part)] = part
    return stacked


def _test_measures(sweep: Sweep, trial: Trial) -> Values:
    """Precision, recall and F of every class on the test photos, [R, C, 3]; NaN for classes without test photos."""
    measured = np.empty((len(trial.predicted), len(sweep.classes), len(MEASURES)))
    for number, row in enumerate(measured, start=1):
        scores = metrics.class_scores(confusion(sweep, trial, number))
        row[:] = np.stack([scores.precision, scores.recall, scores.f1], axis=1)
        row[scores.support == 0] = np.nan
    return measured
