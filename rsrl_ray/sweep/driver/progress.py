"""What a sweep shows while it runs: how far each trial is, and lines for what a reader should know."""

import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

from ray.tune.experiment import Trial

from rsrl_ray.core.selection import TEST, VALIDATION
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.display import Display, Row
from rsrl_ray.sweep.driver.crashes import crash_of
from rsrl_ray.sweep.driver.listener import Listener
from rsrl_ray.sweep.driver.scheduler import block_of
from rsrl_ray.sweep.nodes.room import WAIT_S, WAITS
from rsrl_ray.sweep.report import Failure, Report, told_in

REFRESH_S = 0.5


@dataclass
class TrialProgress:
    """How far a trial is."""

    state: str = "waiting"
    round: int = 0
    report: Report | None = None
    trained: list[float] = field(default_factory=list)  # seconds of its rounds in this sweep, with those of its block


class SweepProgress(Listener):
    """Shows of each trial its state, its round of all rounds, macro F, kept photos and the time left."""

    def __init__(self, display: Display, keys: list[TrialKey], rounds: int, may_wait: bool = False) -> None:
        """``may_wait`` : whether the sweep may have to wait for nodes of a cluster."""
        self._display, self._rounds, self._may_wait = display, rounds, may_wait
        self._standings = {key: TrialProgress() for key in keys}
        self._ran = time.monotonic()  # when a trial last ran
        self._shows = contextlib.ExitStack()
        self._is_begun = False
        self._shown = 0.0
        self._took = 0.0  # seconds of training and judging the round that is told just now, of all trials of the block

    def setup(self, *args: Any, **info: Any) -> None:
        """Begin to show."""
        if not self._is_begun:
            self._is_begun = True
            self._shows.enter_context(self._display.started("training"))
            self._refresh()

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Refresh, at most twice a second."""
        if time.monotonic() - self._shown > REFRESH_S:
            self._say_that_it_waits(trials)
            self._refresh()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The block has an actor."""
        for standing in self._of(trial):
            standing.state = "running"

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Called by Tune."""
        made = [told for told in told_in(result) if isinstance(told, Report) and told.made]
        self._took = sum(report.seconds for report in made)
        super().on_trial_result(iteration, trials, trial, result, **info)

    def on_failure(self, block: Trial, failure: Failure) -> None:
        """A trial has given up."""
        self._standings[failure.trial].state = "failed"
        self._display.said(f"{failure.trial} failed: {failure.reason}", "failure")

    def on_round(self, block: Trial, report: Report) -> None:
        """A round is done."""
        key = report.trial
        standing = self._standings[key]
        standing.round, standing.report = report.number, report
        if self._took:
            standing.trained.append(self._took)
        self._display.said(self._line(key, report), "detail")
        if report.note:
            self._display.said(f"{key}, round {report.number}: {report.note}", "warning")

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """All its rounds are done."""
        for standing in self._of(trial):
            standing.state = "done"

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Ray starts it again after a crash."""
        key, crash, standings = block_of(trial), crash_of(trial), self._of(trial)
        for standing in standings:
            standing.state = "starting"
        ended = f"its process ended in round {standings[0].round + 1}"
        how = crash.reason if crash.for_memory else "it could not be set up" if crash.in_set_up else ended
        self._display.said(f"{key}: {how}; started again", "warning")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Ray has given it up, for good or too early."""
        key, standings = block_of(trial), self._of(trial)
        number, given_up = standings[0].round + 1, trial.max_failures == 0
        for standing in standings:
            standing.state = "failed" if given_up else "waiting"
        if given_up:
            self._display.said(f"{key} failed in round {number}: {crash_of(trial).reason}", "failure")
        else:
            ended = f"its process ended before round {number}; started again at the end"
            self._display.said(f"{key}: {ended}", "warning")

    def close(self) -> None:
        """Show the last state, which stays on the screen."""
        if self._is_begun:
            self._refresh()
        self._shows.close()

    def _of(self, trial: Trial) -> list[TrialProgress]:
        """The trials of a block that have not failed."""
        standings = [self._standings[key] for key in block_of(trial).trials]
        return [standing for standing in standings if standing.state != "failed"]

    def _say_that_it_waits(self, trials: list[Trial]) -> None:
        """Say it every `WAIT_S` in which no trial of a cluster runs, so that the sweep does not seem to hang."""
        now = time.monotonic()
        if any(trial.status == Trial.RUNNING for trial in trials):
            self._ran = now
        elif self._may_wait and now - self._ran > WAIT_S:
            self._ran = now
            self._display.said(f"no trial runs: {WAITS}", "warning")

    def _refresh(self) -> None:
        self._shown = time.monotonic()
        done = sum(standing.round for standing in self._standings.values())
        rows = [self._row(key, standing) for key, standing in self._standings.items()]
        self._display.progress("rounds", done, self._rounds * len(rows), rows)

    def _row(self, key: TrialKey, standing: TrialProgress) -> Row:
        report, made = standing.report, f"{standing.round}/{self._rounds}"
        if report is None:
            return Row(key, standing.state, made)
        return Row(key, standing.state, made, _macro(report), _kept(report), self._left(standing))

    def _line(self, key: TrialKey, report: Report) -> str:
        made = f"{report.seconds:.3g} s" if report.made else "from the archive"
        done = f"round {report.number} of {self._rounds}"
        return f"{key}: {done}, {_macro(report)}, kept {_kept(report)}, {made}"

    def _left(self, standing: TrialProgress) -> str:
        if standing.state != "running" or not standing.trained:
            return ""
        seconds = sum(standing.trained) / len(standing.trained) * (self._rounds - standing.round)
        if seconds > 5400:
            return f"{seconds / 3600:.1f} h"
        return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def _macro(report: Report) -> str:
    if VALIDATION not in report.metrics:
        return f"{report.value:.3f}"
    return f"{report.value:.3f} (test {report.metrics[TEST]:.3f})"


def _kept(report: Report) -> str:
    size, dropped = int(report.metrics["train_size"]), int(report.metrics["dropped"])
    return f"{size:,} of {size + dropped:,}"
