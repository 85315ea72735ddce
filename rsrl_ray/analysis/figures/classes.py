"""Figures of classes: how many photos each score has (Fig. 1), and confusion matrices."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from rsrl_ray.analysis.figures.style import COLOURS, PALE, WIDTH, legend, styled
from rsrl_ray.analysis.numbers.measures import ChosenRounds, confusion
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.core.metrics import NUMBERED, sharing_rate
from rsrl_ray.core.revision import majority_classes


@styled
def score_histogram(sweep: Sweep) -> Figure:
    """Fig. 1: how many photos each score has; the largest classes, which are revised, have another colour."""
    classes, labels = np.unique(sweep.scores, return_inverse=True)
    counts = np.bincount(labels)
    largest = majority_classes(labels, sweep.majority)
    figure = Figure(figsize=(WIDTH, 2.0), layout="constrained")
    axes = figure.subplots()
    colours = [COLOURS[0] if place in largest else PALE for place in range(len(classes))]
    bars = axes.bar(range(len(classes)), counts, width=0.7, color=colours)
    axes.bar_label(bars, [f"{count:,}" for count in counts], fontsize=7, padding=1)
    axes.set_xticks(range(len(classes)), [str(score) for score in classes])
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("score")
    axes.set_ylabel("photos")
    share = sharing_rate(labels, largest)
    if len(largest) < len(classes):
        names = [f"{len(largest)} largest classes ({share:.0%})", f"others ({1 - share:.0%})"]
        legend(figure, names, [Patch(color=COLOURS[0]), Patch(color=PALE)])
    return figure


@styled
def confusion_matrices(sweep: Sweep, method: str, chosen: ChosenRounds) -> Figure:
    """Confusion matrices of the test photos in round 1 and in the chosen rounds, summed over the folds that have one.

    A cell's shade is its share of the row, so the diagonal shows the recall.
    """
    rounds = {key: number for key, number in sorted(chosen.items()) if key.method == method}
    first = np.sum([confusion(sweep, sweep.trials[key], 1) for key in rounds], axis=0)
    best = np.sum([confusion(sweep, sweep.trials[key], number) for key, number in rounds.items()], axis=0)
    figure = Figure(figsize=(WIDTH, 6.0), layout="constrained")
    above, below = figure.subplots(2, 1)
    _matrix(above, first, sweep.classes, "round 1")
    numbers = sorted(set(rounds.values()))
    title = f"chosen round{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
    _matrix(below, best, sweep.classes, title)
    return figure


def _matrix(axes: Axes, counts: NDArray[np.int64], classes: NDArray[np.int64], title: str) -> None:
    size = len(classes)
    is_numbered, step = size <= NUMBERED, -(-size // NUMBERED)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    font = min(7.0, 60 / size)
    for row, column in np.argwhere(counts > 0) if is_numbered else ():
        colour = "white" if share[row, column] > 0.6 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=font)
    rows = [f"{score} ({n:,})" for score, n in zip(classes, counts.sum(axis=1), strict=True)]
    axes.set_xticks(range(0, size, step), [str(score) for score in classes[::step]])
    axes.set_yticks(range(0, size, step), rows[::step])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("assigned score")
    axes.set_ylabel("score (test photos)")
    axes.set_title(title)
