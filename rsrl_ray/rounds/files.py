"""The files that each round writes for people, into `rounds/NN/` in MLflow."""

import csv
import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rsrl_ray.core.likelihood import Membership
from rsrl_ray.core.metrics import NUMBERED, class_scores, confusion_matrix, macro_f1
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.rounds.loop import RoundResult
from rsrl_ray.rounds.table import OF_TRAINING, PHOTO_WEIGHT, SPLITS, assigned, confusion, judged
from rsrl_ray.tracking.names import CONFUSION, CONV1, PREDICTIONS

CELL, GAP = 46, 8  # pixels: a cell of the confusion matrix, and the space between its parts
TEXT, COUNT = 15, 13  # pixels: the height of the font beside the cells and in them


class RoundFiles:
    """Writes the files of the rounds of one fold.

    What these rounds share is made once, and tables go from arrays to Parquet without pandas: both together take a
    fifth of the time, which the driver spends for every round of every trial.
    """

    def __init__(self, like: pd.DataFrame, membership: Membership) -> None:
        """Like : the table of any round of the fold, see `rsrl_ray.rounds.table.RoundTables`."""
        shared = like.drop(columns=PHOTO_WEIGHT, errors="ignore")  # not all rounds of a fold have it
        self._like, self._membership = pa.Table.from_pandas(shared, preserve_index=False), membership
        self._classes, self._labels = np.unique(like["score"].to_numpy(), return_inverse=True)
        self._photos = {split: np.flatnonzero(like["split"] == split) for split in SPLITS}
        self._untrained = (like["split"] != SPLITS[0]).to_numpy()

    def write(self, folder: Path, done: RoundResult, conv1: Mapping[str, NDArray[Any]]) -> None:
        """Write predictions.parquet, classes.csv and conv1.npz of one round.

        conv1 : weight [K, 3, h, w], bias [K], stride and padding [2]. It is empty if the first convolution is frozen;
        then no conv1.npz is written.
        """
        # Logits and self-confidences are nearly all different, so a dictionary of them would only take time.
        few = [name for name in self._like.column_names if name in ("split", "score", "predicted", "true_score")]
        pq.write_table(self.table(done), folder / PREDICTIONS, use_dictionary=few, write_statistics=False)
        self._write_classes(folder / "classes.csv", done)
        if conv1:
            np.savez(folder / CONV1, allow_pickle=False, **conv1)

    def draw(self, folder: Path, done: RoundResult, trial: TrialKey) -> None:
        """Write confusion.png of one round."""
        draw_confusion(folder / CONFUSION, self._confusion(done, "test"), self._classes, trial, done.number)

    def table(self, done: RoundResult) -> pa.Table:
        """The round's table; pandas reads the same from it as `rsrl_ray.rounds.table.RoundTables` makes."""
        new = judged(done, self._classes, self._labels, self._membership)
        schema, of_training = self._like.schema, (*OF_TRAINING, PHOTO_WEIGHT)
        if PHOTO_WEIGHT in new:
            schema = schema.insert(schema.get_field_index(OF_TRAINING[-1]) + 1, pa.field(PHOTO_WEIGHT, pa.float32()))
        columns = [
            pa.array(new[field.name], field.type, self._untrained if field.name in of_training else None)
            if field.name in new
            else self._like[field.name]
            for field in schema
        ]
        return pa.Table.from_arrays(columns, schema=schema)

    def _write_classes(self, path: Path, done: RoundResult) -> None:
        """Split, score, support, precision, recall, f1, for the validation and test photos."""
        with path.open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["split", "score", "support", "precision", "recall", "f1"])
            for split in SPLITS[1:]:
                found = class_scores(self._confusion(done, split))
                shares = zip(*(values.tolist() for values in (found.precision, found.recall, found.f1)), strict=True)
                for score, support, values in zip(self._classes, found.support, shares, strict=True):
                    rows.writerow([split, score, support, *(f"{value:.6g}" for value in values)])

    def _confusion(self, done: RoundResult, split: str) -> NDArray[np.int64]:
        photos = self._photos[split]
        return confusion_matrix(self._labels[photos], assigned(done)[photos], len(self._classes))


def draw_again(predictions: Path, folder: Path, trial: TrialKey, number: int) -> None:
    """Write confusion.png of a round whose ``predictions`` are logged."""
    table = pd.read_parquet(predictions, columns=["split", "score", "predicted"])
    draw_confusion(folder / CONFUSION, confusion(table, "test"), np.unique(table["score"]), trial, number)


def draw_confusion(
    file: Path, counts: NDArray[np.int64], scores: NDArray[np.int64], trial: TrialKey, number: int
) -> None:
    """Write the picture of a round's confusion matrix [C, C] of the test photos; ``scores`` : [C]."""
    title = f"{trial.title}, round {number}: macro F {macro_f1(counts):.3f}"
    confusion_picture(counts, scores, title).save(file)


def confusion_picture(counts: NDArray[np.int64], scores: NDArray[np.int64], title: str) -> Image.Image:
    """The confusion matrix [C, C] of the test photos: its counts, shaded by their share of the row.

    If there are more than `NUMBERED` classes, the cells are smaller and have no counts, and only some rows and columns
    are named. Pillow draws it, because Matplotlib takes 70 to 90 ms, and Pillow 8.
    """
    font = _font(TEXT)
    totals = counts.sum(axis=1)
    rows = [f"{score} ({total})" for score, total in zip(scores, totals, strict=True)]
    cell = CELL if len(scores) <= NUMBERED else max(1, NUMBERED * CELL // len(scores))
    left = 2 * GAP + TEXT + GAP + round(max(map(font.getlength, rows))) + GAP
    top, side = 2 * GAP + TEXT, cell * len(scores)
    width = max(left + side + GAP, round(font.getlength(title)) + 2 * GAP)
    picture = Image.new("RGB", (width, top + side + 2 * (TEXT + GAP) + GAP), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((width / 2, GAP), title, "black", font, anchor="ma")
    picture.paste(_cells(counts, cell), (left, top))
    draw.rectangle((left - 1, top - 1, left + side, top + side), outline="black")
    widest = max(TEXT, *(font.getlength(str(score)) for score in scores))
    step = 1 if cell == CELL else math.ceil((widest + GAP) / cell)
    for place in range(0, len(scores), step):
        along = cell * (place + 0.5)
        draw.text((left - GAP, top + along), rows[place], "black", font, anchor="rm")
        draw.text((left + along, top + side + GAP), str(scores[place]), "black", font, anchor="ma")
    draw.text((left + side / 2, top + side + GAP + TEXT + GAP / 2), "assigned score", "black", font, anchor="ma")
    upright = _upright("score (test photos)")
    picture.paste(upright, (GAP, top + (side - upright.height) // 2))
    return picture.quantize(128, Image.Quantize.FASTOCTREE)  # a palette: a third of the bytes


def _cells(counts: NDArray[np.int64], size: int) -> Image.Image:
    """The matrix without words, each cell ``size`` pixels wide. Cells of `CELL` pixels show their counts."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shades = matplotlib.colormaps["Blues"](share, bytes=True)[:, :, :3]
    picture = Image.fromarray(shades.repeat(size, axis=0).repeat(size, axis=1))
    if size != CELL:
        return picture
    draw = ImageDraw.Draw(picture)
    for row, column in np.argwhere(counts > 0).tolist():
        colour = "white" if share[row, column] > 0.5 else "black"
        middle = size * (column + 0.5), size * (row + 0.5)
        draw.text(middle, str(counts[row, column]), colour, _font(COUNT), anchor="mm")
    return picture


def _upright(text: str) -> Image.Image:
    """The text, turned to be read from bottom to top."""
    font = _font(TEXT)
    picture = Image.new("RGB", (round(font.getlength(text)), TEXT + GAP // 2), "white")
    ImageDraw.Draw(picture).text((0, 0), text, "black", font)
    return picture.rotate(90, expand=True)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans from Matplotlib, so that the picture is the same on all machines."""
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
