"""The photos of a sweep: loaded with a progress bar, and how they fall into folds."""

from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from rsrl_ray.config import Experiment
from rsrl_ray.core.folds import Fold
from rsrl_ray.terminal import photo_progress
from rsrl_ray.vision.photos import PhotoSet, load_photos


def load(experiment: Experiment, console: Console, skip_bad: bool) -> PhotoSet:
    """Load the experiment's photos, decoded once into a cache in storage (or at home, where storage is a bucket)."""
    remote = "://" in experiment.storage
    cache = Path.home() / ".cache" / "rsrl_ray" if remote else Path(experiment.storage)
    with photo_progress(console) as report:
        photos = load_photos(
            experiment.photos,
            experiment.network.image_size,
            cache / "photos",
            skip_bad=skip_bad,
            progress=report,
        )
    for note in photos.notes:
        console.print(f"[yellow]note:[/] {note}")
    if photos.left_out:
        console.print(f"[yellow]{len(photos.left_out)} photos left out; left_out.txt in MLflow lists them.[/]")
    return photos


def describe_folds(photos: PhotoSet, count: int) -> list[str]:
    """Classes with fewer photos than there are folds: allowed, and missing from some test sets."""
    sizes = np.bincount(photos.labels)
    small = [f"{score} ({size})" for score, size in zip(photos.classes, sizes, strict=True) if size < count]
    return [f"fewer photos than folds, so missing from some test sets: score {', '.join(small)}"] if small else []


def folds_csv(photos: PhotoSet, folds: list[Fold]) -> str:
    """One row per photo: image, score, and for every fold the split it is in."""
    table = pd.DataFrame({"image": photos.images, "score": photos.scores})
    for fold in folds:
        split = np.full(len(table), "train", dtype=object)
        split[fold.validation], split[fold.test] = "validation", "test"
        table[f"fold_{fold.number}"] = split
    return table.to_csv(index=False)
