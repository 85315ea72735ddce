"""Examples of highlight maps for a page: of every score the photos that the network is surest of."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from rsrl_ray.analysis.numbers import measures
from rsrl_ray.analysis.numbers.measures import begun
from rsrl_ray.analysis.sweep.read import Sweep, Trial
from rsrl_ray.config import Experiment
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.maps.sanity import random_words, verdict

EACH = 2  # photos of each score
SIDE = 256  # pixels, the longer side of a map in the page
CAPTIONS = {"map": "highlight map", "null_map": "control", "edge_map": "edges", "random_map": "random weights"}


@dataclass(frozen=True)
class Card:
    """A photo of the gallery and its row of ``highlights.csv``; nan and "" where there is no map or no control.

    pictures : the map, the control's, the photo's edges and, on one card, the map of random weights, by caption; those
        that there are.
    """

    photo: str
    score: int
    J: float
    correlation: float
    agreement: float
    edges: float
    differs: bool
    reason: str
    pictures: dict[str, Image.Image]


@dataclass(frozen=True)
class Gallery:
    """Cards of the rounds ``number`` and ``against`` of one trial; where there are none, ``reason`` says why.

    verdict, random : what the maps are worth, see `rsrl_ray.maps.sanity`.
    """

    cards: tuple[Card, ...]
    method: str = ""
    fold: int = 0
    number: int = 0
    against: int = 0
    reason: str = ""
    verdict: str = ""
    random: str = ""


def make_gallery(sweep: Sweep, experiment: Experiment, out: Path) -> Gallery:
    """Map `EACH` test photos of every score; writes what `highlight` writes to ``out``.

    Of the first method that drops photos (of the first of all, where none does), in its first fold with two rounds:
    the chosen one among its rounds from 2 on, against the one before.
    """
    from rsrl_ray.maps.highlights import highlight  # late: torch takes half a GB
    from rsrl_ray.maps.subject import Question

    trial = _trial(sweep)
    if trial is None:
        return Gallery((), reason="no trial has two rounds yet, and a map compares two")
    chosen = measures.choose([trial], measures.default_criterion(sweep), first=2)
    number = chosen[TrialKey(trial.fold, trial.method)]
    try:
        photos = _surest(sweep, trial, number)
        question = Question(photos, fold=trial.fold, method=trial.method, number=number)
        rows = highlight(experiment, question, out)
    except ValueError as error:
        return Gallery((), reason=str(error))
    scores = dict(zip(sweep.images, sweep.scores.tolist(), strict=True))
    cards = []
    for row in rows.to_dict("records"):
        photo = row["photo"]
        index, correlation, agreement, edges = (
            _number(row[name]) for name in ("J", "correlation", "agreement", "edges")
        )
        pictures = _pictures({caption: row[column] for column, caption in CAPTIONS.items()}, out)
        cards.append(
            Card(
                photo,
                scores[photo],
                index,
                correlation,
                agreement,
                edges,
                row["differs"] is True,
                row["reason"],
                pictures,
            )
        )
    return Gallery(
        tuple(cards), trial.method, trial.fold, number, number - 1, verdict=verdict(rows), random=random_words(rows)
    )


def _trial(sweep: Sweep) -> Trial | None:
    """The one that the maps are of."""
    ready = [trial for trial in sweep.trials.values() if len(trial.kept) > 1]
    order = {method: place for place, method in enumerate(begun(sweep))}

    def rank(trial: Trial) -> tuple[bool, int, int]:
        training = trial.kept[:, trial.split == measures.TRAIN]
        return bool(training.all()), order[trial.method], trial.fold

    return min(ready, key=rank, default=None)


def _surest(sweep: Sweep, trial: Trial, number: int) -> tuple[str, ...]:
    """By score, names of the test photos of the highest self-confidence in the round."""
    confidence = np.where(trial.split == measures.TEST, trial.self_confidence[number - 1], -1.0)
    names: list[str] = []
    for score in sweep.classes:
        photos = np.flatnonzero((sweep.scores == score) & (trial.split == measures.TEST))
        names += [sweep.images[photo] for photo in photos[np.argsort(-confidence[photos], kind="stable")][:EACH]]
    return tuple(names)


def _number(value: Any) -> float:
    return float(value) if pd.notna(value) else math.nan


def _pictures(paths: dict[str, str], out: Path) -> dict[str, Image.Image]:
    """The overlays that there are, by caption; paths : of the maps, "" where there is none."""
    pictures = {}
    for caption, path in paths.items():
        if path:
            with Image.open(out / f"{path}.png") as overlay:
                overlay.thumbnail((SIDE, SIDE))
                pictures[caption] = overlay.convert("RGB")
    return pictures
