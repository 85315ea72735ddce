"""From an experiment to a finished sweep: check everything, start Ray, run or resume the trials."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial

from rsrl_ray.config import Experiment, check_resources
from rsrl_ray.core.trial import Outcome
from rsrl_ray.display import Display
from rsrl_ray.method import check_own
from rsrl_ray.store.location import Location
from rsrl_ray.store.locks import Taken, locked
from rsrl_ray.store.processes import is_alive
from rsrl_ray.store.storage import probe_storage
from rsrl_ray.sweep.driver.board import MLFLOW, STORAGE, read_aloud
from rsrl_ray.sweep.driver.lifeline import lifeline
from rsrl_ray.sweep.driver.prepare import complete, prepare
from rsrl_ray.sweep.driver.running import Running
from rsrl_ray.sweep.driver.tracked import open_tracker, sweep_run
from rsrl_ray.sweep.nodes.cluster import joined_cluster, quiet_ray
from rsrl_ray.sweep.nodes.common_storage import check_nodes
from rsrl_ray.sweep.nodes.room import check_room
from rsrl_ray.sweep.ray_insides.trials import kills_are_crashes
from rsrl_ray.sweep.task import Task, Trainers
from rsrl_ray.sweep.trial.trainers import NetworkTrainers
from rsrl_ray.tracking.stores import mlflow_uri
from rsrl_ray.tracking.write import Tracker


def run_sweep(
    experiment: Experiment,
    display: Display,
    skip_bad: bool = False,
    take_over: bool = False,
    trainers: Callable[[Task], Trainers] = NetworkTrainers,
) -> Outcome:
    """Run, continue or extend a sweep; returns when it has ended, or when Ctrl-C has stopped it.

    skip_bad : leave out bad photos. take_over : take the experiment in MLflow from a process that has crashed.
    trainers : makes the trainers in each worker; tests train without networks.

    If there is a cluster, it is joined first: its nodes help to read the photos, and they must share the storage. If
    not, all that a user can get wrong is checked before Ray starts (see `rsrl_ray.sweep.driver.ahead` for when it runs
    already). A finished round is not trained again as long as the archive has it, so the same call resumes.

    Raises
    ------
    ValueError
        What is wrong in the photos, the weights, the storage or the resources, and what to do.
    """

    def warn(line: str) -> None:
        display.said(line, "warning")

    check_resources(experiment)
    check_own(experiment)
    with _locked(experiment, display) as alone, joined_cluster(display) as joined:
        if joined:
            with display.started("checking that all nodes share the storage"):
                check_nodes(experiment)
        task = prepare(experiment, display, skip_bad, joined, trainers)
        may_live = (lambda process: False) if take_over else partial(is_alive, unseen=not alone)
        sweep = sweep_run(task)
        tracker = open_tracker(task, sweep, warn, may_live)
        with _killed_at_failure(tracker), quiet_ray(display):
            running = Running(task, tracker, sweep, display, may_wait=joined)
            with read_aloud(running.board, warn):
                return _run(running, task, display, joined)


def _run(running: Running, task: Task, display: Display, joined: bool) -> Outcome:
    """Run the trials of a sweep that is prepared and opened, and end it in good order whatever happens."""

    def close(status: str) -> None:
        running.close(status)
        for line in running.board.closing():
            display.said(line, "warning")

    # For Ray's own state. A sweep resumes from the archive, without it.
    with tempfile.TemporaryDirectory(prefix="rsrl-tune-", ignore_cleanup_errors=True) as scratch:

        def leave(line: str) -> None:
            running.progress.close()
            display.said(line, "failure")
            close("KILLED")
            shutil.rmtree(scratch, ignore_errors=True)

        try:
            with lifeline(leave), kills_are_crashes():
                check_room(task.experiment.resources, display)
                running.run(complete(task, display, joined), scratch)
        except BaseException:
            close("KILLED")
            raise
        finally:
            running.free()
        attempts, stopped = running.attempts, running.stopped
        close("FAILED" if attempts.failed else "KILLED" if stopped else "FINISHED")
    lacks = running.board.lacks
    return Outcome(attempts.finished, attempts.failed, stopped, lacks(MLFLOW), lacks(STORAGE))


@contextlib.contextmanager
def _killed_at_failure(tracker: Tracker) -> Iterator[None]:
    """If the body fails or is interrupted, mark the sweep KILLED, which also frees the experiment."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # MLflow may not answer, or the sweep may not be open yet
            tracker.end_sweep("KILLED")
        raise


@contextlib.contextmanager
def _locked(experiment: Experiment, display: Display) -> Iterator[bool]:
    """Make the storage and lock the experiment in it, so that two drivers do not write the same runs.

    Yields whether the lock proves that no other process of this machine tracks this experiment into its MLflow.
    """
    mlflow_uri(experiment)
    probe_storage(experiment.storage)
    storage = Location(experiment.storage)
    if storage.is_uri:  # the lease in MLflow protects it
        yield False
        return
    try:
        with locked(storage.path / f"{experiment.name}.lock") as missing:
            if missing is not None:
                cause = missing.strerror or missing
                display.said(f"locks are not available here ({cause}): make sure that only one sweep of this name runs")
            yield missing is None and experiment.mlflow is None  # then its store lies in the storage
    except Taken as holder:
        raise ValueError(
            f"{experiment.name} in {storage} is being swept by another process ({holder}); wait for its end, or stop it"
        ) from holder
