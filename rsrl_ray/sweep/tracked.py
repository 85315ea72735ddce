"""A sweep as MLflow knows it: its id, its trials, and the tracker that is told of it."""

from collections.abc import Callable

import yaml

from rsrl_ray.config import digest, recipe
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.method import methods_of
from rsrl_ray.store.location import Location, redacted
from rsrl_ray.sweep.photos import folds_csv
from rsrl_ray.sweep.task import Task
from rsrl_ray.tracking import write as tracking
from rsrl_ray.tracking.find import changed_knobs, photos_digest, weights_digest
from rsrl_ray.tracking.names import FOLDS, LEFT_OUT, TABLE, WEIGHTS
from rsrl_ray.tracking.read import artifacts_root
from rsrl_ray.tracking.stores import mlflow_uri


def sweep_id(task: Task) -> str:
    """What makes trials the same trials: recipe, photos, scores, groups and starting weights, wherever these lie."""
    knobs = {name: value for name, value in recipe(task.experiment).items() if name != "network.weights"}
    data = [task.photos.fingerprint, task.photos.scores.tolist()]
    if task.photos.groups is not None:
        data.append(task.photos.groups.tolist())
    return digest({"recipe": knobs, "data": data, "start": task.start_digest})


def trials_of(task: Task) -> dict[TrialKey, tracking.Trial]:
    """Fold by method; the folds of a method first, since they share nothing and need not wait."""
    experiment, sweep = task.experiment, sweep_id(task)
    fingerprint = digest([task.photos.fingerprint, task.photos.scores.tolist()])
    trials = {}
    for name, method in methods_of(experiment).items():
        tags = {
            **method.params,
            "network": experiment.network.backbone,
            "data_fingerprint": fingerprint,
        }
        for fold in experiment.fold_numbers():
            identity = digest({"sweep": sweep, "fold": fold, "schedule": name, **method.identity})
            key = TrialKey(fold, name)
            trials[key] = tracking.Trial(identity, key, tags)
    return trials


def open_tracker(
    task: Task, sweep: str, knobs: dict[str, object], warn: Callable[[str], None], take_over: bool = False
) -> tuple[tracking.Tracker, Callable[[], None]]:
    """The tracker, and what opens the sweep's parent run in it: at once, or once the server is back."""
    experiment = task.experiment
    where = Location(mlflow_uri(experiment))
    tracker = tracking.Tracker(where.text, experiment.name, artifacts_root(experiment), warn, take_over)
    own = _sweep_run(task, sweep, knobs)

    def open_sweep() -> None:
        tracker.open_sweep(own)

    try:
        newest = tracker.newest()
        open_sweep()
    except ValueError:
        raise
    except Exception as error:
        if not where.is_served:
            raise ValueError(f"mlflow: cannot open {where}: {redacted(str(error))}") from error
        warn(f"MLflow at {where} does not answer; rounds are logged there once it does.")
        newest = None
    if newest is not None and newest[0] != sweep:
        changed = "; ".join(changed_knobs(newest[1], knobs))
        warn(f"new trials, since the file has changed: {changed or 'the photos, their scores or the starting weights'}")
    return tracker, open_sweep


def _sweep_run(task: Task, sweep: str, knobs: dict[str, object]) -> tracking.SweepRun:
    """What MLflow is told of the sweep."""
    experiment, photos = task.experiment, task.photos
    files = {
        "experiment.yaml": redacted(yaml.safe_dump(experiment.as_dict(), sort_keys=False)),
        FOLDS: folds_csv(photos, task.folds),
    }
    if photos.left_out:
        files[LEFT_OUT] = redacted("\n".join(map(str, photos.left_out)) + "\n")
    note = f"RSRL sweep of {len(photos.images):,} photos; one child run for each fold and method."
    pairs = zip(photos.images, photos.scores.tolist(), strict=True)
    return tracking.SweepRun(
        sweep, knobs, note, files, {TABLE: photos_digest(pairs), WEIGHTS: weights_digest(experiment)}
    )
