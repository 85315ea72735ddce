"""What a sweep's driver writes into MLflow: one parent run a sweep, one child run a trial and chain of rounds.

Runs are found by their tags, so a sweep that is taken up again goes on in the same runs, and what is logged
twice is stored once: timestamps come from the archived rounds.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlflow.entities import Metric

from rsrl_ray.core.trial import Link, Origin
from rsrl_ray.store.location import redacted
from rsrl_ray.store.processes import is_alive, process
from rsrl_ray.tracking import views
from rsrl_ray.tracking.chains import Chain
from rsrl_ray.tracking.children import Child, Parent
from rsrl_ray.tracking.entries import BestSoFar, Reading, Round, SweepRun, Trial
from rsrl_ray.tracking.lease import Lease, MayLive
from rsrl_ray.tracking.mlflow_insides import is_logged, log_metrics_then_tags, logged_folder
from rsrl_ray.tracking.names import (
    DRIVER,
    LOGGED,
    OPENED,
    REASON,
    RUN_NOTE,
    SWEEP,
    TRIAL,
    confusion_path,
    key_tag,
    note_tag,
    predictions_path,
    round_folder,
    system_name,
    weights_tag,
)
from rsrl_ray.tracking.opening import find_or_create_experiment, newest_runs, open_parent, refuse_former
from rsrl_ray.tracking.places import mend, run_place
from rsrl_ray.tracking.provenance import source_tags
from rsrl_ray.tracking.read import Artifacts
from rsrl_ray.tracking.runs import as_params, as_tags, opened, parents, search
from rsrl_ray.tracking.stores import find_experiment, open_to_write
from rsrl_ray.tracking.summary import Summary, choice_metrics

Say = Callable[[str], None]
PictureOf = Callable[[Path, Trial, int, Path], None]
"""Draws into a folder, of a trial and a round's number, the confusion matrix that its file of predictions holds."""


@dataclass(frozen=True)
class _OpenSweep:
    """What there is once a sweep is opened."""

    parent: Parent
    summary: Summary
    lease: Lease


class Tracker:
    """The MLflow store of one experiment, to write a sweep into. Only the sweep's driver writes to it."""

    def __init__(
        self, uri: str, experiment: str, artifacts: str | None, say: Say, may_live: MayLive = is_alive
    ) -> None:
        """Open the store, which is made if it is not there yet; ``say`` is told what moved.

        artifacts : URI where the experiment's artifacts go; the server decides if it is None.
        may_live : says of a process that holds the experiment whether it may still run, see `Lease`.
        """
        self._client = open_to_write(uri, say)
        self._uri, self._name, self._artifacts, self._say = uri, experiment, artifacts, say
        self._opened: _OpenSweep | None = None
        self._children: dict[str, Child] = {}
        self._lease: Lease | None = None
        self._may_live = may_live

    def open_sweep(self, sweep: SweepRun) -> None:
        """Find or make the sweep's parent run and mark it running, once.

        Runs that a crash left RUNNING are ended, because nobody else writes to the experiment, except a process of this
        machine that is older than the lease. Trials that go on are set RUNNING again when they log.

        Raises
        ------
        ValueError
            If another process sweeps into this experiment, or it was deleted.
        """
        if self._opened is not None:
            return
        experiment = find_or_create_experiment(self._client, self._name, self._artifacts)
        if self._lease is None:
            self._lease = Lease(self._client, experiment, self._may_live)
        self._lease.take()
        parent = None
        try:
            mend(self._uri, experiment, self._artifacts, self._say)
            refuse_former(self._client, experiment, self._name, sweep)
            self._lease.keep()  # nothing is ended or made in the runs of another one
            run, place = open_parent(self._client, experiment, sweep.id)
            parent = Parent(self._client, experiment, sweep.id, run, place, source_tags(), self._artifacts, self._say)
            self._opened = _OpenSweep(parent, self._begin(sweep, parent), self._lease)
        except BaseException:  # nothing that runs or holds the experiment stays behind
            with contextlib.suppress(Exception):  # MLflow may be away
                if parent is not None:
                    self._client.set_terminated(parent.run.info.run_id, "KILLED")
                self._lease.release()
            raise

    def _begin(self, sweep: SweepRun, parent: Parent) -> Summary:
        run = parent.run
        self._client.update_run(run.info.run_id, status="RUNNING")
        tags = {DRIVER: process(), OPENED: str(parent.place), **parent.source, **sweep.tags}
        if RUN_NOTE not in run.data.tags:  # people may have written their own
            tags[RUN_NOTE] = sweep.note
        # MLflow refuses a second value, such as a file's new path
        new = {name: value for name, value in sweep.params.items() if name not in run.data.params}
        self._client.log_batch(run.info.run_id, params=as_params(new), tags=as_tags(tags))
        with logged_folder(run_place(run, self._artifacts), self._uri) as folder:
            for name, content in sweep.files.items():
                (folder / name).write_text(content, encoding="utf-8")
        newest = newest_runs(self._client, parent.experiment_id, sweep)
        try:
            views.seed(self._client, parent.experiment_id, sweep)
        except Exception as error:  # MLflow may change the format of a view, without which the sweep goes on
            self._say(f"mlflow: the saved view {views.VIEW_NAME!r} could not be made: {redacted(str(error))}")
        return Summary(self._client, run, newest, sweep)

    def take_up(self, trial: Trial, rounds: Sequence[Link], origin: Origin) -> int:
        """Go on in the trial's run that holds this chain of rounds, or in a new one; how many rounds of it are logged.

        A run never holds two chains: if another kind of device, other libraries or anything else has led to other
        rounds, the run that holds those is left as it is, and what differs is said.

        rounds : the trial's rounds 1, 2, ... as far as they are known.
        """
        self._sweep.lease.keep()
        child = self._children.get(trial.id)
        if child is None or not child.chain.agrees(rounds, origin):
            if child is not None:  # the trial was started again on another kind of device
                self._client.set_terminated(child.run_id, "KILLED" if child.before == "RUNNING" else child.before)
            child = self._children[trial.id] = self.parent.child(trial, rounds, origin)
        return len(child.chain.rounds)

    def log_rounds(self, trial: Trial, rounds: Sequence[Round]) -> None:
        """Log rounds in their order, each at ``step = number``: artifacts, then metrics, then that they are logged.

        Several at once take little longer than one. The trial was taken up before, and the first of the rounds follows
        the last one that is logged.
        """
        child = self._children[trial.id]
        assert rounds[0].number == 1 + len(child.chain.rounds), (trial, rounds[0].number)
        with logged_folder(child.place, self._uri) as folder:
            for done in rounds:
                place = folder / round_folder(done.number)
                place.mkdir(parents=True, exist_ok=True)  # a driver that was killed may have begun it
                done.write(place)
        metrics = [
            Metric(name, value, int(done.created * 1000), done.number)
            for done in rounds
            for name, value in done.values.items()
        ]
        tags: dict[str, str] = {}
        for done in rounds:
            tags |= {key_tag(done.number): done.link.key, weights_tag(done.number): done.link.weights}
            tags |= {note_tag(done.number): done.note} if done.note else {}
        tags[LOGGED] = str(rounds[-1].number)
        choices = [done.choice for done in rounds if done.choice is not None]
        log_metrics_then_tags(self._client, child.run_id, [*metrics, *choice_metrics(choices)], as_tags(tags))
        child.chain.rounds.extend(done.link for done in rounds)
        if choices:
            child.choice = choices[-1].values
        self.summary.put(trial.key, child.choice, len(child.chain.rounds))

    def log_choices(self, trial: Trial, choices: Sequence[BestSoFar], rounds: int) -> None:
        """Sum up the last of them: the chosen round among the trial's first ``rounds``, which may be fewer than it has.

        Choices that MLflow lacks are logged, because older versions logged rounds without choices.
        """
        child = self._children[trial.id]
        lacking = [choice for choice in choices if choice.number > child.choice.get("round", 0)]
        self._client.log_batch(child.run_id, choice_metrics(lacking))
        if lacking:
            child.choice = lacking[-1].values
        self.summary.put(trial.key, choices[-1].values if choices else {}, rounds)

    def log_pictures(self, trial: Trial, numbers: Collection[int], draw: PictureOf) -> None:
        """Draw the confusion matrices of these logged rounds, if MLflow lacks them."""
        child = self._children[trial.id]
        lacking = [number for number in numbers if not is_logged(child.place, confusion_path(number), self._uri)]
        if not lacking:
            return
        logged = Artifacts(self._uri, child.place)
        with logged_folder(child.place, self._uri) as folder:
            for number in lacking:
                place = folder / round_folder(number)
                place.mkdir(parents=True, exist_ok=True)
                logged.read(predictions_path(number), partial(draw, place, trial, number))

    def log_system(self, readings: Iterable[Reading]) -> None:
        """Log how busy nodes were, in the parent run; the step is the time in seconds after the start of that run."""
        run = self.parent.run.info
        metrics = [
            Metric(system_name(reading.node, name), value, int(1000 * reading.time), step)
            for reading in readings
            for step in [max(0, int(reading.time - run.start_time / 1000))]
            for name, value in reading.values.items()
        ]
        self._client.log_batch(run.run_id, metrics)

    def end_trial(self, trial: Trial, status: str, reason: str = "") -> None:
        """End a trial's run. status : FINISHED, FAILED (with the reason) or KILLED.

        A trial may end before it told where its rounds come from, and so before it was taken up. It gets a run without
        rounds; if it has a run with rounds already, that stays as it is, because they may be those of another chain.
        """
        self._sweep.lease.keep()
        if trial.id not in self._children:
            runs = search(self._client, self.parent.experiment_id, f"tags.`{TRIAL}` = '{trial.id}'")
            if any(Chain.of(run).rounds for run in runs):
                return
            self.take_up(trial, [], Origin())
        run_id = self._children[trial.id].run_id
        self._client.set_tag(run_id, REASON, redacted(reason))
        self._client.set_terminated(run_id, status)

    def end_sweep(self, status: str) -> None:
        """End the parent run: FINISHED, FAILED or KILLED; the experiment is free for another sweep."""
        self._sweep.lease.keep()
        self._client.set_terminated(self.parent.run.info.run_id, status)
        self._sweep.lease.release()

    def newest(self) -> tuple[str, dict[str, str]] | None:
        """Id and recipe of the sweep of this experiment that was taken up last, or None."""
        found = find_experiment(self._client, self._name)
        if found is None:
            return None
        last = max(parents(self._client, found.experiment_id), key=opened, default=None)
        return None if last is None else (last.data.tags[SWEEP], dict(last.data.params))

    @property
    def parent(self) -> Parent:
        """The sweep that was opened."""
        return self._sweep.parent

    @property
    def summary(self) -> Summary:
        """What the parent run says of every method."""
        return self._sweep.summary

    @property
    def _sweep(self) -> "_OpenSweep":
        assert self._opened is not None, "open_sweep comes first"
        return self._opened
