"""Rounds made by hand: twelve photos, two folds, the second still running."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from rsrl_ray.analysis.sweep.arrays import Sweep, TrialRounds
from rsrl_ray.core.trial import TrialKey

NAN = np.nan
SCORES = np.array([3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 2, 2])
CHOSEN = {TrialKey(0, "paper"): 3, TrialKey(1, "paper"): 2}


def _trial(fold: int, method: str, test: dict[int, list[int]], dropped: list[list[int]]) -> TrialRounds:
    """test : photo -> score assigned by round; dropped : photos by round. The photo beside the test ones validates."""
    rounds = len(dropped)
    split = np.zeros(12, np.int8)
    split[list(test)] = 2
    split[1 if fold == 0 else 6] = 1
    predicted = np.tile(SCORES, (rounds, 1))
    for photo, assigned in test.items():
        predicted[:, photo] = assigned
    kept = np.tile(split == 0, (rounds, 1))
    for row, photos in zip(kept, dropped, strict=True):
        row[photos] = False
    metrics = pd.DataFrame({"train_size": kept.sum(axis=1).astype(float)}, index=range(1, rounds + 1))
    confidence, seen = np.full((rounds, 12), 0.5, "f4"), kept.sum(axis=1).cumsum().astype(float)
    return TrialRounds(fold, method, "RUNNING", "", "", metrics, split, SCORES, seen, predicted, kept, confidence)


@pytest.fixture
def sweep() -> Sweep:
    first = _trial(0, "paper", {0: [3, 3, 3], 6: [3, 4, 4], 10: [3, 3, 2]}, [[], [2, 3, 7], [2, 8]])
    first.metrics["test_total_f1"] = [0.5, 5 / 3, 3.0]
    first.metrics["validation_macro_f1"] = [0.1, 0.2, 0.3]  # so that `CHOSEN` are chosen
    first.metrics["majority_share"] = [7 / 8, 4 / 5, 5 / 6]
    first.predicted[2, [2, 3, 8]] = [4, 3, 2]
    first.self_confidence[2, [2, 3, 7, 8]] = [0.1, 0.9, 0.8, 0.2]
    second = _trial(1, "paper", {1: [3, 4], 7: [3, 4], 11: [3, 2]}, [[], [2, 3]])
    second.metrics["test_total_f1"] = [0.5, 5 / 3]
    second.metrics["validation_macro_f1"] = [0.1, 0.2]
    second.metrics["majority_share"] = [7 / 8, 5 / 6]
    second.predicted[1, [2, 3]] = [4, 4]
    second.self_confidence[1, [2, 3, 8]] = [0.3, 0.5, 0.6]
    control = _trial(0, "none", {0: [3, 3, 3], 6: [3, 3, 3], 10: [3, 3, 3]}, [[], [], []])
    control.metrics["test_total_f1"] = [0.5, 0.5, 0.5]
    control.metrics["majority_share"] = [7 / 8, 7 / 8, 7 / 8]
    control.metrics["validation_macro_f1"] = [0.1, 0.1, 0.1]
    trials = {TrialKey(0, "paper"): first, TrialKey(1, "paper"): second, TrialKey(0, "none"): control}
    for trial in trials.values():
        trial.metrics["test_macro_f1"] = trial.metrics["test_total_f1"] / 3
    images = tuple(f"many/{place}.png" for place in range(12))
    return Sweep("made", "", images, SCORES, np.array([2, 3, 4]), 3, ("paper", "none"), (0, 1), trials, 2, ())


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of photos. Photo n is n * 20 grey, 6 x 3 pixels; photo 8 is not there."""
    folder = tmp_path / "photos" / "many"
    folder.mkdir(parents=True)
    for place in set(range(12)) - {8}:
        Image.new("RGB", (6, 3), (place * 20,) * 3).save(folder / f"{place}.png")
    return folder.parent / "photos.csv"


def lines_of(axes: Axes) -> list[tuple[list[float], list[float]]]:
    return [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in axes.lines]


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]
