"""What MLflow holds of a sweep, read back: states, tables and curves."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlencode

import mlflow
import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from rsrl_ray.config import Experiment
from rsrl_ray.store.locks import is_alive
from rsrl_ray.tracking.names import DATABASE, DRIVER, LOGGED, REASON, SWEEP, TRIAL, key_tag, predictions_path
from rsrl_ray.tracking.write import Tracker, mlflow_uri

T = TypeVar("T")


@dataclass(frozen=True)
class TrialState:
    """What MLflow holds of a trial: its status, why it failed, and the history of its metrics by round."""

    fold: int
    schedule: str
    status: str
    reason: str
    history: dict[str, dict[int, float]]


@dataclass(frozen=True)
class TrackedRun:
    """A run to read from: a sweep's parent run (``fold`` -1, no schedule), or one trial's.

    rounds : how many rounds of the trial are wholly logged. metrics : the names of its metrics.
    params : of a parent run, the sweep's recipe as text; of a trial's, its fold, schedule and tags.
    """

    id: str
    fold: int
    schedule: str
    status: str
    reason: str
    rounds: int
    metrics: tuple[str, ...]
    params: Mapping[str, str]
    artifacts: str


def open_results(experiment: Experiment) -> "Results":
    """The results of an experiment that was begun already.

    Raises
    ------
    ValueError
        Where nothing was tracked yet, or the store cannot be reached.
    """
    uri = mlflow_uri(experiment)
    if experiment.mlflow is None and not Path(experiment.storage, DATABASE).exists():
        raise ValueError(f"no results in {experiment.storage} yet; run `rsrl sweep` on the file first")
    try:
        return Results(uri, experiment.name)
    except MlflowException as error:
        raise ValueError(f"mlflow: {uri} does not answer: {error}") from error


class Results(Tracker):
    """The MLflow store of one experiment, to read from and to add an analysis to."""

    def states(self) -> list[TrialState]:
        """The trials of the newest sweep, in the order they were begun; empty where there is no sweep yet."""
        sweeps = self._sweeps()
        dead = bool(sweeps) and not is_alive(sweeps[0].data.tags.get(DRIVER, ""))
        return [self._state(run, dead) for run in self._children()]

    def predictions(self) -> dict[tuple[int, str], list[pd.DataFrame]]:
        """By (fold, schedule), the newest sweep's ``predictions.parquet`` of the rounds 1, 2, ..."""
        tables: dict[tuple[int, str], list[pd.DataFrame]] = {}
        with tempfile.TemporaryDirectory(prefix="rsrl-") as folder:
            for run in self._children():
                tags = run.data.tags
                trial = tables.setdefault((int(tags["fold"]), tags["schedule"]), [])
                for number in range(1, int(tags.get(LOGGED, 0)) + 1):
                    path = predictions_path(number)
                    trial.append(pd.read_parquet(self._client.download_artifacts(run.info.run_id, path, folder)))
        return tables

    def sweep_runs(self) -> list[TrackedRun]:
        """The parent runs of this experiment, newest first."""
        with _asked("the sweeps"):
            return [_tracked(run, False) for run in self._sweeps()]

    def trial_runs(self, parent: str) -> list[TrackedRun]:
        """The trials of the sweep with the parent run ``parent``, in the order they were begun."""
        with _asked("the trials"):
            tags = self._client.get_run(parent).data.tags
            runs = self._search(f"tags.`{SWEEP}` = '{tags[SWEEP]}' and tags.`{TRIAL}` != ''")
        dead = not is_alive(tags.get(DRIVER, ""))
        return [_tracked(run, dead) for run in reversed(runs)]

    def history(self, run: TrackedRun, metric: str) -> dict[int, float]:
        """A metric by round. May be called by several threads at once."""
        with _asked(metric):
            return {point.step: point.value for point in self._client.get_metric_history(run.id, metric)}

    def archive_key(self, run: TrackedRun, number: int) -> str | None:
        """The archive's key of round ``number`` of a trial."""
        with _asked(f"run {run.id}"):
            key: str | None = self._client.get_run(run.id).data.tags.get(key_tag(number))
            return key

    def read_artifact(self, run: TrackedRun, path: str, read: Callable[[Path], T]) -> T:
        """What ``read`` makes of a local copy of the run's artifact at ``path``. May be called by several threads.

        Raises
        ------
        ValueError
            Where the artifact is not to be had, or ``read`` can make nothing of it.
        """
        where = f"{run.artifacts}/{path}"
        with tempfile.TemporaryDirectory(prefix="rsrl-") as folder, _asked(where):
            copy = mlflow.artifacts.download_artifacts(
                artifact_uri=where, dst_path=folder, tracking_uri=self._client.tracking_uri
            )
            return read(Path(copy))

    def log_folder(self, run_id: str, folder: Path, path: str) -> None:
        """Log a folder's files as artifacts of a run, under ``path``."""
        with _asked(f"the artifacts of run {run_id}"):
            self._client.log_artifacts(run_id, str(folder), path)

    def pages(self, server: str) -> dict[str, str]:
        """Addresses in MLflow's UI at ``server``: the runs, and macro F by round for the newest sweep's trials."""
        experiment, runs = self._experiment_id(), [run.info.run_id for run in self._children()]
        plot = {
            "runs": runs,
            "metric": "validation_macro_f1",
            "experiments": [experiment],
            "plot_metric_keys": ["validation_macro_f1", "test_macro_f1"],
            "plot_layout": {"autosize": True, "xaxis": {}, "yaxis": {}},
            "deselected_curves": [],
            "last_linear_y_axis_range": [],
        }
        query = urlencode({name: json.dumps(value) for name, value in plot.items()}, quote_via=quote)
        return {
            "runs": f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning",
            "macro F by round": f"{server}/#/metric?{query}&x_axis=step&line_smoothness=1&show_point=true",
        }

    def _children(self) -> list[Run]:
        """The newest sweep's trials, in the order they were begun."""
        sweeps = self._sweeps()
        if not sweeps:
            return []
        sweep = sweeps[0].data.tags[SWEEP]
        return self._search(f"tags.`{SWEEP}` = '{sweep}' and tags.`{TRIAL}` != ''")[::-1]

    def _state(self, run: Run, dead: bool) -> TrialState:
        names = ("validation_macro_f1", "test_macro_f1", "train_size")
        history = {
            name: {point.step: point.value for point in self._client.get_metric_history(run.info.run_id, name)}
            for name in names
        }
        status = "INTERRUPTED" if dead and run.info.status == "RUNNING" else run.info.status
        tags = run.data.tags
        return TrialState(int(tags["fold"]), tags["schedule"], status, tags.get(REASON, ""), history)


@contextlib.contextmanager
def _asked(what: str) -> Iterator[None]:
    """MLflow's and the files' errors as a `ValueError` that says what was to be read."""
    try:
        yield
    except (MlflowException, OSError, ValueError) as error:
        raise ValueError(f"mlflow: {what} cannot be read: {error}") from error


def _tracked(run: Run, dead: bool) -> TrackedRun:
    """``dead``: the sweep's process is known to be gone, so a run that is marked RUNNING is not."""
    tags = run.data.tags
    return TrackedRun(
        id=run.info.run_id,
        fold=int(tags.get("fold", -1)),
        schedule=tags.get("schedule", ""),
        status="INTERRUPTED" if dead and run.info.status == "RUNNING" else run.info.status,
        reason=tags.get(REASON, ""),
        rounds=int(tags.get(LOGGED, 0)),
        metrics=tuple(run.data.metrics),
        params=run.data.params,
        artifacts=run.info.artifact_uri,
    )
