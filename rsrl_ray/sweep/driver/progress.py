"""The sweep at the terminal: a live table, or plain lines where there is no terminal."""

import time
from dataclasses import dataclass, field
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rsrl_ray.core.selection import TEST, VALIDATION
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.sweep.driver.crashes import crash_of
from rsrl_ray.sweep.driver.scheduler import trial_key
from rsrl_ray.sweep.nodes.room import WAIT_S, WAITS
from rsrl_ray.sweep.report import Failure, Report
from rsrl_ray.terminal import cell

REFRESH_S = 0.5
STYLES = {
    "running": "bold green",
    "done": "green",
    "failed": "bold red",
    "waiting": "dim",
    "starting": "yellow",
}


@dataclass
class Row:
    """One trial as it is shown."""

    state: str = "waiting"
    round: int = 0
    report: Report | None = None
    trained: list[float] = field(default_factory=list)  # seconds of the rounds that were made in this sweep


class Progress(Callback):
    """Trial, state, round of rounds, macro F, kept photos, time left."""

    def __init__(self, console: Console, keys: list[TrialKey], rounds: int, may_wait: bool = False) -> None:
        """``may_wait``: whether the sweep may have to wait for nodes of a cluster."""
        self._console, self._rounds, self._may_wait = console, rounds, may_wait
        self._rows = {key: Row() for key in keys}
        self._ran = time.monotonic()  # when a trial last ran
        self._live: Live | None = None
        self._shown = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles its callbacks; the terminal stays here."""
        return {}

    def setup(self, *args: Any, **info: Any) -> None:
        """Begin to show."""
        if self._console.is_terminal:
            self._live = Live(self._table(), console=self._console, auto_refresh=False, transient=False)
            self._live.start()

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Refresh, twice a second at the most."""
        if time.monotonic() - self._shown > REFRESH_S:
            self._say_that_it_waits(trials)
            self._refresh()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """It has an actor."""
        self._rows[trial_key(trial)].state = "running"

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A round is done, or the trial has given up."""
        key = trial_key(trial)
        row, failure = self._rows[key], Failure.from_result(result)
        if failure is not None:
            row.state = "failed"
            self._say(cell(f"{key} failed: ", "bold red"), failure.reason)
            return
        report = Report.from_result(result)
        row.round, row.report = report.number, report
        if report.made:
            row.trained.append(report.seconds)
        if not self._console.is_terminal:
            self._say(self._line(key, report))
        if report.note:
            self._say(cell(f"{key}, round {report.number}: ", "yellow"), report.note)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """All its rounds are done."""
        row = self._rows[trial_key(trial)]
        row.state = "failed" if row.state == "failed" else "done"

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Ray starts it again after a crash."""
        key, crash = trial_key(trial), crash_of(trial)
        self._rows[key].state = "starting"
        ended = f"its process ended in round {self._rows[key].round + 1}"
        how = crash.reason if crash.for_memory else "it could not be set up" if crash.in_set_up else ended
        self._say(cell(f"{key}: ", "yellow"), f"{how}; started again")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """It has failed for good."""
        key, number = trial_key(trial), self._rows[trial_key(trial)].round + 1
        if trial.max_failures == 0:
            self._rows[key].state = "failed"
            self._say(cell(f"{key} failed ", "bold red"), f"in round {number}: {crash_of(trial).reason}")
        else:
            self._rows[key].state = "waiting"
            ended = f"its process ended before round {number}; started again at the end"
            self._say(cell(f"{key}: ", "yellow"), ended)

    def close(self) -> None:
        """Leave the last table on the screen."""
        if self._live is not None:
            self._refresh()
            self._live.stop()
            self._live = None

    def _say_that_it_waits(self, trials: list[Trial]) -> None:
        """Once every `WAIT_S` in which no trial of a cluster ran, so that it does not seem to hang."""
        now = time.monotonic()
        if any(trial.status == Trial.RUNNING for trial in trials):
            self._ran = now
        elif self._may_wait and now - self._ran > WAIT_S:
            self._ran = now
            self._say(cell(f"no trial runs: {WAITS}", "yellow"))

    def _refresh(self) -> None:
        self._shown = time.monotonic()
        if self._live is not None:
            self._live.update(self._table(), refresh=True)

    def _say(self, *parts: str | Text) -> None:
        line = Text.assemble(*(part if isinstance(part, Text) else cell(part) for part in parts))
        self._console.print(line, highlight=False, soft_wrap=not self._console.is_terminal)

    def _line(self, key: TrialKey, report: Report) -> str:
        made = f"{report.seconds:.0f} s" if report.made else "from the archive"
        done = f"round {report.number} of {self._rounds}"
        return f"{key}: {done}, {_macro(report)}, kept {_kept(report)}, {made}"

    def _table(self) -> Table:
        table = Table(title_justify="left", box=None, pad_edge=False)
        for column in ("fold", "method", "state", "round", "macro F", "kept photos", "time left"):
            table.add_column(column, justify="left" if column in ("method", "state") else "right")
        rows = list(self._rows.items())
        room = max(self._console.height - 6, 5)
        if len(rows) > room:  # those that run come first, the others are counted
            rows.sort(key=lambda pair: list(STYLES).index(pair[1].state))
        for (fold, method), row in rows[:room]:
            state = cell(row.state, STYLES[row.state])
            table.add_row(
                str(fold),
                cell(method),
                state,
                f"{row.round}/{self._rounds}",
                _macro(row.report),
                _kept(row.report),
                self._left(row),
            )
        if len(rows) > room:
            table.add_row("", cell(f"and {len(rows) - room} more", "dim"))
        return table

    def _left(self, row: Row) -> str:
        if row.state != "running" or not row.trained:
            return ""
        seconds = sum(row.trained) / len(row.trained) * (self._rounds - row.round)
        return (
            f"{seconds / 3600:.1f} h"
            if seconds > 5400
            else f"{seconds / 60:.0f} min"
            if seconds > 90
            else f"{seconds:.0f} s"
        )


def _macro(report: Report | None) -> str:
    if report is None:
        return ""
    if VALIDATION not in report.metrics:
        return f"{report.value:.3f}"
    return f"{report.value:.3f} (test {report.metrics[TEST]:.3f})"


def _kept(report: Report | None) -> str:
    if report is None:
        return ""
    size, dropped = int(report.metrics["train_size"]), int(report.metrics["dropped"])
    return f"{size:,} of {size + dropped:,}"
