"""Every figure of a sweep, as PDF and PNG: the paper's Figs. 1 and 4 to 9 and more, one function each."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar
from warnings import catch_warnings, filterwarnings

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from rsrl_ray.analysis import sheets
from rsrl_ray.analysis.apart import write_apart
from rsrl_ray.analysis.curves import class_measures, majority_share, total_f, training_size
from rsrl_ray.analysis.data import Chosen, Sweep
from rsrl_ray.analysis.file_names import file_names
from rsrl_ray.analysis.ledger import history, ledger
from rsrl_ray.analysis.measures import begun, confusion, trials_of
from rsrl_ray.analysis.style import COLOURS, PALE, WIDTH, groups, legend, styled
from rsrl_ray.core.metrics import NUMBERED, sharing_rate
from rsrl_ray.core.revision import majority_classes
from rsrl_ray.core.trial import TrialKey

OPTIONS: dict[str, Any] = {
    "png": {"pil_kwargs": {"compress_level": 3}},  # nearly as small as 6, and half the time
    "pdf": {"metadata": {"CreationDate": None}},  # the same figure is the same bytes
}

PART = 64  # bytes that the figures of one method take for each photo and round
CLASSES = "Precision, recall and F-measure of each score on the test photos, by round (Figs. 5 to 7): {}."
T = TypeVar("T")


@dataclass(frozen=True)
class Picture:
    """A figure's files: their name without ending, what they show, and of which method ("" of all)."""

    name: str
    caption: str
    method: str = ""


@dataclass(frozen=True)
class Drawing:
    """A figure, and what to call it."""

    picture: Picture
    figure: Figure


def write_figures(
    sweep: Sweep, chosen: Chosen, folder: Path, table: str | Path, first: Iterable[Drawing] = ()
) -> list[Picture]:
    """Write every figure that the sweep has data for into ``folder``, as PNG and PDF.

    chosen : trials without one are left out where a chosen network is shown.
    table : the experiment's table of photos; where a photo cannot be read, its place says so.
    first : figures that come before those.

    Returns what was written, in the order of a page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names, files = begun(sweep), file_names(sweep.methods)
    alone, mean = len(groups(names)) > 1, mean_of(sweep)
    parts = [
        _Part(replace(sweep, trials=_of(sweep.trials, name)), name, files[name], _of(chosen, name), mean, alone)
        for name in names
    ]
    common = chain(first, _common_drawings(sweep, chosen))
    if alone:
        size = PART * len(sweep.images) * sweep.rounds
        return write_apart(partial(_write_part, folder, table), parts, lambda: _write(common, folder), size)
    photos = sheets.Photos(table)
    return _write(chain(common, *(_part_drawings(part, photos) for part in parts)), folder)


@dataclass(frozen=True)
class _Part:
    """A sweep of one method alone, all that its own figures need.

    file : its name as a file's. mean : what its curves show, in words. alone : whether its curves are not among those
    of all methods.
    """

    sweep: Sweep
    method: str
    file: str
    chosen: Chosen
    mean: str
    alone: bool


def _of(trials: Mapping[TrialKey, T], method: str) -> dict[TrialKey, T]:
    return {key: value for key, value in trials.items() if key.method == method}


def _write_part(folder: Path, table: str | Path, part: _Part) -> list[Picture]:
    return _write(_part_drawings(part, sheets.Photos(table)), folder)


def _write(drawings: Iterable[Drawing], folder: Path) -> list[Picture]:
    """Write figures, made one at a time."""
    written = []
    for drawing in drawings:
        with catch_warnings():
            filterwarnings("ignore", "Glyph .* missing")  # names in a script that the font lacks come out as boxes
            _save(drawing, folder)
        written.append(drawing.picture)
    return written


@styled
def score_histogram(sweep: Sweep) -> Figure:
    """Fig. 1: how many photos each score has; the largest classes, which are revised, stand out."""
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
def confusion_matrices(sweep: Sweep, method: str, chosen: Chosen) -> Figure:
    """Confusion matrices of the test photos in round 1 and in the chosen rounds, summed over the folds that have one.

    Shaded by the share of the row, so that the diagonal is the recall.
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


@styled
def _save(drawing: Drawing, folder: Path) -> None:
    figure = drawing.figure
    if (layout := figure.get_layout_engine()) is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")  # to lay it out again for every file takes as long as drawing it
    for kind, options in OPTIONS.items():
        figure.savefig(folder / f"{drawing.picture.name}.{kind}", **options)


def mean_of(sweep: Sweep) -> str:
    """What a curve shows, in words."""
    folds = len({key.fold for key in sweep.trials})
    mean = f"mean of {folds} folds, band: one standard deviation" if folds > 1 else "one fold"
    if any(len({len(trial.kept) for trial in trials_of(sweep, method)}) > 1 for method in begun(sweep)):
        mean += ", pale where some folds have no such round"
    return mean


def _common_drawings(sweep: Sweep, chosen: Chosen) -> Iterator[Drawing]:
    """The figures of all methods."""
    mean = mean_of(sweep)
    yield Drawing(Picture("scores", "Photos of each score (Fig. 1 of the paper)."), score_histogram(sweep))
    yield Drawing(Picture("training_size", f"Training photos kept, by round (Fig. 4): {mean}."), training_size(sweep))
    text = f"Share of the {sweep.majority} largest classes among the photos kept, by round: {mean}."
    yield Drawing(Picture("majority_share", text), majority_share(sweep))
    text = f"Total F-measure of the test photos, by round (Fig. 8): {mean}; marked: each fold's chosen round."
    yield Drawing(Picture("total_f", text), total_f(sweep, chosen))
    together = groups(begun(sweep))
    if len(together) == 1:
        yield Drawing(Picture("class_measures", CLASSES.format(mean)), class_measures(sweep, together[0]))


def _part_drawings(part: _Part, photos: sheets.Photos) -> Iterator[Drawing]:
    """The figures of one method by itself, each named after it."""
    curves = Picture("class_measures", CLASSES.format(part.mean))
    first = [Drawing(curves, class_measures(part.sweep, [part.method]))] if part.alone else []
    for drawing in chain(first, _method_drawings(part.sweep, part.method, part.chosen, photos)):
        plain = drawing.picture
        picture = Picture(f"{plain.name}_{part.file}", f"{part.method}: {plain.caption}", part.method)
        yield replace(drawing, picture=picture)


def _method_drawings(sweep: Sweep, method: str, chosen: Chosen, photos: sheets.Photos) -> Iterator[Drawing]:
    """The figures of one method by itself."""
    if any(key.method == method for key in chosen):
        text = "test photos by score and assigned score, in round 1 and in the chosen round, summed over the folds."
        yield Drawing(Picture("confusion", text), confusion_matrices(sweep, method, chosen))
        scores = sheets.low_and_high(sheets.assigned_scores(sweep, method, chosen))
        text = f"test photos that the chosen networks assign to score {' and '.join(map(str, scores))} (Fig. 9)."
        yield Drawing(Picture("assigned", text), sheets.assigned_examples(sweep, method, chosen, scores, photos))
    found = history(sweep, method)
    by = "assigned score and self-confidence are those of the last networks"
    if found.times.any():
        text = "training photos by round, dark where dropped; those dropped most often on top."
        yield Drawing(Picture("ledger", text), ledger(sweep, method, found))
        text = f"the photos dropped most often; {by}."
        yield Drawing(Picture("dropped", text), sheets.dropped_sheet(sweep, found, photos))
    if found.away.any():
        text = f"photos that were dropped and came back, those away longest first; {by}."
        yield Drawing(Picture("returned", text), sheets.returned_sheet(sweep, found, photos))
