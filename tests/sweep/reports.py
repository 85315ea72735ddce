"""Rounds as trials report them, and photos, made up."""

from pathlib import Path
from typing import Any

import numpy as np

from rsrl_ray.core.trial import Origin, TrialKey
from rsrl_ray.photos.photo_set import PhotoSet
from rsrl_ray.sweep.report import Report

FIRM = TrialKey(0, "firm")
ORIGIN = Origin("start", "cpu", ("2",))


def report(number: int, **told: Any) -> Report:
    """Round ``number``, and what is told of it otherwise than usual."""
    usual: dict[str, Any] = {
        "key": f"key{number}",
        "parent_key": "",
        "weights": "",
        "origin": ORIGIN,
        "created": 0.0,
        "made": True,
        "metrics": {"seconds": 1.0},
        "value": 0.5,
        "note": "",
        "last": False,
    }
    return Report(**{"trial": FIRM, "number": number} | usual | told)


def carried(fold: int, *methods: str) -> dict[str, Any]:
    """The configuration of a trial of Tune that carries these trials."""
    return {"trial": {"fold": fold, "methods": list(methods), "ids": [f"{fold}-{method}" for method in methods]}}


def six_photos(folder: Path) -> PhotoSet:
    """Photos of two scores by turns, whose pixels nobody asks for."""
    names, scores = tuple("abcdef"), np.array([2, 3, 2, 3, 2, 3])
    return PhotoSet(names, scores, (), (), fingerprint="8f", sources=names, pixels_path=folder, image_size=8)
