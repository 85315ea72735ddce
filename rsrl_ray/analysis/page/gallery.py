"""Examples of highlight maps for a page: for every score the photos that the network is most sure of."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from rsrl_ray.analysis.numbers.measures import choose
from rsrl_ray.analysis.numbers.words import number
from rsrl_ray.analysis.page.pictures import Embedded, embedded
from rsrl_ray.analysis.sweep.arrays import TEST_PHOTO, TRAINING_PHOTO, Sweep, TrialRounds

PHOTOS_OF_A_SCORE = 2  # photos of each score
MAP_SIDE = 256  # pixels, the longer side of a map in the page
CAPTIONS = {"map": "highlight map", "null_map": "control", "edge_map": "edges", "random_map": "random weights"}


@dataclass(frozen=True)
class Examples:
    """Photos to make maps of, in round ``number`` of one trial against the round before."""

    photos: tuple[str, ...]
    fold: int
    method: str
    number: int


@dataclass(frozen=True)
class Card:
    """A photo of the gallery.

    text : what is known about its map, or why there is none. differs : whether the map differs from both control and
    edges. pictures : the map, the control, the photo's edges and, on one card, the map of random weights, as far as
    they are there.
    """

    photo: str
    score: int
    text: str
    differs: bool
    pictures: list[Embedded]


@dataclass(frozen=True)
class Gallery:
    """Cards of some examples. If there are none, ``reason`` says why.

    verdict, random : how much the maps are worth, in words, see `rsrl_ray.maps.sanity`.
    """

    cards: tuple[Card, ...] = ()
    examples: Examples | None = None
    reason: str = ""
    verdict: str = ""
    random: str = ""


def find_examples(sweep: Sweep) -> Examples:
    """`PHOTOS_OF_A_SCORE` test photos of every score.

    They are those of the first method that drops photos (if none does, of the first), in its first fold with two
    rounds, in the round that is chosen among those from 2 on. Raises ValueError if no trial has two rounds.
    """
    order = {method: place for place, method in enumerate(sweep.begun)}

    def rank(trial: TrialRounds) -> tuple[bool, int, int]:
        return bool(trial.kept[:, trial.split == TRAINING_PHOTO].all()), order[trial.method], trial.fold

    ready = [trial for trial in sweep.trials.values() if len(trial.kept) > 1]
    if not ready:
        raise ValueError("no trial has two rounds yet, and a map compares two")
    trial = min(ready, key=rank)
    chosen = choose([trial], sweep.criterion, first=2)[trial.key]
    return Examples(_surest(sweep, trial, chosen), trial.fold, trial.method, chosen)


def make_cards(sweep: Sweep, rows: pd.DataFrame, folder: Path) -> tuple[Card, ...]:
    """A card for every row. rows : with the columns of ``highlights.csv``. folder : where the maps lie."""
    scores = dict(zip(sweep.images, sweep.scores.tolist(), strict=True))
    return tuple(
        Card(row["photo"], scores[row["photo"]], remark(row), row["differs"] is True, _pictures(row, folder))
        for row in rows.to_dict("records")
    )


def remark(row: Mapping[Any, Any]) -> str:
    """What is known about a map; what is missing in the row is left out."""
    said = []
    if pd.notna(row["J"]):
        said.append(f"J {row['J']:.0f}, 1 − correlation {1 - row['correlation']:.1e}")  # noqa: RUF001
    known = {"control": row["agreement"], "edges": row["edges"]}
    ranks = [f"{number(value, 2)} with the {name}" for name, value in known.items() if pd.notna(value)]
    if ranks:
        said.append(f"rank correlation {', '.join(ranks)}")
    if row["reason"]:
        said.append(row["reason"])
    return "; ".join(said)


def _surest(sweep: Sweep, trial: TrialRounds, number: int) -> tuple[str, ...]:
    """The names of the test photos of the highest self-confidence in the round, score by score."""
    confidence, is_test = trial.self_confidence[number - 1], trial.split == TEST_PHOTO
    names: list[str] = []
    for score in sweep.classes:
        photos = np.flatnonzero((sweep.scores == score) & is_test)
        names += [
            sweep.images[photo] for photo in photos[np.argsort(-confidence[photos], kind="stable")][:PHOTOS_OF_A_SCORE]
        ]
    return tuple(names)


def _pictures(row: Mapping[Any, Any], folder: Path) -> list[Embedded]:
    """The pictures of a card that there are."""
    pictures = []
    for column, caption in CAPTIONS.items():
        if row[column]:
            with Image.open(folder / f"{row[column]}.png") as overlay:
                overlay.thumbnail((MAP_SIDE, MAP_SIDE))
                pictures.append(embedded(overlay, caption))
    return pictures
