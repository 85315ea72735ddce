"""Ends a trial that hangs, so that Ray starts it again; after Ctrl-C, ends all trials."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.tune.experiment import Trial

from rsrl_ray.display import Display
from rsrl_ray.sweep.driver.listener import Listener
from rsrl_ray.sweep.driver.scheduler import block_of
from rsrl_ray.sweep.ray_insides.trials import actor_of
from rsrl_ray.sweep.report import Report, told_in

LEAST_S = 1800.0  # a shorter silence is not a hang
TRIALS_LOOK_S = 1.0
FACTOR = 5.0  # a silence of fewer than so many of the longest rounds is not a hang either


@dataclass
class SignsOfLife:
    """A trial: when it was last seen, whether it has trained a round since its start, and how many rounds it has."""

    seen: float
    trained: bool = False
    rounds: int = 0


class Watchdog(Listener):
    """Kills the actor of a trial that is silent for far longer than any round of this sweep took.

    How long a round takes is known when the first one is reported, trained or from the archive. Before that, nothing is
    killed. A trial that starts again may have to make all its rounds again before it reports, because their weights
    were not kept. A trial that waits for another trial's round is not killed.

    After Ctrl-C all actors are killed. Otherwise Tune waits 10 s for the end of their rounds, and keeps a core busy
    meanwhile. What they have not written to the archive is lost in both cases.
    """

    def __init__(self, display: Display, waits: Callable[[Trial], bool] = lambda trial: False) -> None:
        """``waits`` : whether a trial waits for another one; called only before a trial is killed."""
        self._display, self._waits = display, waits
        self._watches: dict[str, SignsOfLife] = {}
        self._longest = 0.0
        self._looked = 0.0
        self._interrupt: Any = None

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune has set its handler of Ctrl-C, which removes itself when it is called."""
        self._interrupt = self._interrupt or signal.getsignal(signal.SIGINT)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial has an actor."""
        before = self._watches.get(trial.trial_id, SignsOfLife(0.0))
        self._watches[trial.trial_id] = SignsOfLife(time.monotonic(), rounds=before.rounds)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """The trial lives, and tells how long a round takes: that of all trials of a block."""
        watch, rounds = self._watches[trial.trial_id], [told for told in told_in(result) if isinstance(told, Report)]
        watch.seen = time.monotonic()
        if rounds:
            watch.rounds, watch.trained = rounds[0].number, watch.trained or any(report.made for report in rounds)
            self._longest = max(self._longest, sum(report.seconds for report in rounds))

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Look for trials that hang, at most once a second."""
        if self._interrupt is not None and signal.getsignal(signal.SIGINT) is not self._interrupt:
            for trial in trials:
                if trial.status == Trial.RUNNING and actor_of(trial) is not None:
                    ray.kill(actor_of(trial))
            return
        if time.monotonic() - self._looked < TRIALS_LOOK_S:
            return
        self._looked = time.monotonic()
        for trial in trials:
            watch, actor = self._watches.get(trial.trial_id), actor_of(trial)
            if trial.status != Trial.RUNNING or watch is None or actor is None or not self._longest:
                continue
            silent = time.monotonic() - watch.seen
            if silent > max(LEAST_S, FACTOR * self._longest * (1 if watch.trained else watch.rounds + 1)):
                watch.seen = time.monotonic()
                if self._waits(trial):
                    continue
                self._display.said(f"{block_of(trial)}: silent for {silent:,.0f} s, so it is started again")
                ray.kill(actor)
