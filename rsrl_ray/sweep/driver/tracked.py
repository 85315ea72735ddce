"""A sweep as MLflow knows it: its trials, what its own run says, and the tracker that writes it."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import yaml

from rsrl_ray.core.folds import Fold
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.identity import data_digest, photos_digest, recipe, trial_ids, weights_digest
from rsrl_ray.method import methods_of
from rsrl_ray.photos.photo_set import PhotoSet
from rsrl_ray.store.location import Location, redacted
from rsrl_ray.store.processes import is_alive
from rsrl_ray.sweep.task import Task
from rsrl_ray.tracking.entries import FoldData, SweepRun, Trial
from rsrl_ray.tracking.find import changed_knobs
from rsrl_ray.tracking.lease import MayLive
from rsrl_ray.tracking.names import CHOOSES, DATA, FOLDS_FILE, GROUPS, LEFT_OUT_FILE, TABLE, WEIGHTS
from rsrl_ray.tracking.read import artifacts_root
from rsrl_ray.tracking.stores import mlflow_uri
from rsrl_ray.tracking.write import Say, Tracker


def trials_of(task: Task) -> dict[TrialKey, Trial]:
    """The trials, method by method: the folds of a method share nothing, so none waits for another."""
    experiment, methods = task.experiment, methods_of(task.experiment)
    fingerprint = data_digest(task.photos.fingerprint, task.photos.scores.tolist())
    splits = {fold.number: _splits(task, fold) for fold in task.folds}
    trials = {}
    for key, name in trial_ids(task.experiment, task.sweep_id()).items():
        method = methods[key.method]
        tags = {
            **method.params,
            "network": experiment.network.backbone,
            DATA: fingerprint,
        }
        note = f"Method {key.method}: {method}. Under chosen/: what it measures at its best round so far."
        trials[key] = Trial(name, key, tags, note, splits[key.fold])
    return trials


def _splits(task: Task, fold: Fold) -> tuple[FoldData, ...]:
    """A fold's photos as data sets, with their scores in this fold."""
    scores, images = task.scores_in(fold), np.array(task.photos.images, dtype=object)
    found = []
    for context, rows in (("train", fold.train), ("validation", fold.validation), ("test", fold.test)):
        if len(rows):
            present, counts = np.unique(scores[rows], return_counts=True)
            by_score = dict(zip(present.tolist(), counts.tolist(), strict=True))
            names = zip(images[rows], scores[rows].tolist(), strict=True)
            found.append(FoldData(context, photos_digest(names), task.experiment.photos, by_score))
    return tuple(found)


def open_tracker(task: Task, sweep: SweepRun, warn: Say, may_live: MayLive = is_alive) -> Tracker:
    """The tracker, in which the ``sweep`` is opened, unless its server does not answer yet.

    Raises ValueError if another process sweeps into the experiment, or if a local store cannot be opened.
    """
    experiment = task.experiment
    where = Location(mlflow_uri(experiment))
    tracker = Tracker(where.text, experiment.name, artifacts_root(experiment), warn, may_live)
    try:
        newest = tracker.newest()
        tracker.open_sweep(sweep)
    except ValueError:
        raise
    except Exception as error:
        if not where.is_served:
            raise ValueError(f"mlflow: cannot open {where}: {redacted(str(error))}") from error
        warn(f"MLflow at {where} does not answer; rounds are logged there when it does.")
        newest = None
    if newest is not None and newest[0] != sweep.id:
        changed = "; ".join(changed_knobs(newest[1], dict(sweep.params)))
        changed = changed or "the photos, their scores or groups, or the starting weights"
        warn(f"new trials, because the file has changed: {changed}")
    return tracker


def sweep_run(task: Task) -> SweepRun:
    """What the sweep's own run in MLflow says."""
    experiment, photos, sweep = task.experiment, task.photos, task.sweep_id()
    files = {
        "experiment.yaml": redacted(yaml.safe_dump(asdict(experiment), sort_keys=False)),
        FOLDS_FILE: folds_csv(photos, task.folds),
    }
    if photos.problems:
        files[LEFT_OUT_FILE] = redacted("\n".join(map(str, photos.problems)) + "\n")
    note = (
        f"RSRL sweep of {len(photos.images):,} photos; one child run for each fold and method. Under chosen/METHOD/: "
        "mean, sd, low and high over the folds, each at its chosen round."
    )
    pairs = zip(photos.images, photos.scores.tolist(), strict=True)
    tags = {TABLE: photos_digest(pairs), WEIGHTS: weights_digest(experiment), CHOOSES: task.chooses}
    if photos.group_names:
        tags[GROUPS] = photos.group_names
    trials = {name: key for key, name in trial_ids(experiment, sweep).items()}
    former = "" if photos.groups is None else task.sweep_id(dealing=1)
    scores = tuple(photos.classes.tolist())
    return SweepRun(sweep, recipe(experiment), note, files, tags, trials, scores, experiment.rounds, former)


def folds_csv(photos: PhotoSet, folds: list[Fold]) -> str:
    """One row for each photo: image, score, and its split in every fold."""
    table = pd.DataFrame({"image": photos.images, "score": photos.scores})
    for fold in folds:
        split = np.full(len(table), "train", dtype=object)
        split[fold.validation], split[fold.test] = "validation", "test"
        table[f"fold_{fold.number}"] = split
    return table.to_csv(index=False)
