"""What the driver tells MLflow about every round and every trial, in the background."""

import contextlib
from collections import defaultdict, deque
from collections.abc import Callable, Mapping

from ray.tune.experiment import Trial

from rsrl_ray.core.trial import Origin, TrialKey
from rsrl_ray.sweep.driver.board import MLFLOW, STORAGE, Board
from rsrl_ray.sweep.driver.listener import Listener
from rsrl_ray.sweep.driver.logged import LoggedRounds, choices, draw, pictured
from rsrl_ray.sweep.driver.writer import Writer
from rsrl_ray.sweep.report import Report
from rsrl_ray.sweep.task import Task
from rsrl_ray.sweep.trial.gauge import Readings
from rsrl_ray.tracking.entries import SweepRun
from rsrl_ray.tracking.entries import Trial as TrackedTrial
from rsrl_ray.tracking.write import Tracker

REST_S = 10.0  # seconds from one logging of a trial to the next, so that fast rounds are logged several at once
ROUNDS_AT_ONCE = 24  # rounds of a trial that are logged together at most


class Log(Listener):
    """Logs rounds, ends of trials, readings of nodes, and the sweep's end: each once, and those of a trial in order."""

    def __init__(
        self,
        task: Task,
        tracker: Tracker,
        sweep: SweepRun,
        trials: Mapping[TrialKey, TrackedTrial],
        board: Board,
    ) -> None:
        self._tracker, self._sweep, self._trials, self._board = tracker, sweep, trials, board
        self._chooses, self._logged = task.chooses, LoggedRounds(task)
        self._writer = Writer(MLFLOW, board, REST_S)
        self._unlogged: defaultdict[TrialKey, deque[Report]] = defaultdict(deque)
        self._chains: defaultdict[TrialKey, list[Report]] = defaultdict(list)  # rounds 1, 2, ... by trial
        self._ended: set[TrialKey] = set()  # those whose end MLflow knows
        self._readings, self._readings_wait = Readings(), False

    def on_round(self, block: Trial, report: Report) -> None:
        """Log it when its turn comes."""
        self._readings.add(report.system)
        key = report.trial
        self._unlogged[key].append(report)
        self._put(str(key), lambda: self._log(key))

    def end(self, key: TrialKey, status: str, reason: str, origin: Origin | None) -> None:
        """A trial has ended; see `rsrl_ray.sweep.driver.attempts.Ended`."""
        trial = self._trials[key]

        def end() -> None:
            chain = self._chains[key]
            start = origin or (chain[-1].origin if chain else None)
            if start is not None:
                own = [report for report in chain if report.origin == start]
                self._tracker.take_up(trial, [report.link for report in own], start)
                made = choices(own, self._chooses)
                self._tracker.log_choices(trial, made, len(own))
                self._tracker.log_pictures(trial, pictured(len(own), made), draw)
            self._tracker.end_trial(trial, status, reason)
            self._ended.add(key)
            self._logged.forget(trial)
            self._chains.pop(key, None)
            self._sum_up(key.method)

        self._put(str(key), end)

    def close(self, status: str) -> None:
        """Wait for the log, after all trials and the notes in storage have ended; the board has what was not done.

        If a store lacks something, the sweep has not finished. It is KILLED, which people read as "stopped", as after
        Ctrl-C: no trial has failed, and the same command goes on and adds what is missing.
        """
        self._put_readings()
        left = self._writer.close()
        self._tell_last("the chosen rounds over the folds", self._sum_up_all)
        lacks = self._board.lacks(MLFLOW) or self._board.lacks(STORAGE)
        status = "KILLED" if lacks and status == "FINISHED" else status

        def end() -> None:
            with contextlib.suppress(Exception):  # else they stay RUNNING until the sweep goes on
                for key in self._trials:
                    if str(key) in left:
                        self._tracker.end_trial(self._trials[key], "KILLED")
            self._tracker.end_sweep(status)

        self._tell_last("the end of the sweep", end)  # last, because then another sweep may use the experiment

    def _tell_last(self, what: str, job: Callable[[], None]) -> None:
        last = Writer(MLFLOW, self._board)
        last.put(what, self._when_open(job))
        last.close(patient=not self._board.lacks(MLFLOW))

    def _sum_up(self, method: str) -> None:
        """If all trials of a method have ended, log its chosen rounds in the sweep's own run."""
        if all(key in self._ended for key in self._trials if key.method == method):
            self._writer.put(f"the chosen rounds of {method}", lambda: self._tracker.summary.log([method]))

    def _sum_up_all(self) -> None:
        """Log the chosen rounds of all methods, also of those that lack trials."""
        self._tracker.summary.log(sorted(self._tracker.summary.methods()))

    def _put_readings(self) -> None:
        """Log all readings so far. They have a line of their own, so no trial waits for them."""
        if self._readings.pending() and not self._readings_wait:
            self._readings_wait = True
            self._put("how busy the nodes were", self._tell_readings)

    def _tell_readings(self) -> None:
        readings = self._readings.pending()
        self._tracker.log_system(readings)
        self._readings.told(len(readings))
        self._readings_wait = False

    def _put(self, line: str, job: Callable[[], None]) -> None:
        self._writer.put(line, self._when_open(job))

    def _when_open(self, job: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            self._tracker.open_sweep(self._sweep)  # once its server answers
            job()

        return run

    def _log(self, key: TrialKey) -> None:
        """Log the next round of the trial that waits, or several at once if several wait."""
        trial, waiting, chain = self._trials[key], self._unlogged[key], self._chains[key]
        if not waiting:  # it was logged together with an earlier one
            return
        reports = [waiting[place] for place in range(min(len(waiting), ROUNDS_AT_ONCE))]
        for report in reports:
            _follow(chain, report)
        logged = self._tracker.take_up(trial, [report.link for report in chain], chain[-1].origin)
        if logged < len(chain):  # else they are replayed
            made = choices(chain, self._chooses)
            self._tracker.log_rounds(trial, self._logged.rounds(trial, chain[logged:], made))
            self._put_readings()
        for _ in reports:
            waiting.popleft()


def _follow(chain: list[Report], report: Report) -> None:
    """Add a round to a trial's rounds 1, 2, ...; a different round of that number, and all after it, are dropped."""
    place = report.number - 1
    assert place <= len(chain), (place, len(chain))
    if place == len(chain) or chain[place].link != report.link:
        chain[place:] = [report]
