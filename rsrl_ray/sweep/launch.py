"""From an experiment to a finished sweep: check everything, start Ray, run the trials, resume."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from ray import tune
from ray.tune.experiment import Trial

from rsrl_ray.config import Experiment, check_resources, recipe
from rsrl_ray.core.trial import Outcome, TrialKey
from rsrl_ray.display import Display
from rsrl_ray.method import check_own, methods_of
from rsrl_ray.store.location import Location
from rsrl_ray.store.locks import Held, locked
from rsrl_ray.store.processes import is_alive
from rsrl_ray.store.storage import probe_storage
from rsrl_ray.sweep.board import MLFLOW, STORAGE, read_aloud
from rsrl_ray.sweep.claims import Claims
from rsrl_ray.sweep.cluster import check_room, joined_cluster, quiet_ray
from rsrl_ray.sweep.common_storage import check_nodes
from rsrl_ray.sweep.crashes import kills_are_crashes
from rsrl_ray.sweep.lifeline import lifeline
from rsrl_ray.sweep.places import Places
from rsrl_ray.sweep.prepare import complete, keeps_all, prepare
from rsrl_ray.sweep.progress import Progress
from rsrl_ray.sweep.recorder import Recorder
from rsrl_ray.sweep.retention import Retention
from rsrl_ray.sweep.scheduler import SharingScheduler, chain
from rsrl_ray.sweep.task import Task, Trainers
from rsrl_ray.sweep.tracked import open_tracker, sweep_id, trials_of
from rsrl_ray.sweep.trainable import RSRLTrial
from rsrl_ray.sweep.trainers import NetworkTrainers
from rsrl_ray.sweep.watchdog import Watchdog
from rsrl_ray.tracking.entries import Trial as TrackedTrial
from rsrl_ray.tracking.stores import mlflow_uri
from rsrl_ray.tracking.write import Tracker


def run_sweep(
    experiment: Experiment,
    display: Display,
    skip_bad: bool = False,
    take_over: bool = False,
    trainers: Callable[[Task], Trainers] = NetworkTrainers,
) -> Outcome:
    """Run, continue or extend a sweep; returns when it has ended or was stopped by Ctrl-C.

    skip_bad : leave out photos that are no good. take_over : the experiment in MLflow from a process that has crashed.
    trainers : what trains in the place of networks, in each worker.

    A cluster is joined first, since its nodes help to read the photos, and have to share the storage; else everything
    that a user can get wrong is checked before Ray starts, unless it runs already (`rsrl_ray.sweep.ahead`). A finished
    round is never trained again while the archive holds it, so the same call resumes.

    Raises
    ------
    ValueError
        With what is wrong in the photos, the weights, the storage or the resources, and what to do.
    """

    def warn(line: str) -> None:
        display.said(line, "warning")

    check_resources(experiment)
    check_own(experiment)
    with _locked(experiment, display) as alone, joined_cluster(display) as joined:
        if joined:
            with display.started("looking whether all nodes share the storage"):
                check_nodes(experiment)
        task = prepare(experiment, display, skip_bad, joined, trainers)
        trials = trials_of(task)
        sweep, knobs = sweep_id(task), recipe(experiment)
        may_live = (lambda holder: False) if take_over else partial(is_alive, unseen=not alone)
        tracker, open_sweep = open_tracker(task, sweep, knobs, warn, may_live)
        methods = methods_of(experiment)
        chains = {key: chain(key.fold, methods[key.method], experiment.rounds) for key in trials}
        retention = Retention(sweep, chains, keeps_all(task), {key: methods[key.method].prediction for key in trials})
        with _killed_at_failure(tracker), quiet_ray(display), _scratch() as scratch, contextlib.ExitStack() as stack:
            claims = Claims()
            task = replace(task, claims=claims)
            recorder = Recorder(task, tracker, open_sweep, trials, retention)
            stack.enter_context(read_aloud(recorder.board, warn))
            places = Places(recorder.blame, display)
            progress = Progress(display, list(trials), experiment.rounds, may_wait=joined)

            def waits(trial: Trial) -> bool:
                return claims.waits(trial.config["trial"]["id"])

            def close(status: str) -> None:
                recorder.close(status)
                for line in recorder.board.closing():
                    warn(line)

            def leave(line: str) -> None:
                progress.close()
                display.said(line, "failure")
                close("KILLED")
                shutil.rmtree(scratch, ignore_errors=True)

            try:
                with lifeline(leave), kills_are_crashes():
                    check_room(experiment.resources, display)
                    task, left = complete(task, display, joined), trials
                    while left:
                        scheduler = SharingScheduler({key: chains[key] for key in left}, places=places)
                        _fit(task, left, scheduler, [recorder, progress, Watchdog(display, waits)], scratch)
                        places.check()
                        left = _again(left, recorder)
            except BaseException:
                close("KILLED")
                raise
            finally:
                progress.close()
                claims.close()
            stopped = [key for key in trials if key not in recorder.finished and key not in recorder.failed]
            status = "FAILED" if recorder.failed else "KILLED" if stopped else "FINISHED"
            close(status)
        lacks = recorder.board.lacks
        return Outcome(recorder.finished, recorder.failed, stopped, lacks(MLFLOW), lacks(STORAGE))


@contextlib.contextmanager
def _killed_at_failure(tracker: Tracker) -> Iterator[None]:
    """Leave no sweep RUNNING, and none that holds the experiment, where the body fails or is interrupted."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # MLflow may be away, or the sweep not be open yet
            tracker.end_sweep("KILLED")
        raise


def _again(trials: dict[TrialKey, TrackedTrial], recorder: Recorder) -> dict[TrialKey, TrackedTrial]:
    """Those that Ray has given up too early; none after Ctrl-C, which leaves trials that have not ended at all."""
    dropped = recorder.take_dropped()
    known = {*recorder.finished, *recorder.failed, *dropped}
    return {key: trials[key] for key in dropped} if known >= trials.keys() else {}


def _fit(
    task: Task,
    trials: dict[TrialKey, TrackedTrial],
    scheduler: SharingScheduler,
    callbacks: list[tune.Callback],
    scratch: str,
) -> None:
    """Run the trials until they have ended, or Ctrl-C; ``scratch`` is Ray's folder."""
    resources = {"cpu": task.experiment.resources.cpus, "gpu": float(task.experiment.resources.gpus)}
    points = [{"fold": fold, "method": name, "id": trial.id} for (fold, name), trial in trials.items()]
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(RSRLTrial, task=task), resources),
        param_space={"trial": tune.grid_search(points)},
        tune_config=tune.TuneConfig(
            metric=task.chosen_by,
            mode="max",
            scheduler=scheduler,
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=task.experiment.name,
            storage_path=tempfile.mkdtemp(dir=scratch),
            callbacks=callbacks,
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=-1),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
        ),
    )
    tuner.fit()


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """For Ray's own state, which is not needed to resume: the archive is."""
    return tempfile.TemporaryDirectory(prefix="rsrl-tune-", ignore_cleanup_errors=True)


@contextlib.contextmanager
def _locked(experiment: Experiment, display: Display) -> Iterator[bool]:
    """Make the storage and hold the experiment in it, so that two drivers do not write the same runs.

    Yields whether it is known by that that no other process of this machine tracks this experiment into its MLflow.
    """
    mlflow_uri(experiment)
    probe_storage(experiment.storage)
    storage = Location(experiment.storage)
    if storage.is_uri:  # the lease in MLflow holds it
        yield False
        return
    try:
        with locked(storage.path / f"{experiment.name}.lock") as missing:
            if missing is not None:
                cause = missing.strerror or missing
                display.said(f"locks are not available here ({cause}): see that only one sweep of this name runs")
            yield missing is None and experiment.mlflow is None  # whose store lies in the storage
    except Held as holder:
        raise ValueError(
            f"{experiment.name} in {storage} is being swept by another process ({holder}); wait for its end, or stop it"
        ) from holder
