"""What the driver does with every result: MLflow in the background, and weights that nobody needs any more."""

import functools
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from rsrl_ray.core.trial import Origin, TrialKey
from rsrl_ray.store.archive import Archive
from rsrl_ray.store.holders import EVERY_ROUND, WAITING, Holder, sweep_holder, trial_holder
from rsrl_ray.sweep.choices import choices
from rsrl_ray.sweep.cluster import lost_nodes
from rsrl_ray.sweep.gauge import Readings
from rsrl_ray.sweep.logged import LoggedRounds
from rsrl_ray.sweep.report import Failure, Report
from rsrl_ray.sweep.retention import Need, Retention
from rsrl_ray.sweep.scheduler import trial_key
from rsrl_ray.sweep.task import Task
from rsrl_ray.sweep.writer import Writer
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
        self._trials, self._retention = trials, retention
        self._archive = Archive(task.experiment.storage)
        self._writer, self._archivist = Writer(), Writer()  # a bucket that is away does not hold up MLflow
        self._unlogged: defaultdict[str, deque[Report]] = defaultdict(deque)
        self._chains: defaultdict[str, list[Report]] = defaultdict(list)  # rounds 1, 2, ... by trial
        self._logged = LoggedRounds(task, self._archive)
        self._failures: Counter[tuple[TrialKey, int]] = Counter()
        self._furthest: dict[TrialKey, int] = {}
        self.finished: list[TrialKey] = []
        self.failed: dict[TrialKey, str] = {}
        self._running: set[TrialKey] = set()
        self._dropped: list[TrialKey] = []
        self._ended: set[TrialKey] = set()  # as MLflow has been told
        self._lost_before: set[str] | None = None  # nodes, before the sweep began
        self._readings = Readings()

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles its callbacks; threads and clients stay here."""
        return {}

    def setup(self, *args: Any, **info: Any) -> None:
        """Ray is there, and no trial yet; again where trials are run again."""
        if self._lost_before is None:
            self._lost_before = lost_nodes()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """It has an actor."""
        self._running.add(trial_key(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A round is done, or the trial has given up."""
        key, failure = trial_key(trial), Failure.from_result(result)
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
        self._retain(key, report)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """All its rounds are done."""
        self._void_claims(trial)
        if trial_key(trial) not in self.failed:
            self.finished.append(trial_key(trial))
            self._end(trial_key(trial), "FINISHED")

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Ray starts it again after a crash; not for ever in the same round, save when nodes are lost."""
        self._void_claims(trial)
        if self._failed(trial_key(trial)) >= FAILURES_A_ROUND - 1:
            trial.max_failures = 0

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Ray has given it up: for good, or too early (see `take_dropped`)."""
        self._void_claims(trial)
        key = trial_key(trial)
        if trial.max_failures != 0 and self._failed(key) < FAILURES_A_ROUND:
            self._dropped.append(key)
            return
        trial.max_failures = 0
        number = self._furthest.get(key, 0) + 1
        self._end(key, "FAILED", f"round {number} failed {FAILURES_A_ROUND} times: {last_error(trial)}")

    def take_dropped(self) -> list[TrialKey]:
        """The trials that Ray has given up too early, told once.

        It does so where a process dies to which it hands a trial after another one: that counts as no crash of a round.
        """
        dropped, self._dropped = self._dropped, []
        return dropped

    def _failed(self, key: TrialKey) -> int:
        """Count a crash of the trial's next round; how many it had that no lost node explains."""
        failed = key, self._furthest.get(key, 0) + 1
        self._failures[failed] += 1
        return self._failures[failed] - len(lost_nodes() - (self._lost_before or set()))

    def _void_claims(self, trial: Trial) -> None:
        if self._task.claims is not None:
            self._task.claims.ended(self._trials[trial_key(trial)].id)

    def _retain(self, key: TrialKey, report: Report) -> None:
        """Note in the archive which weights are needed now, then which are not."""
        changes = self._retention.finished(key, report)
        for need in changes.hold:
            if need != Need(report.key, key):  # which the trial itself holds since it has it
                self._archivist.put("", functools.partial(self._hold, need))
        gone: defaultdict[str, list[str]] = defaultdict(list)
        for need in changes.release:
            gone[need.key].append(self._holder(need).id)
        for unneeded, holders in gone.items():
            self._archivist.put("", functools.partial(self._archive.release, unneeded, *holders))

    def _hold(self, need: Need) -> None:
        if self._retention.needs(need):  # still: rounds that are replayed pass by
            holder = self._holder(need)
            self._archive.hold(need.key, holder.id, holder.words)

    def _holder(self, need: Need) -> Holder:
        experiment = self._task.experiment.name
        if need.trial is not None:
            return trial_holder(experiment, need.trial, self._trials[need.trial].id)
        why = EVERY_ROUND if self._retention.keep_all else WAITING
        return sweep_holder(experiment, self._retention.sweep, why)

    def close(self, status: str) -> tuple[int, str]:
        """End what still runs, wait for the log; how many entries could not be logged, and why."""
        for key in sorted(self._running):
            self._end(key, "KILLED")
        unlogged = self._writer.close()
        self._archivist.close()  # what it has not noted costs disk, or time where another sweep deletes weights
        last = Writer()  # the end comes after all that is logged: it lets another sweep into the experiment
        last.put("", self._when_open(lambda: self._end_sweep(status)))
        return unlogged + last.close(patient=not unlogged), self._writer.error or last.error

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
            self._sum_up(key.method)
            self._logged.forget(trial)
            self._chains.pop(trial.id, None)

        self._put(trial, end)

    def _sum_up(self, method: str) -> None:
        """Tell the sweep's own run of a method once all its trials have ended."""
        if all(key in self._ended for key in self._trials if key.method == method):
            self._tracker.summary.log([method])

    def _tell_readings(self) -> None:
        readings = self._readings.pending()
        self._tracker.log_system(readings)
        self._readings.told(len(readings))

    def _end_sweep(self, status: str) -> None:
        self._tell_readings()
        self._tracker.summary.log(sorted(self._tracker.summary.methods()))  # of those too that lack trials
        self._tracker.end_sweep(status)

    def _put(self, trial: TrackedTrial, job: Callable[[], None]) -> None:
        self._writer.put(trial.id, self._when_open(job))

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
            self._tell_readings()
        for _ in reports:
            waiting.popleft()


def _follow(chain: list[Report], report: Report) -> None:
    """Add a round to a trial's rounds 1, 2, ...; those of a trial that was started elsewhere take the others' place."""
    place = report.number - 1
    assert place <= len(chain), (place, len(chain))
    if place == len(chain) or chain[place].link != report.link:
        chain[place:] = [report]


def last_error(trial: Trial) -> str:
    """The last line of what Ray says of the trial's last failure."""
    return str(trial.get_error() or "no error was reported").strip().splitlines()[-1]
