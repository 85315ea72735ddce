"""The files that each round writes for people, into `rounds/NN/` in MLflow."""

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rsrl_ray.core.metrics import NUMBERED
from rsrl_ray.rounds.table import class_table, confusion
from rsrl_ray.tracking.names import CONV1, PREDICTIONS

CELL, GAP = 46, 8  # pixels: a cell of the confusion matrix, and the space between its parts
TEXT, COUNT = 15, 13  # pixels: the height of the font beside the cells and in them


def write_round(folder: Path, table: pd.DataFrame, conv1: Mapping[str, NDArray[Any]], title: str) -> None:
    """Write predictions.parquet, classes.csv, confusion.png and conv1.npz of one round.

    table : see `rsrl_ray.rounds.table.predictions`. conv1 : weight [K, 3, h, w], bias [K], stride and padding [2].
    It is empty if the first convolution is frozen; then no conv1.npz is written.
    """
    table.to_parquet(folder / PREDICTIONS, index=False)
    class_table(table).to_csv(folder / "classes.csv", index=False, float_format="%.6g")
    confusion_picture(confusion(table, "test"), np.unique(table["score"]), title).save(folder / "confusion.png")
    if conv1:
        np.savez(folder / CONV1, allow_pickle=False, **conv1)


def confusion_picture(counts: NDArray[np.int64], scores: NDArray[np.int64], title: str) -> Image.Image:
    """The confusion matrix [C, C] of the test photos: its counts, shaded by their share of the row.

    If there are more than `NUMBERED` classes, the cells are smaller and have no counts, and only some rows and columns
    are named. Pillow draws it, because Matplotlib takes 70 to 90 ms: more than all else that the driver does for a
    round, which would slow down a sweep with hundreds of trials.
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
