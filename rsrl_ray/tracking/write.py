"""Every round of a sweep in MLflow: one parent run a sweep, one child run a trial. Only here and in
`tracked` is mlflow imported.

Runs are found by their tags, so a sweep that is taken up again goes on in the same runs, and what is logged
twice is stored once: timestamps come from the archived rounds.
"""

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE

from rsrl_ray.config import Experiment
from rsrl_ray.store.location import Location, sqlite_uri
from rsrl_ray.store.locks import is_alive, locked, process
from rsrl_ray.tracking.lease import Lease
from rsrl_ray.tracking.names import (
    DATABASE,
    DRIVER,
    LOGGED,
    OPENED,
    REASON,
    SWEEP,
    TRIAL,
    key_tag,
    note_tag,
    round_folder,
)


@dataclass(frozen=True)
class Trial:
    """One child run: ``id`` is the same for the same fold, schedule, recipe and data."""

    id: str
    fold: int
    schedule: str
    tags: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the run in MLflow's UI."""
        return f"{self.schedule}, fold {self.fold}"


@dataclass(frozen=True)
class Round:
    """A round as it is logged: its metrics' values, and a note for the reader where not empty.

    key, created : the archived round's key and Unix time. write : writes the round's files into a folder.
    """

    number: int
    values: Mapping[str, float]
    note: str
    key: str
    created: float
    write: Callable[[Path], None]


def mlflow_uri(experiment: Experiment) -> str:
    """Where the experiment is tracked: its ``mlflow``, or the SQLite file in a storage directory."""
    if experiment.mlflow is not None:
        return experiment.mlflow
    storage = Location(experiment.storage)
    if storage.is_uri:
        raise ValueError(
            f"mlflow: with storage in {storage}, give the URI of a tracking server; "
            "its default, a SQLite file in storage, needs a directory"
        )
    return sqlite_uri(storage.path / DATABASE)


def settle_mlflow() -> None:
    """Let MLflow notice in seconds, not in minutes, that a server is away, and say only what matters."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    quiet = {"alembic": "WARNING", "mlflow": "WARNING", "urllib3.connectionpool": "ERROR"}
    quiet["mlflow.utils.environment"] = "ERROR"  # that there is no pip, where uv is used
    for chatty, level in quiet.items():
        logging.getLogger(chatty).setLevel(level)


class Tracker:
    """The MLflow store of one experiment. Only the sweep's driver writes to it."""

    def __init__(self, uri: str, experiment: str, artifacts: str | None = None, take_over: bool = False) -> None:
        """``artifacts`` is where a new experiment's artifacts go; the server decides where it is None.

        ``take_over``: the experiment from another sweep that may have crashed, see `Lease`.
        """
        settle_mlflow()
        with _alone(uri):
            self._client = MlflowClient(tracking_uri=uri)
        self._experiment, self._artifacts = experiment, artifacts
        self._sweep = ""
        self._runs: dict[str, str] = {}
        self._lease: Lease | None = None
        self._take_over = take_over

    def open_sweep(self, sweep: str, params: Mapping[str, Any], note: str, files: Mapping[str, str]) -> None:
        """Find or make the sweep's parent run and mark it running, once. ``files``: artifacts by name, as text.

        Runs that a crash left RUNNING are ended: those of this sweep, and those of sweeps whose
        process, on this machine, is no more. Trials that go on are set RUNNING again as they log.

        Raises
        ------
        ValueError
            Where another process sweeps into this experiment, or it was deleted.
        """
        if self._sweep:
            return
        if self._lease is None:
            self._lease = Lease(self._client, self._experiment_id(), self._take_over)
        self._lease.take()
        for parent in self._sweeps("RUNNING"):
            found = parent.data.tags[SWEEP]
            if found == sweep or not is_alive(parent.data.tags.get(DRIVER, "")):
                for run in self._search(f"tags.`{SWEEP}` = '{found}' and attributes.status = 'RUNNING'"):
                    self._client.set_terminated(run.info.run_id, "KILLED")
        run_id = self._find_or_create(SWEEP, sweep, {SWEEP: sweep, MLFLOW_RUN_NAME: "sweep", TRIAL: ""})
        self._runs[""] = run_id
        self._client.update_run(run_id, status="RUNNING")
        place = str(1 + max(map(_opened, self._sweeps())))
        tags = {DRIVER: process(), OPENED: place, MLFLOW_RUN_NOTE: note}
        known = self._client.get_run(run_id).data.params  # MLflow refuses a second value, such as a file's new path
        new = {name: value for name, value in params.items() if name not in known}
        self._client.log_batch(run_id, params=_params(new), tags=_tags(tags))
        for name, content in files.items():
            self._client.log_text(run_id, content, name)
        self._sweep = sweep

    def rounds_logged(self, trial: Trial) -> int:
        """How many rounds of the trial are wholly logged."""
        return int(self._client.get_run(self._child(trial)).data.tags.get(LOGGED, 0))

    def log_rounds(self, trial: Trial, rounds: Sequence[Round]) -> None:
        """Log rounds in their order, each at ``step = number``: artifacts, then metrics, then that they are logged.

        Several at once take little longer than one does.
        """
        run_id = self._child(trial)
        with tempfile.TemporaryDirectory(prefix="rsrl-") as folder:
            for done in rounds:
                place = Path(folder, round_folder(done.number))
                place.mkdir(parents=True)
                done.write(place)
            self._client.log_artifacts(run_id, folder)
        metrics = [
            Metric(name, value, int(done.created * 1000), done.number)
            for done in rounds
            for name, value in done.values.items()
        ]
        tags = {LOGGED: str(rounds[-1].number)}
        for done in rounds:
            tags |= {key_tag(done.number): done.key} | ({note_tag(done.number): done.note} if done.note else {})
        self._client.log_batch(run_id, metrics=metrics)
        self._client.log_batch(run_id, tags=_tags(tags))

    def end_trial(self, trial: Trial, status: str, reason: str = "") -> None:
        """``status``: FINISHED, FAILED (with the reason) or KILLED."""
        run_id = self._child(trial)
        self._client.set_tag(run_id, REASON, reason)
        self._client.set_terminated(run_id, status)

    def end_sweep(self, status: str) -> None:
        """End the parent run: FINISHED, FAILED or KILLED; the experiment is free for another sweep."""
        self._client.set_terminated(self._runs[""], status)
        if self._lease is not None:
            self._lease.release()

    def newest(self) -> tuple[str, dict[str, str]] | None:
        """Id and recipe of the sweep of this experiment that was taken up last, or None."""
        sweeps = self._sweeps()
        return (sweeps[0].data.tags[SWEEP], dict(sweeps[0].data.params)) if sweeps else None

    def _child(self, trial: Trial) -> str:
        if trial.id not in self._runs:
            tags = {
                SWEEP: self._sweep,
                TRIAL: trial.id,
                "fold": str(trial.fold),
                "schedule": trial.schedule,
                MLFLOW_RUN_NAME: trial.name,
                MLFLOW_PARENT_RUN_ID: self._runs[""],
                **trial.tags,
            }
            run_id = self._find_or_create(TRIAL, trial.id, tags)
            params = {"fold": trial.fold, "schedule": trial.schedule, **trial.tags}
            self._client.log_batch(run_id, params=_params(params))
            self._client.update_run(run_id, status="RUNNING")
            self._runs[trial.id] = run_id
        return self._runs[trial.id]

    def _find_or_create(self, tag: str, value: str, tags: dict[str, str]) -> str:
        trial = "" if tag == TRIAL else f" and tags.`{TRIAL}` = ''"
        found = self._search(f"tags.`{tag}` = '{value}'{trial}")
        if found:
            return str(found[0].info.run_id)
        return str(self._client.create_run(self._experiment_id(), tags=tags).info.run_id)

    def _sweeps(self, status: str = "") -> list[Run]:
        """Parent runs, the one that was taken up last first; counted, since clocks are set back."""
        also = f" and attributes.status = '{status}'" if status else ""
        runs = self._search(f"tags.`{SWEEP}` != '' and tags.`{TRIAL}` = ''{also}")
        return sorted(runs, key=_opened, reverse=True)

    def _search(self, condition: str) -> list[Run]:
        """Runs of this experiment, newest first."""
        runs: list[Run] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id()],
                condition,
                ViewType.ACTIVE_ONLY,
                1000,
                ["attributes.start_time DESC"],
                token,
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            return str(self._client.create_experiment(self._experiment, self._artifacts))
        if found.lifecycle_stage != "active":
            raise ValueError(
                f"the MLflow experiment {self._experiment!r} was deleted; restore it "
                f"(mlflow experiments restore -x {found.experiment_id}) or give the experiment file another name"
            )
        return str(found.experiment_id)


@contextlib.contextmanager
def _alone(uri: str) -> Iterator[None]:
    """One process at a time makes a database's tables: MLflow's migrations fail where another's are under way."""
    database = Location(uri).database
    if database is None:
        yield
        return
    with locked(database.with_name(f"{database.name}.lock"), wait=True):  # where nothing can be written nothing is made
        yield


def _opened(sweep: Run) -> int:
    return int(sweep.data.tags.get(OPENED, 0))


def _params(params: Mapping[str, Any]) -> list[Param]:
    return [Param(name, str(value)) for name, value in params.items()]


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(name, value) for name, value in tags.items()]
