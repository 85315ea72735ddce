"""The attempts of a sweep's trials: which of them run, which have finished or failed, and which run again."""

from collections.abc import Callable, Collection
from typing import Any

from ray.tune.experiment import Trial

from rsrl_ray.core.trial import Block, Origin, TrialKey
from rsrl_ray.sweep.driver.blame import Blame
from rsrl_ray.sweep.driver.crashes import crash_of
from rsrl_ray.sweep.driver.listener import Listener
from rsrl_ray.sweep.driver.scheduler import block_of
from rsrl_ray.sweep.nodes.claims import Claims
from rsrl_ray.sweep.nodes.room import lost_nodes, with_room
from rsrl_ray.sweep.ray_insides.trials import actor_of, asked_by, id_of, node_of
from rsrl_ray.sweep.report import Failure, Report

FAILURES_A_ROUND = 3  # a trial that fails this often on one round is given up


Ended = Callable[[TrialKey, str, str, Origin | None], None]
"""Called at a trial's end: its status (FINISHED, FAILED, KILLED), why it failed, the origin of its rounds if known."""


class Attempts(Listener):
    """Counts a block's own failures in one round, and lets Ray start it again until there are too many.

    If a block of several trials fails too often, nobody knows whose fault it is: each of them runs again by itself.

    alone : the trials that run by themselves for this reason.
    """

    def __init__(self, ended: Ended, claims: Claims) -> None:
        self._tell, self._claims = ended, claims
        self.blame = Blame()
        self.finished: list[TrialKey] = []
        self.failed: dict[TrialKey, str] = {}
        self.alone: set[TrialKey] = set()
        self._furthest: dict[Block, int] = {}
        self._running: set[TrialKey] = set()
        self._dropped: list[TrialKey] = []

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The block has an actor."""
        block, actor = block_of(trial), id_of(actor_of(trial))
        self._running.update(self._going_on(trial))
        self.blame.started(block, node_of(actor), actor)

    def on_round(self, block: Trial, report: Report) -> None:
        """A round is done."""
        key = block_of(block)
        self.blame.reported(key)
        if report.number > self._furthest.get(key, 0):  # else it is replayed after a crash
            self._furthest[key] = report.number
            block.max_failures = -1

    def on_failure(self, block: Trial, failure: Failure) -> None:
        """The trial has given up."""
        self.blame.reported(block_of(block))
        self._end(failure.trial, "FAILED", failure.reason, failure.origin)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """All its rounds are done."""
        self._void_claims(trial)
        for key in self._going_on(trial):
            self.finished.append(key)
            self._end(key, "FINISHED")

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Ray starts it again after a crash, but not too often in one round if it is the block's own fault."""
        self._void_claims(trial)
        if self._failures(trial) >= FAILURES_A_ROUND - 1:
            trial.max_failures = 0

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Ray has given it up, for good or too early (see `left_of`)."""
        self._void_claims(trial)
        keys, too_often = self._going_on(trial), self._failures(trial) >= FAILURES_A_ROUND
        given_up = too_often and len(keys) == 1
        trial.max_failures = 0 if given_up else -1
        if not given_up:
            self._dropped += keys
            self.alone.update(keys if too_often else [])
            return
        number = self._furthest.get(block_of(trial), 0) + 1
        self._end(keys[0], "FAILED", f"round {number} failed {FAILURES_A_ROUND} times: {crash_of(trial).reason}")

    def left_of(self, trials: Collection[TrialKey]) -> list[TrialKey]:
        """Those of ``trials`` to run again, told once; none after Ctrl-C, which leaves some trials undone.

        Ray gives a trial up too early if it hands the process of another trial to it, and that process dies. This does
        not count as a crash of a round.
        """
        dropped, self._dropped = self._dropped, []
        ended = {*self.finished, *self.failed, *dropped}
        return dropped if all(key in ended for key in trials) else []

    def close(self) -> None:
        """End what still runs."""
        for key in sorted(self._running):
            self._end(key, "KILLED")

    def _failures(self, trial: Trial) -> int:
        """Say whose fault the block's failure is; how many failures in its next round are its own fault."""
        key, crash = block_of(trial), crash_of(trial)
        number = self._furthest.get(key, 0) + 1
        died = not (crash.in_set_up or crash.for_memory or self.blame.has_started(key))
        if crash.node and (crash.in_set_up or died):
            nodes = [node.id for node in with_room(asked_by(trial).required_resources)]
            if self.blame.refused(key, crash.node, crash.reason, nodes, died):
                return 0
        self.blame.crashed(key, number, crash.node)
        return self.blame.own_crashes(key, number, lost_nodes())

    def _going_on(self, trial: Trial) -> list[TrialKey]:
        """The trials of a block that have not failed."""
        return [key for key in block_of(trial).trials if key not in self.failed]

    def _void_claims(self, trial: Trial) -> None:
        for identity in trial.config["trial"]["ids"]:
            self._claims.ended(identity)

    def _end(self, key: TrialKey, status: str, reason: str = "", origin: Origin | None = None) -> None:
        self._running.discard(key)
        if status == "FAILED":
            self.failed[key] = reason
        self._tell(key, status, reason, origin)
