"""Contact sheets, and examples of two scores."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis.figures.conftest import CHOSEN, SCORES, texts_of
from matplotlib.figure import Figure
from PIL import Image

from rsrl_ray.analysis.figures.sheets import (
    PHOTO_PIXELS,
    assigned_examples,
    assigned_scores,
    history_sheet,
    low_and_high,
)
from rsrl_ray.analysis.figures.small_photos import SmallPhotos
from rsrl_ray.analysis.numbers.histories import history
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.photos.table import read_table


def _dropped(sweep: Sweep, table: Path) -> Figure:
    found = history(sweep, "paper")
    return history_sheet(sweep, found, found.dropped_most(), "dropped most often", SmallPhotos(table, PHOTO_PIXELS))


def _sheet(figure: Figure) -> list[list[str]]:
    """Heading, and the lines under each photo."""
    texts = texts_of(figure)
    starts = [place for place, text in enumerate(texts) if text.endswith(".png")] + [len(texts)]
    return [texts[: starts[0]], *(texts[start:end] for start, end in pairwise(starts))]


def test_the_sheet_of_the_photos_dropped_most_often(sweep: Sweep, table: Path) -> None:
    figure = _dropped(sweep, table)
    heading, first, second, third, fourth = _sheet(figure)
    assert heading == ["dropped most often"]
    assert first == ["2.png", "score 3 → 4", "confidence 0.20", "dropped 3 of 3"]
    assert second == ["3.png", "score 3 → 3", "confidence 0.70", "dropped 2 of 3"]
    assert third[:4] == ["7.png", "score 4 → 4", "confidence 0.80", "dropped 1 of 2"]
    assert fourth == ["8.png", "score 4 → 2", "confidence 0.40", "dropped 1 of 3"]
    pictures = figure.axes[0].images
    assert [np.unique(picture.get_array()).tolist() for picture in pictures] == [[40], [60], [140]]
    left, right, low, high = pictures[0].get_extent()
    assert (right - left) / (low - high) == pytest.approx(2)  # as the photo itself
    (why,) = (text for text in third if "missing" in text)
    assert "8.png" in re.sub(r"\s", "", why)


@pytest.mark.parametrize("kind", ["csv", "parquet", "AVA.txt", "folder per score"])
def test_every_kind_of_table_has_its_pictures_on_the_sheets(sweep: Sweep, tmp_path: Path, kind: str) -> None:
    """A folder per score had none of them."""
    folder = tmp_path / "data" / "photos"
    names = [f"{number}.jpg" if kind == "AVA.txt" else f"{score}/{number}.jpg" for number, score in enumerate(SCORES)]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 3), (90,) * 3).save(folder / name)
    table = {"csv": folder / "photos.csv", "parquet": folder / "photos.parquet", "AVA.txt": folder / "AVA.txt"}
    rows = pd.DataFrame({"image": names, "score": SCORES})
    rows.to_csv(folder / "photos.csv", index=False)
    rows.to_parquet(folder / "photos.parquet")
    votes = [["0"] * (score - 1) + ["9"] + ["0"] * (10 - score) for score in SCORES]
    ava = [f"{row} {row} {' '.join(counts)}" for row, counts in enumerate(votes)]
    (folder / "AVA.txt").write_text("\n".join(ava))
    path = table.get(kind, folder)
    images = read_table(path).images
    assert sorted(images) == sorted(names)
    named = replace(sweep, images=images)
    figure = _dropped(named, path)
    assert len(figure.axes[0].images) == 4 and not [text for text in texts_of(figure) if "missing" in text]


def test_a_table_that_is_gone_is_said_in_every_place(sweep: Sweep, tmp_path: Path) -> None:
    figure = _dropped(sweep, tmp_path / "gone" / "photos.csv")
    assert len([text for text in texts_of(figure) if text.startswith("missing (there")]) == 4


def test_the_sheet_of_the_photos_that_came_back(sweep: Sweep, table: Path) -> None:
    found = history(sweep, "paper")
    figure = history_sheet(sweep, found, found.came_back(), "back", SmallPhotos(table, PHOTO_PIXELS))
    heading, *photos = _sheet(figure)
    assert heading == ["back"]
    assert [lines[0] for lines in photos] == ["7.png", "3.png"]  # back after 1 round of 2, and of 3


def test_photos_assigned_to_a_low_and_a_high_score(sweep: Sweep, table: Path) -> None:
    figure = assigned_examples(sweep, assigned_scores(sweep, "paper", CHOSEN), [2, 4], SmallPhotos(table, PHOTO_PIXELS))
    assert texts_of(figure) == [
        "assigned to score 2 (2 test photos)",
        *("10.png", "score 2", "11.png", "score 2"),
        "assigned to score 4 (3 test photos)",
        *("1.png", "score 3", "6.png", "score 4", "7.png", "score 4"),
    ]
    assert [picture.get_array().max() for picture in figure.axes[0].images] == [200, 220, 20, 120, 140]


def test_examples_are_taken_evenly_in_whole_rows(sweep: Sweep, table: Path) -> None:
    trial = sweep.trials[0, "paper"]
    trial.split[:] = 2
    trial.predicted[2] = 4
    trial.predicted[2, 5:] = 3  # five of the one, seven of the other
    assigned = assigned_scores(sweep, "paper", {TrialKey(0, "paper"): 3})
    figure = assigned_examples(sweep, assigned, [4, 3], SmallPhotos(table, PHOTO_PIXELS))
    assert [text for text in texts_of(figure) if "png" in text and "missing" not in text] == [
        *("0.png", "1.png", "3.png", "4.png"),
        *("5.png", "7.png", "9.png", "11.png"),
    ]


def test_the_scores_of_the_examples() -> None:
    assert low_and_high(np.repeat([-1, 2, 3, 4, 7, 9], [9, 3, 4, 50, 4, 1])) == [3, 7]
    assert low_and_high(np.array([2, 5, 6])) == [2, 6]
    assert low_and_high(np.array([4, 4, -1])) == [4]
