"""What the driver does with every result: MLflow in the background, and weights that nobody needs any more."""

import functools
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune import Callback
from ray.tune.experiment import Trial

from rsrl_ray.round_files import write_round
from rsrl_ray.round_table import predictions, round_metrics
from rsrl_ray.store.archive import Archive, Record
from rsrl_ray.sweep.cluster import dead_nodes
from rsrl_ray.sweep.retention import Retention
from rsrl_ray.sweep.scheduler import TrialKey
from rsrl_ray.sweep.trainable import Task
from rsrl_ray.sweep.writer import DROPS, Writer
from rsrl_ray.tracking import write as tracking

FAILURES_A_ROUND = 3  # a trial that fails this often on one round is given up
ROUNDS_AT_ONCE = 8  # rounds of a trial that are logged together, where logging has fallen behind


class Recorder(Callback):
    """Tune's events to MLflow and to the archive's retention."""

    def __init__(
        self,
        task: Task,
        tracker: tracking.Tracker,
        open_sweep: Callable[[], None],
        trials: Mapping[TrialKey, tracking.Trial],
        retention: Retention | None,
        say: Callable[[str], None],
    ) -> None:
        self._task, self._tracker, self._open_sweep = task, tracker, open_sweep
        self._trials, self._retention = trials, retention
        self._archive = Archive(task.experiment.storage)
        self._writer = Writer()
        self._unlogged: defaultdict[str, deque[dict[str, Any]]] = defaultdict(deque)
        self._chains: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._previous: dict[str, tuple[str, Record]] = {}
        self._failures: Counter[tuple[TrialKey, int]] = Counter()
        self._furthest: dict[TrialKey, int] = {}
        self.finished: list[TrialKey] = []
        self.failed: dict[TrialKey, str] = {}
        self._running: set[TrialKey] = set()
        self._dropped: list[TrialKey] = []

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles its callbacks; threads and clients stay here."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """It has an actor."""
        self._running.add(trial_key(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A round is done, or the trial has given up."""
        key = trial_key(trial)
        if "failed" in result:
            self._end(key, "FAILED", result["failed"])
            return
        if result["round"] > self._furthest.get(key, 0):  # not a round that is replayed after a crash
            self._furthest[key] = result["round"]
            trial.max_failures = -1
        tracked = self._trials[key]
        self._unlogged[tracked.id].append(result)
        self._put(tracked, lambda: self._log(tracked))
        if self._retention is not None:
            value = result.get("validation_macro_f1", result["test_macro_f1"])
            for unneeded in self._retention.finished(key, result["round"], result["key"], value):
                self._writer.put(DROPS, functools.partial(self._archive.drop_weights, unneeded))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """All its rounds are done."""
        if trial_key(trial) not in self.failed:
            self.finished.append(trial_key(trial))
            self._end(trial_key(trial), "FINISHED")

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Ray starts it again after a crash; not for ever in the same round, save when nodes are lost."""
        if self._failed(trial_key(trial)) >= FAILURES_A_ROUND - 1:
            trial.max_failures = 0

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Ray has given it up: for good, or too early (see `take_dropped`)."""
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
        return self._failures[failed] - dead_nodes()

    def close(self, status: str) -> tuple[int, str]:
        """End what still runs, wait for the log; how many entries could not be logged, and why."""
        for key in sorted(self._running):
            self._end(key, "KILLED")
        self._put(None, lambda: self._tracker.end_sweep(status))
        return self._writer.close(), self._writer.error

    def _end(self, key: TrialKey, status: str, reason: str = "") -> None:
        self._running.discard(key)
        if status == "FAILED":
            self.failed[key] = reason
        trial = self._trials[key]

        def end() -> None:
            self._tracker.end_trial(trial, status, reason)
            self._previous.pop(trial.id, None)  # logits of a thousand ended trials would fill the memory
            self._chains.pop(trial.id, None)

        self._put(trial, end)

    def _put(self, trial: tracking.Trial | None, job: Callable[[], None]) -> None:
        def run() -> None:
            self._open_sweep()
            job()

        self._writer.put(trial.id if trial else "", run)

    def _log(self, trial: tracking.Trial) -> None:
        """Log the trial's rounds that wait for it: one, or several at once where logging has fallen behind."""
        waiting, chain = self._unlogged[trial.id], self._chains[trial.id]
        results = [waiting[place] for place in range(min(len(waiting), ROUNDS_AT_ONCE))]
        for result in results:
            _follow(chain, result)
        origin = tracking.Origin(chain[-1]["device"], chain[-1]["versions"])
        logged = self._tracker.take_up(trial, [result["key"] for result in chain], origin)
        new = [self._round(trial, result) for result in chain[logged:]]  # none, where they are replayed
        if new:
            self._tracker.log_rounds(trial, new)
        for _ in results:
            waiting.popleft()

    def _round(self, trial: tracking.Trial, result: dict[str, Any]) -> tracking.Round:
        experiment, photos = self._task.experiment, self._task.photos
        record, before = self._record(trial, result["key"]), self._before(trial, result)
        fold = next(fold for fold in self._task.folds if fold.number == trial.key.fold)
        settings = experiment.revision
        returned = record.kept & ~before
        table = predictions(
            photos.images, photos.scores, fold, record.kept, returned, record.logits, settings.membership
        )
        same = ("seconds", "reused", "epochs_so_far", "guarded")
        values = round_metrics(table, settings.majority_classes) | {name: result[name] for name in same}
        title = f"{trial.name}, round {result['round']}: macro F {values['test_macro_f1']:.3f}"

        def write(folder: Path) -> None:
            write_round(folder, table, record.conv1, title)

        self._previous[trial.id] = (result["key"], record)
        return tracking.Round(result["round"], values, result["note"], result["key"], record.created, write)

    def _before(self, trial: tracking.Trial, result: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """The kept mask of the round before, [N]; round 1 has none, and no photo has come back."""
        if result["round"] == 1:
            return np.ones(len(self._task.photos.scores), dtype=bool)
        return self._record(trial, result["parent_key"]).kept

    def _record(self, trial: tracking.Trial, key: str) -> Record:
        known = self._previous.get(trial.id)
        record = known[1] if known is not None and known[0] == key else self._archive.read(key)
        if record is None:
            raise FileNotFoundError(f"round {key} is no longer in the archive")
        return record


def _follow(chain: list[dict[str, Any]], result: dict[str, Any]) -> None:
    """Add a round to a trial's rounds 1, 2, ...; those of a trial that was started elsewhere take the others' place."""
    place = result["round"] - 1
    assert place <= len(chain), (place, len(chain))
    if place == len(chain) or chain[place]["key"] != result["key"]:
        chain[place:] = [result]


def trial_key(trial: Trial) -> TrialKey:
    """(fold, schedule) of a Tune trial."""
    return trial.config["trial"]["fold"], trial.config["trial"]["schedule"]


def last_error(trial: Trial) -> str:
    """The last line of what Ray says of the trial's last failure."""
    return str(trial.get_error() or "no error was reported").strip().splitlines()[-1]
