"""A trial that hangs is ended, so that Ray starts it again; one that trains is, once the sweep is to end."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.tune.experiment import Trial

from rsrl_ray.display import Display
from rsrl_ray.sweep.driver.listener import Listener
from rsrl_ray.sweep.driver.scheduler import trial_key
from rsrl_ray.sweep.ray_insides.trials import actor_of
from rsrl_ray.sweep.report import Failure, Report

LEAST_S = 1800.0  # no silence shorter than this is taken for a hang
TRIALS_LOOK_S = 1.0
FACTOR = 5.0  # nor one shorter than so many of the longest rounds


@dataclass
class SignsOfLife:
    """A trial's last sign of life, whether it has trained a round since it was started, and how many rounds it has."""

    seen: float
    trained: bool = False
    rounds: int = 0


class Watchdog(Listener):
    """Kills the actor of a trial that is silent for far longer than any round of this sweep took.

    How long a round takes is known once one was reported, trained here or found in the archive; before, nothing is
    killed. A trial that was started anew may have to make again every round that it has, whose weights were not kept,
    before it reports. One that waits for a round that another trial makes is left alone.

    After Ctrl-C all are killed, whatever they do: Tune would wait for the ends of their rounds, for 10 s, and turn in
    circles meanwhile. What they have not written to the archive is lost either way.
    """

    def __init__(self, display: Display, waits: Callable[[Trial], bool] = lambda trial: False) -> None:
        """``waits``: whether a trial waits for another one; asked only before one is killed."""
        self._display, self._waits = display, waits
        self._watches: dict[str, SignsOfLife] = {}
        self._longest = 0.0
        self._looked = 0.0
        self._interrupt: Any = None

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune has set its handler of Ctrl-C, which takes itself away when it is called."""
        self._interrupt = self._interrupt or signal.getsignal(signal.SIGINT)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """It has an actor."""
        before = self._watches.get(trial.trial_id, SignsOfLife(0.0))
        self._watches[trial.trial_id] = SignsOfLife(time.monotonic(), rounds=before.rounds)

    def on_round(self, trial: Trial, report: Report) -> None:
        """It lives, and tells how long a round takes."""
        watch = self._watches[trial.trial_id]
        watch.seen, watch.rounds, watch.trained = time.monotonic(), report.number, watch.trained or report.made
        self._longest = max(self._longest, report.seconds)

    def on_failure(self, trial: Trial, failure: Failure) -> None:
        """It lives."""
        self._watches[trial.trial_id].seen = time.monotonic()

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Look for trials that hang, once a second at the most."""
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
                self._display.said(f"{trial_key(trial)}: silent for {silent:,.0f} s, so it is started again")
                ray.kill(actor)
