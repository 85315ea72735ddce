"""A registered model as MLflow loads and asks it: it takes a table of photos, and gives a table of scores.

This module and all that it imports travel with the model. So they need neither ray nor the files of an experiment.
Models of older versions are loaded by the name of this module, so it must keep its name.
"""

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import safetensors
import safetensors.numpy

from rsrl_ray.config import Head, Precision
from rsrl_ray.core.decisions import Decision
from rsrl_ray.core.errors import first_line
from rsrl_ray.core.likelihood import Membership, likelihood
from rsrl_ray.core.prediction import averaged
from rsrl_ray.photos.picture import Interpolation
from rsrl_ray.photos.source import read_bytes
from rsrl_ray.vision.network import Weights
from rsrl_ray.vision.scorer import Judgement, Scorer, Settings

PATH, PHOTO = "path", "photo"
SCORE, ERROR, PROBABILITY, LIKELIHOOD = "score", "error", "probability_{}", "likelihood_{}"
WEIGHTS_FILE, SETTINGS_FILE = "weights.safetensors", "settings.json"
_URL_SAFE = str.maketrans("-_", "+/")
_DEFAULTS = {field.name: field.default for field in fields(Settings)}
DECISION, NETWORKS = "decision", "networks"  # in the settings, if the prediction is not the largest logit


class ScoringModel:
    """Scores the photos of a table."""

    def __init__(self, scorer: Scorer, decision: Decision | None = None) -> None:
        """Decision : makes classes of the networks' averaged logits; None for the largest logit of the only network."""
        self._scorer, self._decision = scorer, decision

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """One row for each photo: score, error, ``probability_<score>`` and ``likelihood_<score>`` for each class.

        table : with the columns ``path`` (a path or a URI) or ``photo`` (the bytes of a picture, or these as base64).
        Each row has one of the two. A photo that cannot be read has the cause as its ``error``, and None, which is
        null in JSON, for all numbers. Other photos have None as their error.

        Raises
        ------
        ValueError
            If the table has neither column.
        """
        if not {PATH, PHOTO} & set(table.columns):
            raise ValueError(
                f"the table has no column {PATH!r} (paths or URIs) or {PHOTO!r} (bytes); give one of them. "
                f"It has: {', '.join(map(repr, table.columns)) or 'no columns'}"
            )
        judged = self._scorer.judge([partial(_bytes_of, row) for row in table.to_dict("records")])
        return _answer(judged, self._scorer.settings, self._decision, table.index)


def save(folder: Path, networks: Sequence[Weights], settings: Settings, decision: Decision | None = None) -> None:
    """Write what `load` reads. ``networks`` : the weights of the networks that are averaged, the last round last."""
    folder.mkdir()
    for place, weights in enumerate(reversed(networks)):
        # safetensors writes arrays as they are in memory
        arrays = {name: np.asarray(array, order="C") for name, array in weights.items()}
        (folder / _weights_name(place)).write_bytes(safetensors.numpy.save(arrays))
    more = {} if decision is None else {DECISION: decision.as_dict(), NETWORKS: len(networks)}
    # older versions do not know the later settings, so these are left out at their defaults
    known = {field.name: getattr(settings, field.name) for field in fields(settings)}
    known = {name: value for name, value in known.items() if value != _DEFAULTS.get(name, MISSING)}
    (folder / SETTINGS_FILE).write_text(json.dumps(known | more, indent=1), "utf-8")


def _weights_name(place: int) -> str:
    """The file of the network ``place`` rounds before the chosen one."""
    return f"{place}-before-{WEIGHTS_FILE}" if place else WEIGHTS_FILE


def _load_pyfunc(folder: str) -> ScoringModel:
    """MLflow calls this name to load a model."""
    return load(Path(folder))


def load(folder: Path) -> ScoringModel:
    """Read what `save` has written. Raises ValueError if it is damaged."""
    try:
        settings = json.loads((folder / SETTINGS_FILE).read_text("utf-8"))
        settings |= {name: tuple(settings[name]) for name in ("scores", "mean", "std") if name in settings}
        decision, count = settings.pop(DECISION, None), settings.pop(NETWORKS, 1)
        decided = None if decision is None else Decision.of_dict(decision, len(settings["scores"]))
        checked = Settings(**settings)
        if not _holds_together(checked) or type(count) is not int or count < 1:
            raise ValueError("a value has a wrong type or range")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{SETTINGS_FILE} is damaged ({error!r})") from error
    try:
        names = [_weights_name(place) for place in reversed(range(count))]
        networks = [dict(safetensors.numpy.load((folder / name).read_bytes())) for name in names]
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise ValueError(f"{WEIGHTS_FILE} is damaged ({error})") from error
    try:
        return ScoringModel(Scorer(networks, checked), decided)
    except (ValueError, KeyError, TypeError, RuntimeError, AssertionError) as error:
        raise ValueError(f"{SETTINGS_FILE} and {WEIGHTS_FILE} do not fit together ({first_line(error)})") from error


def _holds_together(settings: Settings) -> bool:
    """Whether all settings have their types and ranges."""
    numbers = (settings.image_size, settings.threads, *settings.scores)
    memory = settings.photo_memory
    return (
        all(type(number) is int for number in numbers)
        and min(settings.image_size, settings.threads) > 0
        and type(memory) in (int, float)
        and memory > 0
        and isinstance(settings.backbone, str)
        and settings.precision in get_args(Precision)
        and settings.membership in get_args(Membership)
        and settings.device in ("cpu", "cuda")
        and settings.head in get_args(Head)
        and type(settings.standardise) is bool
        and settings.interpolation in get_args(Interpolation)
        and all(len(three) == 3 and all(map(math.isfinite, three)) for three in (settings.mean, settings.std))
    )


def _bytes_of(row: Mapping[Any, Any]) -> bytes:
    """The photo of a row. Raises ValueError if a row has none or two, or the photo cannot be read."""
    path, photo = (None if _missing(row.get(name)) else row[name] for name in (PATH, PHOTO))
    if path is not None and photo is not None:
        raise ValueError(f"both a {PATH} and a {PHOTO} are given; give one of them")
    if isinstance(path, str):
        return read_bytes(path)
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    if isinstance(photo, str):
        return _of_base64(photo)
    if path is not None or photo is not None:
        name, value, kind = (PATH, path, "text") if path is not None else (PHOTO, photo, "bytes or base64")
        raise ValueError(f"the {name} is {type(value).__name__}, not {kind}")
    raise ValueError(f"neither a {PATH} nor a {PHOTO} is given; give one of them")


def _of_base64(text: str) -> bytes:
    """Decode base64: standard or URL-safe, with or without padding, line breaks and ``data:image/...;base64,``."""
    plain = re.sub(r"^data:[^,]{0,100};base64,|\s", "", text, flags=re.IGNORECASE).rstrip("=")
    try:
        return base64.b64decode(plain.translate(_URL_SAFE) + "=" * (-len(plain) % 4), validate=True)
    except ValueError as error:
        raise ValueError(f"the {PHOTO} is text that is not base64 ({error})") from error


def _missing(value: Any) -> bool:
    """Whether a value is None, nan or empty, which is how tables and JSON say that there is none."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) or value in ("", b"")


def _answer(judged: Judgement, settings: Settings, decision: Decision | None, index: "pd.Index[Any]") -> pd.DataFrame:
    """The table of scores. If a photo has an error, its numbers are None, because JSON has no NaN.

    Likelihoods are those of the last network. Probabilities are those by which the decision is made.
    """
    bad = np.array([error != "" for error in judged.errors], dtype=bool)
    last = judged.logits[-1]
    if decision is None:
        classes, probabilities = last.argmax(axis=1), likelihood(last, "softmax")
    else:
        mean = averaged(list(judged.logits))
        classes, probabilities = decision(mean), decision.probabilities(mean)
    columns: dict[str, Any] = {SCORE: np.array(settings.scores)[classes]}
    for name, values in ((PROBABILITY, probabilities), (LIKELIHOOD, likelihood(last, settings.membership))):
        columns |= {name.format(score): values[:, place] for place, score in enumerate(settings.scores)}
    table = pd.DataFrame(columns, index=index)
    if bad.any():
        table = table.astype(object)  # in other types pandas turns None into nan
        table[bad] = None
    table.insert(1, ERROR, pd.Series([error or None for error in judged.errors], index, dtype=object))
    return table
