"""The files of a round that people find in MLflow."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from rsrl_ray.core.folds import Fold
from rsrl_ray.core.metrics import NUMBERED
from rsrl_ray.rounds.files import CELL, confusion_picture, write_round
from rsrl_ray.rounds.loop import RoundResult
from rsrl_ray.rounds.table import predictions

COUNTS = np.array([[9, 1, 0], [0, 0, 0], [0, 0, 100]])


def cells(picture: Image.Image) -> list[list[np.ndarray]]:
    """The cells of 3 classes, 0 (black) to 255; they lie in the frame, which is black."""
    grey = np.asarray(picture.convert("L")).astype(int)
    rows = np.flatnonzero((grey < 40).sum(axis=1) >= 3 * CELL)
    columns = np.flatnonzero((grey < 40).sum(axis=0) >= 3 * CELL)
    assert (rows[-1] - rows[0], columns[-1] - columns[0]) == (3 * CELL + 1, 3 * CELL + 1)
    inside = grey[rows[0] + 1 : rows[-1], columns[0] + 1 : columns[-1]]
    return [np.split(row, 3, axis=1) for row in np.split(inside, 3)]


def test_cells_are_shaded_by_the_share_of_their_row_and_hold_their_count() -> None:
    found = cells(confusion_picture(COUNTS, np.array([2, 3, 7]), "paper, fold 0, round 3: macro F 0.344"))
    shade = [[int(cell[0, 0]) for cell in row] for row in found]
    assert shade[2][2] < shade[0][0] < 90 < shade[0][1] < shade[0][2]
    assert shade[1] == [shade[0][2]] * 3  # a score without test photos
    written = [[bool((cell != cell[0, 0]).any()) for cell in row] for row in found]
    assert written == [[True, True, False], [False, False, False], [False, False, True]]


def test_the_picture_of_many_classes_is_no_larger_and_holds_no_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """If each of 100 x 100 cells had a count, the thread that logs would need 0.7 s for a round."""
    counts, scores = np.full((100, 100), 888), np.arange(100)
    few = confusion_picture(counts[:NUMBERED, :NUMBERED], scores[:NUMBERED], "none")
    written: list[str] = []
    text = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda draw, place, what, *how, **more: written.append(what) or text(draw, place, what, *how, **more),
    )
    many = confusion_picture(counts, scores, "none")
    assert np.prod(many.size) < 1.1 * np.prod(few.size)
    assert written.count("888") == 0 and len(written) < 100
    assert {"0 (88800)", "0", "none", "assigned score"} <= set(written)


def test_a_long_title_is_not_cut_off() -> None:
    title = "a schedule with a very long name indeed, müde und groß, fold 0, round 3: macro F 0.344"
    wide = np.asarray(confusion_picture(COUNTS, np.array([2, 3, 7]), title).convert("L"))
    assert (wide[:, :4] > 250).all() and (wide[:, -4:] > 250).all()
    assert wide.shape[1] > 600


def test_a_round_leaves_four_files(tmp_path: Path) -> None:
    scores, ones = np.array([2, 3, 3, 4]), np.ones(4, bool)
    fold = Fold(0, np.array([0, 1]), np.array([2]), np.array([3]))
    table = predictions(
        ["a", "b", "c", "d"], scores, fold, RoundResult(1, ones, ~ones, np.eye(4, 3, dtype=np.float32)), "sigmoid"
    )
    write_round(tmp_path, table, {"weight": np.ones((1, 3, 2, 2), np.float32)}, "none, fold 0, round 1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "classes.csv",
        "confusion.png",
        "conv1.npz",
        "predictions.parquet",
    ]
    with Image.open(tmp_path / "confusion.png") as picture:
        assert (picture.format, picture.mode) == ("PNG", "P")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "predictions.parquet"), table)
    with np.load(tmp_path / "conv1.npz") as conv1:
        assert conv1["weight"].shape == (1, 3, 2, 2)
