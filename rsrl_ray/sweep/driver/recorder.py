"""What the driver does with every result: MLflow in the background, and weights that nobody needs any more."""

import contextlib
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from rsrl_ray.core.trial import Origin, TrialKey
from rsrl_ray.store.archive import Archive
from rsrl_ray.sweep.driver.archivist import Archivist
from rsrl_ray.sweep.driver.blame import Blame
from rsrl_ray.sweep.driver.board import MLFLOW, STORAGE, Board
from rsrl_ray.sweep.driver.choices import choices
from rsrl_ray.sweep.driver.crashes import crash_of, node_of
from rsrl_ray.sweep.driver.logged import LoggedRounds
from rsrl_ray.sweep.driver.places import lost_nodes, needs, with_room
from rsrl_ray.sweep.driver.retention import Retention
from rsrl_ray.sweep.driver.scheduler import trial_key
from rsrl_ray.sweep.driver.writer import Writer
from rsrl_ray.sweep.report import Failure, Report
from rsrl_ray.sweep.task import Task
from rsrl_ray.sweep.trial.gauge import Readings
from rsrl_ray.tracking.entries import Trial as TrackedTrial
from rsrl_ray.tracking.write import Tracker

FAILURES_A_ROUND = 3  # a trial that fails this often on one round is given up
ROUNDS_AT_ONCE = 8  # rounds of a trial that are logged together, where logging has fallen behind


class Recorder(Callback):
    """Tune's events to MLflow and to the archive's retention."""

    def __init__(
        self,
        task: Task,
        tracker: Tracker,
        open_sweep: Callable[[], None],
        trials: Mapping[TrialKey, TrackedTrial],
        retention: Retention,
    ) -> None:
        self._task, self._tracker, self._open_sweep = task, tracker, open_sweep
        self._trials, self._archive = trials, Archive(task.experiment.storage)
        self.board = Board()
        self._writer, notes = Writer(MLFLOW, self.board), Writer(STORAGE, self.board)
        self._archivist = Archivist(task.experiment.name, self._archive, retention, trials, notes)
        self._unlogged: defaultdict[str, deque[Report]] = defaultdict(deque)
        self._chains: defaultdict[str, list[Report]] = defaultdict(list)  # rounds 1, 2, ... by trial
        self._logged = LoggedRounds(task, self._archive)
        self.blame = Blame()
        self._furthest: dict[TrialKey, int] = {}
        self.finished: list[TrialKey] = []
        self.failed: dict[TrialKey, str] = {}
        self._running: set[TrialKey] = set()
        self._dropped: list[TrialKey] = []
        self._ended: set[TrialKey] = set()  # as MLflow has been told
        self._readings, self._readings_wait = Readings(), False

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles its callbacks; threads and clients stay here."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """It has an actor."""
        key, actor = trial_key(trial), trial.temporary_state.ray_actor
        assert actor is not None
        self._running.add(key)
        self.blame.started(key, node_of(actor._actor_id.hex()), actor._actor_id.hex())

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A round is done, or the trial has given up."""
        key, failure = trial_key(trial), Failure.from_result(result)
        self.blame.reported(key)
        if failure is not None:
            self._end(key, "FAILED", failure.reason, failure.origin)
            return
        report = Report.from_result(result)
        if report.number > self._furthest.get(key, 0):  # not a round that is replayed after a crash
            self._furthest[key] = report.number
            trial.max_failures = -1
        self._readings.add(report.system)
        tracked = self._trials[key]
        self._unlogged[tracked.id].append(report)
        self._put(tracked, lambda: self._log(tracked))
        self._archivist.note(key, report)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """All its rounds are done."""
        self._void_claims(trial)
        if trial_key(trial) not in self.failed:
            self.finished.append(trial_key(trial))
            self._end(trial_key(trial), "FINISHED")

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Ray starts it again after a crash; not for ever in the same round, save where it is not the trial's fault."""
        self._void_claims(trial)
        if self._failed(trial) >= FAILURES_A_ROUND - 1:
            trial.max_failures = 0

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Ray has given it up: for good, or too early (see `take_dropped`)."""
        self._void_claims(trial)
        key = trial_key(trial)
        given_up = self._failed(trial) >= FAILURES_A_ROUND
        trial.max_failures = 0 if given_up else -1
        if not given_up:
            self._dropped.append(key)
            return
        number = self._furthest.get(key, 0) + 1
        self._end(key, "FAILED", f"round {number} failed {FAILURES_A_ROUND} times: {crash_of(trial).reason}")

    def take_dropped(self) -> list[TrialKey]:
        """The trials that Ray has given up too early, told once.

        It does so where a process dies to which it hands a trial after another one: that counts as no crash of a round.
        """
        dropped, self._dropped = self._dropped, []
        return dropped

    def _failed(self, trial: Trial) -> int:
        """Lay the blame for the trial's failure; how many of its next round are its own fault."""
        key, crash = trial_key(trial), crash_of(trial)
        number = self._furthest.get(key, 0) + 1
        died = not (crash.in_set_up or crash.for_memory or self.blame.has_started(key))
        in_set_up = crash.node and (crash.in_set_up or died)
        if in_set_up and self.blame.refused(key, crash.node, crash.reason, with_room(needs(trial)), died):
            return 0
        self.blame.crashed(key, number, crash.node)
        return self.blame.own_crashes(key, number, lost_nodes())

    def _void_claims(self, trial: Trial) -> None:
        if self._task.claims is not None:
            self._task.claims.ended(self._trials[trial_key(trial)].id)

    def close(self, status: str) -> None:
        """End what still runs, and wait for the log; the board has what could not be done.

        A sweep that lacks something in a store has not finished. It is KILLED, in the word that people read stopped, as
        after Ctrl-C: no trial has failed, and the same command goes on and makes up for what is lacking.
        """
        for key in sorted(self._running):
            self._end(key, "KILLED")
        self._put_readings()
        left = self._writer.close()
        self._archivist.close()
        self._tell_last("the chosen rounds over the folds", self._sum_up_all)  # of methods too that lack trials
        lacks = self.board.lacks(MLFLOW) or self.board.lacks(STORAGE)
        status = "KILLED" if lacks and status == "FINISHED" else status

        def end() -> None:
            with contextlib.suppress(Exception):  # else they stay RUNNING, until the sweep is taken up again
                for key in self._trials:
                    if str(key) in left:
                        self._tracker.end_trial(self._trials[key], "KILLED")
            self._tracker.end_sweep(status)

        self._tell_last("the end of the sweep", end)  # last: it lets another sweep into the experiment

    def _tell_last(self, what: str, job: Callable[[], None]) -> None:
        last = Writer(MLFLOW, self.board)
        last.put(what, self._when_open(job))
        last.close(patient=not self.board.lacks(MLFLOW))

    def _end(self, key: TrialKey, status: str, reason: str = "", origin: Origin | None = None) -> None:
        self._running.discard(key)
        if status == "FAILED":
            self.failed[key] = reason
        trial = self._trials[key]

        def end() -> None:
            chain = self._chains[trial.id]
            start = origin or (chain[-1].origin if chain else None)
            if start is not None:
                own = [report for report in chain if report.origin == start]
                self._tracker.take_up(trial, [report.link for report in own], start)
                self._tracker.log_choices(trial, choices(own, self._task.chooses), len(own))
            self._tracker.end_trial(trial, status, reason)
            self._ended.add(key)
            self._logged.forget(trial)
            self._chains.pop(trial.id, None)
            self._sum_up(key.method)

        self._put(trial, end)

    def _sum_up(self, method: str) -> None:
        """Tell the sweep's own run of a method once all its trials have ended."""
        if all(key in self._ended for key in self._trials if key.method == method):
            self._writer.put(f"the chosen rounds of {method}", lambda: self._tracker.summary.log([method]))

    def _put_readings(self) -> None:
        """Tell all that were read so far, on a line of their own: no trial waits for them."""
        if self._readings.pending() and not self._readings_wait:
            self._readings_wait = True
            self._writer.put("what the nodes were busy with", self._when_open(self._tell_readings))

    def _tell_readings(self) -> None:
        readings = self._readings.pending()
        self._tracker.log_system(readings)
        self._readings.told(len(readings))
        self._readings_wait = False

    def _sum_up_all(self) -> None:
        self._tracker.summary.log(sorted(self._tracker.summary.methods()))

    def _put(self, trial: TrackedTrial, job: Callable[[], None]) -> None:
        self._writer.put(str(trial.key), self._when_open(job))

    def _when_open(self, job: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            self._open_sweep()
            job()

        return run

    def _log(self, trial: TrackedTrial) -> None:
        """Log the trial's rounds that wait for it: one, or several at once where logging has fallen behind."""
        waiting, chain = self._unlogged[trial.id], self._chains[trial.id]
        if not waiting:  # logged together with an earlier one
            return
        reports = [waiting[place] for place in range(min(len(waiting), ROUNDS_AT_ONCE))]
        for report in reports:
            _follow(chain, report)
        logged = self._tracker.take_up(trial, [report.link for report in chain], chain[-1].origin)
        made = choices(chain, self._task.chooses) if logged < len(chain) else []
        chosen = {choice.number: choice for choice in made}
        new = [self._logged.round(trial, report, chosen.get(report.number)) for report in chain[logged:]]
        if new:  # else they are replayed
            self._tracker.log_rounds(trial, new)
            self._put_readings()
        for _ in reports:
            waiting.popleft()


def _follow(chain: list[Report], report: Report) -> None:
    """Add a round to a trial's rounds 1, 2, ...; those of a trial that was started elsewhere take the others' place."""
    place = report.number - 1
    assert place <= len(chain), (place, len(chain))
    if place == len(chain) or chain[place].link != report.link:
        chain[place:] = [report]
