"""The files of a round that people find in MLflow."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from rsrl_ray.core.folds import Fold
from rsrl_ray.core.metrics import NUMBERED
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.rounds.files import CELL, RoundFiles, confusion_picture, draw_again
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


IMAGES, SCORES = ["a", "b", "c", "d", "e"], np.array([2, 3, 3, 4, 3])
FOLD = Fold(0, np.array([0, 1]), np.array([2]), np.array([3, 4]))
ONES, CONV1 = np.ones(5, bool), {"weight": np.ones((1, 3, 2, 2), np.float32)}


def table_of(done: RoundResult, true: NDArray[np.int64] | None = None) -> pd.DataFrame:
    table = predictions(IMAGES, SCORES, FOLD, done, "sigmoid")
    return table if true is None else table.assign(true_score=true)


def test_a_round_leaves_three_files_and_a_picture_if_it_is_asked_for(tmp_path: Path) -> None:
    done = RoundResult(3, ONES, ~ONES, np.eye(5, 3, dtype=np.float32))  # assigns 2 3 4 2 2
    files = RoundFiles(table_of(RoundResult(1, ~ONES, ONES, np.zeros((5, 3), np.float32))), "sigmoid")
    files.write(tmp_path, done, CONV1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.csv", "conv1.npz", "predictions.parquet"]
    with np.load(tmp_path / "conv1.npz") as conv1:
        assert conv1["weight"].shape == (1, 3, 2, 2)
    files.draw(tmp_path, done, TrialKey(0, "none"))
    drawn = (tmp_path / "confusion.png").read_bytes()
    with Image.open(tmp_path / "confusion.png") as picture:
        assert (picture.format, picture.mode) == ("PNG", "P")
    counts = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 0]])
    confusion_picture(counts, np.array([2, 3, 4]), "none, fold 0, round 3: macro F 0.000").save(tmp_path / "same.png")
    assert (tmp_path / "same.png").read_bytes() == drawn
    draw_again(tmp_path / "predictions.parquet", tmp_path, TrialKey(0, "none"), 3)
    assert (tmp_path / "confusion.png").read_bytes() == drawn


def test_measures_of_the_classes_by_hand(tmp_path: Path) -> None:
    logits = np.zeros((5, 3), np.float32)
    files = RoundFiles(table_of(RoundResult(1, ONES, ~ONES, logits)), "sigmoid")
    files.write(tmp_path, RoundResult(2, ONES, ~ONES, logits, predicted=np.array([0, 0, 0, 1, 1], np.int16)), {})
    assert (tmp_path / "classes.csv").read_text().splitlines() == [
        "split,score,support,precision,recall,f1",
        *("validation,2,0,0,0,0", "validation,3,1,0,0,0", "validation,4,0,0,0,0"),
        *("test,2,0,0,0,0", "test,3,1,0.5,1,0.666667", "test,4,1,0,0,0"),
    ]
    assert not (tmp_path / "conv1.npz").exists()  # the first convolution is frozen


@pytest.mark.parametrize("true", [None, np.array([3, 3, 3, 4, 3])], ids=["", "noise"])
def test_the_table_that_is_written_is_the_one_that_pandas_would_write(
    tmp_path: Path, true: NDArray[np.int64] | None
) -> None:
    draws = np.random.default_rng(0)
    rounds = [
        RoundResult(number, draws.random(5) < 0.5, draws.random(5) < 0.5, draws.normal(size=(5, 3)).astype(np.float32))
        for number in (1, 2)
    ]
    RoundFiles(table_of(rounds[0], true), "sigmoid").write(tmp_path, rounds[1], {})
    table_of(rounds[1], true).to_parquet(tmp_path / "pandas.parquet", index=False)
    made, expected = (pq.read_table(tmp_path / name) for name in ("predictions.parquet", "pandas.parquet"))
    assert made.equals(expected, check_metadata=True)


@pytest.mark.parametrize("true", [None, np.array([3, 3, 3, 4, 3])], ids=["", "noise"])
def test_rounds_with_weights_and_without_may_come_in_any_order(tmp_path: Path, true: NDArray[np.int64] | None) -> None:
    logits, weights = np.eye(5, 3, dtype=np.float32), np.array([0.5, 0.25, 0, 0, 0], np.float32)
    plain = RoundResult(1, weights > 0, weights > 1, logits)
    weighed = replace(plain, number=2, weights=weights)
    for first in (plain, weighed):
        files = RoundFiles(table_of(first, true), "sigmoid")
        for done in (plain, weighed, plain):
            files.write(tmp_path, done, {})
            pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "predictions.parquet"), table_of(done, true))
    assert pq.read_table(tmp_path / "predictions.parquet").column_names == list(table_of(plain, true))
    files.write(tmp_path, weighed, {})
    column = pq.read_table(tmp_path / "predictions.parquet")["weight"]
    assert (str(column.type), column.to_pylist()) == ("float", [0.5, 0.25, None, None, None])
