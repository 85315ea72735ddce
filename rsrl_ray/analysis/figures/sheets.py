"""Contact sheets: photos that were dropped or came back, examples of two scores (Fig. 9), pairs that are alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import PurePosixPath
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from rsrl_ray.analysis.figures.small_photos import SmallPhotos
from rsrl_ray.analysis.figures.style import DPI, PALE, WIDTH, shortened, styled
from rsrl_ray.analysis.numbers.histories import History
from rsrl_ray.analysis.numbers.measures import ChosenRounds
from rsrl_ray.analysis.sweep.arrays import TEST_PHOTO, Sweep

ACROSS = 4  # photos side by side
MOST = 20  # photos on a sheet
EXAMPLES_OF_A_SCORE = 8  # photos of each of two scores
PAIRS = 10  # of the most similar photos, and of the least similar that count
PLACE, BOX, LINE, HEADING = WIDTH / ACROSS, 0.78, 0.105, 0.22  # inches: a photo's place, its box, a line, a heading
PHOTO_PIXELS = round(BOX * DPI)  # of a photo, the longer side


@dataclass(frozen=True)
class SheetPhoto:
    """A photo, as the table names it, and the lines of text under it."""

    image: str
    lines: tuple[str, ...]


def history_sheet(sweep: Sweep, found: History, rows: NDArray[np.int64], heading: str, photos: SmallPhotos) -> Figure:
    """What happened to the first `MOST` photos of ``rows``. found : the history of all photos under a method."""
    trained = sweep.trained_scores()
    entries = []
    for row in rows[:MOST]:
        lines = [f"truly {sweep.scores[row]}"] if trained[row] != sweep.scores[row] else []
        lines += [
            f"score {trained[row]} → {found.assigned[row]}",
            f"confidence {found.self_confidence[row]:.2f}",
            f"dropped {found.times[row]} of {found.of[row]}",
        ]
        entries.append(SheetPhoto(sweep.images[row], tuple(lines)))
    return contact_sheet([(heading, entries)], photos)


def assigned_examples(sweep: Sweep, assigned: NDArray[np.int64], scores: Sequence[int], photos: SmallPhotos) -> Figure:
    """Fig. 9: test photos that are ``assigned`` to each of ``scores``, evenly taken from all of these."""
    blocks = []
    for score in scores:
        rows = np.flatnonzero(assigned == score)
        count = min(len(rows), EXAMPLES_OF_A_SCORE)
        if count > ACROSS:
            count -= count % ACROSS  # whole rows
        taken = rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]
        entries = [SheetPhoto(sweep.images[row], (f"score {sweep.scores[row]}",)) for row in taken]
        blocks.append((f"assigned to score {score} ({len(rows):,} test photos)", entries))
    return contact_sheet(blocks, photos)


def assigned_scores(sweep: Sweep, method: str, chosen: ChosenRounds) -> NDArray[np.int64]:
    """The score [N] that a photo gets from the chosen network of the fold that tests on it; -1 if there is none."""
    assigned = np.full(len(sweep.images), -1, np.int64)
    for trial in sweep.trials_of(method):
        if trial.key in chosen:
            test = trial.split == TEST_PHOTO
            assigned[test] = trial.predicted[chosen[trial.key] - 1, test]
    return assigned


def pair_sheet(pairs: pd.DataFrame, least: float, photos: SmallPhotos) -> Figure:
    """Near-duplicates side by side: the most similar `PAIRS`, and the least similar ones that count.

    pairs : one or more, the most similar first, see `rsrl_ray.leaks.NearDuplicates.pairs`. least : their least cosine.
    """
    blocks = [(f"pairs in different folds: {len(pairs):,}", pairs)]
    if len(pairs) > 2 * PAIRS:
        heading = f"the least similar with a cosine of {least:g} or more"
        blocks = [(f"the most similar of {len(pairs):,} pairs", pairs.head(PAIRS)), (heading, pairs.tail(PAIRS))]
    figure = contact_sheet([(heading, _side_by_side(part)) for heading, part in blocks], photos)
    figure.axes[0].axvline(WIDTH / 2, color=PALE, linewidth=0.6)  # two pairs are in a row
    return figure


def _side_by_side(pairs: pd.DataFrame) -> list[SheetPhoto]:
    entries = []
    for pair in pairs.to_dict("records"):
        for image, of in (("image", ""), ("other", "other_")):
            place = f"score {pair[f'{of}score']}, fold {pair[f'{of}fold']}"
            entries.append(SheetPhoto(pair[image], (f"cosine {pair['cosine']:.3f}", place)))
    return entries


def low_and_high(assigned: NDArray[np.int64]) -> list[int]:
    """The lowest and the highest score that at least `ACROSS` photos are assigned to; if there is none, any photo."""
    found, counts = np.unique(assigned[assigned >= 0], return_counts=True)
    often = found[counts >= ACROSS] if (counts >= ACROSS).any() else found
    return sorted({int(often[0]), int(often[-1])})


@styled
def contact_sheet(blocks: Sequence[tuple[str, Sequence[SheetPhoto]]], photos: SmallPhotos) -> Figure:
    """Photos under headings, four in a row, each with its lines of text; why a photo cannot be read is said there."""
    cell = BOX + LINE * (1 + max((len(entry.lines) for _, entries in blocks for entry in entries), default=0)) + 0.1
    height = sum(HEADING + cell * ceil(len(entries) / ACROSS) for _, entries in blocks)
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    top = 0.0
    for heading, entries in blocks:
        axes.text(0.03, top + 0.14, heading, fontsize=8)
        top += HEADING
        for place, entry in enumerate(entries):
            row, column = divmod(place, ACROSS)
            _draw(axes, entry, photos.get(entry.image), (column + 0.5) * PLACE, top + row * cell)
        top += cell * ceil(len(entries) / ACROSS)
    axes.set(xlim=(0, WIDTH), ylim=(height, 0), aspect="auto")
    return figure


def _draw(axes: Axes, entry: SheetPhoto, small: Image.Image | str, centre: float, top: float) -> None:
    """Draw one photo in its box, above its lines of text. centre, top : inches."""
    if isinstance(small, str):
        axes.text(centre, top + BOX / 2, fill(small, 16), fontsize=6, ha="center", va="center", color="#D55E00")
    else:
        width, height = (side * BOX / max(small.size) for side in small.size)
        extent = (centre - width / 2, centre + width / 2, top + BOX, top + BOX - height)
        axes.imshow(np.asarray(small), extent=extent)
    for number, line in enumerate((shortened(PurePosixPath(entry.image).name, 16), *entry.lines), start=1):
        axes.text(centre, top + BOX + number * LINE, line, fontsize=6, ha="center")
