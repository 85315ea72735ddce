"""What MLflow holds of an experiment's sweeps, read back; nothing is made or changed by reading."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlencode

import mlflow.artifacts
import pandas as pd
from mlflow.entities import Run

from rsrl_ray.config import Experiment
from rsrl_ray.core.selection import TEST, VALIDATION, Curve, curve_of
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.photos.table import public_name
from rsrl_ray.store.processes import is_alive
from rsrl_ray.store.storage import artifact_place
from rsrl_ray.tracking import views
from rsrl_ray.tracking.chains import newest
from rsrl_ray.tracking.histories import histories
from rsrl_ray.tracking.mlflow_insides import log_files
from rsrl_ray.tracking.names import CHOSEN, DRIVER, FOLDS_FILE, LOGGED, REASON, SWEEP
from rsrl_ray.tracking.places import run_place
from rsrl_ray.tracking.runs import method_of_run, opened, parents, trials
from rsrl_ray.tracking.stores import asked, find_experiment, is_service, mlflow_uri, open_to_read

T = TypeVar("T")


@dataclass(frozen=True)
class Artifacts:
    """A run's artifacts, to be read in any process. uri : of the store. place : URI, where they lie now."""

    uri: str
    place: str

    def read(self, path: str, read: Callable[[Path], T]) -> T:
        """What ``read`` makes of the artifact at ``path``, which it must not change; raises ValueError."""
        where = f"{self.place}/{path}"
        is_here = where.startswith("file:")  # it is read where it lies
        copies = nullcontext() if is_here else tempfile.TemporaryDirectory(prefix="rsrl-")
        with asked(self.uri, f"{where} cannot be read"), copies as folder:
            try:
                copy = mlflow.artifacts.download_artifacts(artifact_uri=where, dst_path=folder, tracking_uri=self.uri)
                return read(Path(copy))
            except Exception as error:  # what a broken file makes its readers raise
                raise OSError(f"{type(error).__name__}: {error}") from error

    def read_text(self, path: str) -> str:
        """The artifact at ``path``, in UTF-8."""
        return self.read(path, lambda file: file.read_text("utf-8"))


@dataclass(frozen=True)
class TrackedRun:
    """A run to read from: a sweep's parent run (``fold`` -1, no method), or one trial's.

    status : FINISHED, RUNNING, INTERRUPTED (its process is known to be gone), FAILED or KILLED; reason : why it failed.
    rounds : how many rounds of the trial are wholly logged. metrics : the names of those that it has by round.
    params : of a parent run, the sweep's recipe as text; of a trial's, its fold, method and tags.
    """

    id: str
    fold: int
    method: str
    status: str
    reason: str
    rounds: int
    metrics: tuple[str, ...]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    artifacts: Artifacts

    @property
    def key(self) -> TrialKey:
        """The trial that it is of."""
        return TrialKey(self.fold, self.method)

    def photos(self) -> pd.DataFrame:
        """The photos of a sweep's parent run, in its order: image, score. Older versions noted the keys of URIs too."""
        columns = {"image": str, "score": int}

        def read(file: Path) -> pd.DataFrame:
            return pd.read_csv(file, usecols=list(columns), dtype=columns, keep_default_na=False)  # "" stays a text

        table = self.artifacts.read(FOLDS_FILE, read)
        return table.assign(image=table["image"].map(public_name))


def artifacts_root(experiment: Experiment) -> str | None:
    """URI of the artifacts of an experiment that MLflow itself writes to; None if a tracking server knows."""
    # A database has no place for files: by default MLflow would put them into the working folder.
    return None if is_service(mlflow_uri(experiment)) else artifact_place(experiment.storage)


def open_results(experiment: Experiment, name: str = "") -> "TrackedResults":
    """The results of an experiment that was begun. name : that of another one in the same MLflow.

    Raises
    ------
    ValueError
        If nothing was tracked yet, or the store cannot be reached.
    """
    name = name or experiment.name
    missing = f"no results of {name} yet; run `rsrl sweep` on the file first"
    return TrackedResults(mlflow_uri(experiment), name, artifacts_root(experiment), missing)


class TrackedResults:
    """The MLflow store of one experiment, to read from and to add an analysis to; may be used by several threads.

    Every method raises ValueError if the store cannot be reached or does not hold what is asked for.
    """

    def __init__(self, uri: str, experiment: str, artifacts: str | None, missing: str) -> None:
        """Open the store; ``missing`` is what is said if there is none, or no such experiment in it."""
        self.uri, self._artifacts = uri, artifacts
        self._client = open_to_read(uri, missing)
        with asked(uri):
            found = find_experiment(self._client, experiment)
        if found is None:
            raise ValueError(missing)
        self.experiment_id = str(found.experiment_id)

    def sweep_runs(self) -> list[TrackedRun]:
        """The parent runs of this experiment, the one that was taken up last first."""
        with asked(self.uri):
            runs = parents(self._client, self.experiment_id)
        return [self._tracked(run, False) for run in sorted(runs, key=opened, reverse=True)]

    def trial_runs(self, parent: TrackedRun) -> list[TrackedRun]:
        """The trials of a sweep in the order in which they were taken up; of several chains of a trial the newest."""
        dead = not is_alive(parent.tags.get(DRIVER, ""))
        return [self._tracked(run, dead) for run in newest(self.chains(parent))]

    def chains(self, parent: TrackedRun) -> list[Run]:
        """The runs of all chains of rounds of a sweep's trials."""
        with asked(self.uri, f"run {parent.id}"):
            return trials(self._client, self.experiment_id, parent.tags[SWEEP])

    def curves(self, runs: Sequence[TrackedRun], metric: str) -> dict[str, Curve]:
        """A metric by round, [R], by run id, R the rounds that the run is cut to; nan if a round has no value."""
        rounds = {run.id: run.rounds for run in runs if metric in run.metrics}
        with asked(self.uri):
            found = histories(self._client, rounds, metric)
        return {run.id: curve_of(found.get(run.id, {}), run.rounds) for run in runs}

    def log_folder(self, run_id: str, folder: Path, path: str) -> None:
        """Log a folder's files as artifacts of a run, under ``path``."""
        with asked(self.uri):
            log_files(run_place(self._client.get_run(run_id), self._artifacts), folder, self.uri, path)

    def pages(self, server: str, sweep: TrackedRun, runs: list[TrackedRun]) -> dict[str, str]:
        """Addresses in MLflow's UI at ``server``: the sweep's saved view, all runs, macro F by round of ``runs``."""
        with asked(self.uri, f"run {sweep.id}"):
            tags = self._client.get_experiment(self.experiment_id).tags
        plot = {
            "runs": [run.id for run in runs],
            "metric": VALIDATION,
            "experiments": [self.experiment_id],
            "plot_metric_keys": [VALIDATION, TEST],
            "plot_layout": {"autosize": True, "xaxis": {}, "yaxis": {}},
            "deselected_curves": [],
            "last_linear_y_axis_range": [],
        }
        query = urlencode({name: json.dumps(value) for name, value in plot.items()}, quote_via=quote)
        return {
            **views.pages(server, self.experiment_id, tags, sweep.tags[SWEEP]),
            "runs": f"{server}/#/experiments/{self.experiment_id}/runs?workflowType=machine_learning",
            "macro F by round": f"{server}/#/metric?{query}&x_axis=step&line_smoothness=1&show_point=true",
        }

    def _tracked(self, run: Run, dead: bool) -> TrackedRun:
        """``dead``: the sweep's process is known to be gone, so a run that is marked RUNNING does not run."""
        tags = run.data.tags
        return TrackedRun(
            id=run.info.run_id,
            fold=int(tags.get("fold", -1)),
            method=method_of_run(run),
            status="INTERRUPTED" if dead and run.info.status == "RUNNING" else run.info.status,
            reason=tags.get(REASON, ""),
            rounds=int(tags.get(LOGGED, 0)),
            metrics=tuple(name for name in run.data.metrics if not name.startswith(CHOSEN)),
            params=run.data.params,
            tags=tags,
            artifacts=Artifacts(self.uri, run_place(run, self._artifacts)),
        )


def cut(run: TrackedRun, rounds: int) -> TrackedRun:
    """The run as if it had no more than ``rounds`` rounds."""
    return replace(run, rounds=min(run.rounds, rounds))
