"""What a sweep's driver writes into MLflow: one parent run a sweep, one child run a trial and chain of rounds.

Runs are found by their tags, so a sweep that is taken up again goes on in the same runs, and what is logged
twice is stored once: timestamps come from the archived rounds.
"""

import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE

from rsrl_ray.core.trial import Link, Origin, TrialKey
from rsrl_ray.store.locks import is_here, process
from rsrl_ray.tracking.chains import Chain, difference, origin_tags
from rsrl_ray.tracking.lease import Lease
from rsrl_ray.tracking.names import (
    DRIVER,
    EXPERIMENT,
    LOGGED,
    METHOD,
    OPENED,
    REASON,
    SWEEP,
    TRIAL,
    key_tag,
    note_tag,
    round_folder,
    weights_tag,
)
from rsrl_ray.tracking.places import mend, run_place
from rsrl_ray.tracking.runs import log_files, opened, search
from rsrl_ray.tracking.stores import find_experiment, open_to_write

Say = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """A trial to log: ``id`` is the same for the same fold, method, recipe and data."""

    id: str
    key: TrialKey
    tags: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the run in MLflow's UI."""
        return f"{self.key.method}, fold {self.key.fold}"

    @property
    def place(self) -> dict[str, str]:
        """Its place among the trials, as its run says it."""
        return {"fold": str(self.key.fold), METHOD: self.key.method}


@dataclass(frozen=True)
class Round:
    """A round as it is logged: its metrics' values, and a note for the reader where not empty.

    link, created : the archived round's key and weights, and its Unix time. write : writes its files into a folder.
    """

    number: int
    values: Mapping[str, float]
    note: str
    link: Link
    created: float
    write: Callable[[Path], None]


@dataclass(frozen=True)
class SweepRun:
    """What a sweep's parent run says. ``files`` : artifacts by name, as text."""

    id: str
    params: Mapping[str, Any]
    note: str
    files: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class _Child:
    """The run that a trial's rounds go into: its artifacts' URI, its status before, and what is logged in it."""

    run_id: str
    place: str
    before: str
    chain: Chain


class Tracker:
    """The MLflow store of one experiment, to write a sweep into. Only the sweep's driver writes to it."""

    def __init__(self, uri: str, experiment: str, artifacts: str | None, say: Say, take_over: bool = False) -> None:
        """Open the store; it and its experiment are made where they are not there yet, and ``say`` is told what moved.

        artifacts : URI where the experiment's artifacts go; the server decides where it is None.
        take_over : the experiment from another sweep that may have crashed, see `Lease`.
        """
        self._client = open_to_write(uri, say)
        self._uri, self._name, self._artifacts, self._say = uri, experiment, artifacts, say
        self._experiment = ""
        self._sweep: SweepRun | None = None
        self._parent, self._place = "", 0
        self._children: dict[str, _Child] = {}
        self._lease: Lease | None = None
        self._take_over = take_over

    def open_sweep(self, sweep: SweepRun) -> None:
        """Find or make the sweep's parent run and mark it running, once.

        Runs that a crash left RUNNING are ended: nobody else writes to the experiment, but for a process of this
        machine that is older than the lease. Trials that go on are set RUNNING again as they log.

        Raises
        ------
        ValueError
            Where another process sweeps into this experiment, or it was deleted.
        """
        if self._sweep is not None:
            return
        self._experiment = self._find_or_create_experiment()
        if self._lease is None:
            self._lease = Lease(self._client, self._experiment, self._take_over)
        self._lease.take()
        try:
            self._begin(sweep)
        except BaseException:  # nothing that runs or holds the experiment stays behind
            with contextlib.suppress(Exception):  # MLflow may be away
                if self._parent:
                    self._client.set_terminated(self._parent, "KILLED")
                self._lease.release()
            raise
        self._sweep = sweep

    def _begin(self, sweep: SweepRun) -> None:
        mend(self._uri, self._experiment, self._artifacts, self._say)
        sweeps = self._search(f"tags.`{SWEEP}` != '' and tags.`{TRIAL}` = ''")
        for parent in sweeps:
            found = parent.data.tags[SWEEP]
            left = parent.info.status == "RUNNING" and not is_here(parent.data.tags.get(DRIVER, ""))
            if found == sweep.id or left:
                for run in self._search(f"tags.`{SWEEP}` = '{found}' and attributes.status = 'RUNNING'"):
                    self._client.set_terminated(run.info.run_id, "KILLED")
        own = max((run for run in sweeps if run.data.tags[SWEEP] == sweep.id), key=opened, default=None)
        if own is None:
            tags = {SWEEP: sweep.id, MLFLOW_RUN_NAME: "sweep", TRIAL: ""}
            own = self._client.create_run(self._experiment, tags=tags)
        ever = search(self._client, self._experiment, f"tags.`{SWEEP}` != '' and tags.`{TRIAL}` = ''", ViewType.ALL)
        self._parent, self._place = own.info.run_id, 1 + max(map(opened, ever))
        self._client.update_run(self._parent, status="RUNNING")
        tags = {DRIVER: process(), OPENED: str(self._place), MLFLOW_RUN_NOTE: sweep.note, **sweep.tags}
        # MLflow refuses a second value, such as a file's new path
        new = {name: value for name, value in sweep.params.items() if name not in own.data.params}
        self._client.log_batch(self._parent, params=_params(new), tags=_tags(tags))
        with tempfile.TemporaryDirectory(prefix="rsrl-") as folder:
            for name, content in sweep.files.items():
                Path(folder, name).write_text(content, encoding="utf-8")
            log_files(run_place(own, self._artifacts), Path(folder), self._uri)

    def take_up(self, trial: Trial, rounds: Sequence[Link], origin: Origin) -> int:
        """Go on in the trial's run that holds this chain of rounds, or in a new one; how many rounds of it are logged.

        A run never holds two chains: where another kind of device, other libraries or anything else has led to other
        rounds, the run that holds the others is left as it is, and what differs is said.

        rounds : the trial's rounds 1, 2, ... as far as they are known.
        """
        self._keep_lease()
        child = self._children.get(trial.id)
        if child is None or not child.chain.agrees(rounds, origin):
            if child is not None:  # the trial was started again on another kind of device
                self._client.set_terminated(child.run_id, "KILLED" if child.before == "RUNNING" else child.before)
            child = self._children[trial.id] = self._child(trial, rounds, origin)
        return len(child.chain.rounds)

    def log_rounds(self, trial: Trial, rounds: Sequence[Round]) -> None:
        """Log rounds in their order, each at ``step = number``: artifacts, then metrics, then that they are logged.

        Several at once take little longer than one does. The trial has been taken up, and the first of them is the one
        after those that are logged.
        """
        child = self._children[trial.id]
        assert rounds[0].number == 1 + len(child.chain.rounds), (trial, rounds[0].number)
        with tempfile.TemporaryDirectory(prefix="rsrl-") as folder:
            for done in rounds:
                place = Path(folder, round_folder(done.number))
                place.mkdir(parents=True)
                done.write(place)
            log_files(child.place, Path(folder), self._uri)
        metrics = [
            Metric(name, value, int(done.created * 1000), done.number)
            for done in rounds
            for name, value in done.values.items()
        ]
        tags = {LOGGED: str(rounds[-1].number)}
        for done in rounds:
            tags |= {key_tag(done.number): done.link.key, weights_tag(done.number): done.link.weights}
            tags |= {note_tag(done.number): done.note} if done.note else {}
        self._client.log_batch(child.run_id, metrics=metrics)
        self._client.log_batch(child.run_id, tags=_tags(tags))
        child.chain.rounds.extend(done.link for done in rounds)

    def end_trial(self, trial: Trial, status: str, reason: str = "") -> None:
        """``status``: FINISHED, FAILED (with the reason) or KILLED.

        A trial that was not taken up, since it ended before it told where its rounds come from, has a run without
        rounds; one that holds some stays as it is: they may be another chain's.
        """
        self._keep_lease()
        if trial.id not in self._children:
            runs = self._search(f"tags.`{TRIAL}` = '{trial.id}'")
            if any(Chain.of(run).rounds for run in runs):
                return
            self.take_up(trial, [], Origin())
        run_id = self._children[trial.id].run_id
        self._client.set_tag(run_id, REASON, reason)
        self._client.set_terminated(run_id, status)

    def end_sweep(self, status: str) -> None:
        """End the parent run: FINISHED, FAILED or KILLED; the experiment is free for another sweep."""
        self._keep_lease()
        self._client.set_terminated(self._parent, status)
        if self._lease is not None:
            self._lease.release()

    def newest(self) -> tuple[str, dict[str, str]] | None:
        """Id and recipe of the sweep of this experiment that was taken up last, or None."""
        found = find_experiment(self._client, self._name)
        if found is None:
            return None
        sweeps = search(self._client, found.experiment_id, f"tags.`{SWEEP}` != '' and tags.`{TRIAL}` = ''")
        last = max(sweeps, key=opened, default=None)
        return None if last is None else (last.data.tags[SWEEP], dict(last.data.params))

    def _child(self, trial: Trial, rounds: Sequence[Link], origin: Origin) -> _Child:
        """The run of a chain, ready to be logged to."""
        runs = self._search(f"tags.`{TRIAL}` = '{trial.id}'")
        runs.sort(key=lambda run: (opened(run), run.info.start_time), reverse=True)
        own = next((run for run in runs if Chain.of(run).agrees(rounds, origin)), None)
        if own is None:
            own = self._new_child(trial, runs, origin)
        chain = Chain.of(own)
        said = trial.place | dict(trial.tags)
        tags = {SWEEP: self._sweep_id(), MLFLOW_PARENT_RUN_ID: self._parent, OPENED: str(self._place), **said}
        if not chain.start and (rounds or not chain.rounds):  # else it is not known whether this is its chain
            chain = replace(chain, start=origin.start_key)
            tags |= origin_tags(origin)
        new = {name: value for name, value in said.items() if name not in own.data.params}
        self._client.log_batch(own.info.run_id, params=_params(new), tags=_tags(tags))
        self._client.update_run(own.info.run_id, status="RUNNING")
        return _Child(own.info.run_id, run_place(own, self._artifacts), own.info.status, chain)

    def _new_child(self, trial: Trial, others: Sequence[Run], origin: Origin) -> Run:
        name = trial.name if not others else f"{trial.name}, chain {len(others) + 1}"
        run = self._client.create_run(self._experiment, tags={TRIAL: trial.id, MLFLOW_RUN_NAME: name, **trial.place})
        if others:
            self._say(
                f"{trial.key}: its run in MLflow holds rounds that come out otherwise here "
                f"({difference(others[0], origin)}); it stays as it is, and this chain of rounds gets a run "
                f"of its own, {name!r}"
            )
        return run

    def _keep_lease(self) -> None:
        """Raises ValueError where another process has taken the experiment over since."""
        assert self._lease is not None, "open_sweep comes first"
        self._lease.keep()

    def _sweep_id(self) -> str:
        assert self._sweep is not None, "open_sweep comes first"
        return self._sweep.id

    def _search(self, condition: str) -> list[Run]:
        return search(self._client, self._experiment, condition)

    def _find_or_create_experiment(self) -> str:
        """The experiment's id; it is known by a tag from now on."""
        found = find_experiment(self._client, self._name)
        if found is None:
            return str(self._client.create_experiment(self._name, self._artifacts, {EXPERIMENT: self._name}))
        if EXPERIMENT not in found.tags:
            self._client.set_experiment_tag(found.experiment_id, EXPERIMENT, self._name)
        return str(found.experiment_id)


def _params(params: Mapping[str, Any]) -> list[Param]:
    return [Param(name, str(value)) for name, value in params.items()]


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(name, value) for name, value in tags.items()]
