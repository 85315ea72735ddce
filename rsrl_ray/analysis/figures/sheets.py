"""Photos themselves: contact sheets of what was dropped and what came back, and examples of two scores (Fig. 9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path, PurePosixPath
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rsrl_ray.analysis.figures.ledger import History, came_back, dropped_most
from rsrl_ray.analysis.figures.style import DPI, WIDTH, shortened, styled
from rsrl_ray.analysis.numbers.measures import TEST, trained_scores, trials_of
from rsrl_ray.analysis.sweep.read import Chosen, Sweep
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.photos.picture import small_photo
from rsrl_ray.photos.source import read_bytes
from rsrl_ray.photos.table import photo_sources

ACROSS = 4  # photos side by side
MOST = 20  # photos on a sheet
EXAMPLES = 8  # photos of each of two scores
CELL, BOX, LINE, HEAD = WIDTH / ACROSS, 0.78, 0.105, 0.22  # inches: a photo's place, its box, a line, a heading


@dataclass(frozen=True)
class Entry:
    """A photo, as the table names it, and the lines of text under it."""

    image: str
    lines: tuple[str, ...]


class Photos:
    """The photos of a sweep, small; each is read once.

    table : the experiment's table of photos.
    """

    def __init__(self, table: str | Path) -> None:
        self._table = table
        self._small: dict[str, NDArray[np.uint8] | str] = {}

    def small(self, image: str) -> NDArray[np.uint8] | str:
        """The photo [h, w, 3], upright, as large as its box; or, where it cannot be read, why."""
        if image not in self._small:
            self._small[image] = self._read(image)
        return self._small[image]

    def _read(self, image: str) -> NDArray[np.uint8] | str:
        try:
            source = photo_sources(self._table, [image])[image]
            return np.asarray(small_photo(read_bytes(source), round(BOX * DPI)))
        except ValueError as error:
            return str(error)


def dropped_sheet(sweep: Sweep, found: History, photos: Photos) -> Figure:
    """The photos that were dropped in most rounds of the folds training on them; ties: the least confident first."""
    return _sheet(sweep, found, dropped_most(found), "dropped most often", photos)


def returned_sheet(sweep: Sweep, found: History, photos: Photos) -> Figure:
    """The photos that were dropped and are kept in the last round: away longest first; ties: the most confident."""
    return _sheet(sweep, found, came_back(found), "dropped, and back in the last round", photos)


def assigned_examples(sweep: Sweep, method: str, chosen: Chosen, scores: Sequence[int], photos: Photos) -> Figure:
    """Fig. 9: test photos that the chosen networks assign to each of ``scores``, taken evenly from all of them."""
    assigned = assigned_scores(sweep, method, chosen)
    blocks = []
    for score in scores:
        rows = np.flatnonzero(assigned == score)
        count = min(len(rows), EXAMPLES)
        count -= count % ACROSS if count > ACROSS else 0  # whole rows
        taken = rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]
        entries = [Entry(sweep.images[row], (f"score {sweep.scores[row]}",)) for row in taken]
        blocks.append((f"assigned to score {score} ({len(rows):,} test photos)", entries))
    return contact_sheet(blocks, photos)


def assigned_scores(sweep: Sweep, method: str, chosen: Chosen) -> NDArray[np.int64]:
    """The score [N] that the chosen network of each photo's test fold assigns; -1 for photos without one."""
    assigned = np.full(len(sweep.images), -1, np.int64)
    for trial in trials_of(sweep, method):
        if number := chosen.get(TrialKey(trial.fold, method)):
            test = trial.split == TEST
            assigned[test] = trial.predicted[number - 1, test]
    return assigned


def low_and_high(assigned: NDArray[np.int64]) -> list[int]:
    """The lowest and the highest score that is assigned to at least a row of photos; to any, where none is."""
    found, counts = np.unique(assigned[assigned >= 0], return_counts=True)
    often = found[counts >= ACROSS] if (counts >= ACROSS).any() else found
    return sorted({int(often[0]), int(often[-1])})


@styled
def contact_sheet(blocks: Sequence[tuple[str, Sequence[Entry]]], photos: Photos) -> Figure:
    """Photos under headings, four in a row, each with its lines of text; a photo that cannot be read is said to be."""
    cell = BOX + LINE * (1 + max((len(entry.lines) for _, entries in blocks for entry in entries), default=0)) + 0.1
    height = sum(HEAD + cell * ceil(len(entries) / ACROSS) for _, entries in blocks)
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    top = 0.0
    for heading, entries in blocks:
        axes.text(0.03, top + 0.14, heading, fontsize=8)
        top += HEAD
        for place, entry in enumerate(entries):
            row, column = divmod(place, ACROSS)
            _draw(axes, entry, photos.small(entry.image), (column + 0.5) * CELL, top + row * cell)
        top += cell * ceil(len(entries) / ACROSS)
    axes.set(xlim=(0, WIDTH), ylim=(height, 0), aspect="auto")
    return figure


def _draw(axes: Axes, entry: Entry, small: NDArray[np.uint8] | str, centre: float, top: float) -> None:
    """One photo in its box, standing on its lines of text; in inches."""
    if isinstance(small, str):
        axes.text(centre, top + BOX / 2, fill(small, 16), fontsize=6, ha="center", va="center", color="#D55E00")
    else:
        height, width = (side * BOX / max(small.shape) for side in small.shape[:2])
        extent = (centre - width / 2, centre + width / 2, top + BOX, top + BOX - height)
        axes.imshow(small, extent=extent)
    for number, line in enumerate((shortened(PurePosixPath(entry.image).name, 16), *entry.lines), start=1):
        axes.text(centre, top + BOX + number * LINE, line, fontsize=6, ha="center")


def _sheet(sweep: Sweep, found: History, rows: NDArray[np.int64], heading: str, photos: Photos) -> Figure:
    trained = trained_scores(sweep)
    entries = [
        Entry(
            sweep.images[row],
            (
                *([f"truly {sweep.scores[row]}"] if trained[row] != sweep.scores[row] else []),
                f"score {trained[row]} → {found.assigned[row]}",
                f"confidence {found.self_confidence[row]:.2f}",
                f"dropped {found.times[row]} of {found.of[row]}",
            ),
        )
        for row in rows[:MOST]
    ]
    return contact_sheet([(heading, entries)], photos)
