"""How often a trial may fail: in one round, by its own fault."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.tune import PlacementGroupFactory
from sweep.ray_nodes import node
from sweep.reports import ORIGIN, carried

from rsrl_ray.core.trial import TrialKey
from rsrl_ray.sweep.driver import attempts
from rsrl_ray.sweep.driver.attempts import Attempts
from rsrl_ray.sweep.driver.crashes import Crash
from rsrl_ray.sweep.nodes.claims import Claims
from rsrl_ray.sweep.report import Failure

FIRM = TrialKey(0, "firm")


@dataclass
class Ray:
    """Nodes, of which some are lost, and a trial that crashes on them."""

    attempts: Attempts
    ended: list[tuple[object, ...]]
    lost: set[str] = field(default_factory=lambda: {f"lost {number}" for number in range(20)})
    trial: Any = field(
        default_factory=lambda: SimpleNamespace(
            config=carried(0, "firm"),
            max_failures=-1,
            temporary_state=SimpleNamespace(ray_actor=None),
            placement_group_factory=PlacementGroupFactory([{"CPU": 1}]),
        )
    )

    def nodes(self) -> list[dict[str, Any]]:
        return [node(name, alive=name not in self.lost) for name in {"here", *self.lost}]

    def crash(self, node: str, last: bool = False) -> None:
        """The trial is started on the node and crashes there; ``last``: Ray starts it no more."""
        actor = SimpleNamespace(_actor_id=SimpleNamespace(hex=lambda: node))
        self.trial.temporary_state.ray_actor = actor
        self.attempts.on_trial_start(0, [], self.trial)
        (self.attempts.on_trial_error if last else self.attempts.on_trial_recover)(0, [], self.trial)


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> Ray:
    ended: list[tuple[object, ...]] = []
    crashing = Ray(Attempts(lambda *told: ended.append(told), Claims()), ended)
    monkeypatch.setattr(attempts, "node_of", lambda actor: actor)
    monkeypatch.setattr(attempts, "crash_of", lambda trial: Crash("it has died"))
    monkeypatch.setattr(ray, "nodes", crashing.nodes)
    return crashing


def test_a_trial_that_crashes_by_itself_runs_three_times_however_many_nodes_are_lost(crashing: Ray) -> None:
    crashing.crash("here")
    assert crashing.trial.max_failures == -1
    crashing.crash("here")
    assert crashing.trial.max_failures == 0  # the next failure is its last: it has run three times then


def test_a_crash_on_a_node_that_is_lost_is_no_try(crashing: Ray) -> None:
    for number in range(5):
        crashing.crash(f"lost {number}")
    crashing.crash("here")
    assert crashing.trial.max_failures == -1
    crashing.crash("here")
    assert crashing.trial.max_failures == 0
    crashing.lost.add("here")
    crashing.crash("here", last=True)
    assert crashing.attempts.left_of([FIRM]) == [FIRM]  # to run again


def test_the_third_crash_in_a_round_is_the_last(crashing: Ray) -> None:
    for last in (False, False, True):
        crashing.crash("here", last)
    assert crashing.ended == [(FIRM, "FAILED", "round 1 failed 3 times: it has died", None)]
    assert crashing.attempts.failed == {FIRM: "round 1 failed 3 times: it has died"}
    assert (crashing.trial.max_failures, crashing.attempts.left_of([FIRM])) == (0, [])


def test_a_block_of_several_trials_that_crashes_too_often_is_run_again_each_by_itself(crashing: Ray) -> None:
    none, quantile = TrialKey(0, "none"), TrialKey(0, "quantile")
    crashing.trial.config = carried(0, "firm", "none", "quantile")
    crashing.attempts.on_failure(crashing.trial, Failure(quantile, "diverged", ORIGIN))
    for last in (False, False, True):
        crashing.crash("here", last)
    assert crashing.ended == [(quantile, "FAILED", "diverged", ORIGIN)]
    assert crashing.trial.max_failures == -1  # not given up
    assert crashing.attempts.left_of([FIRM, none, quantile]) == [FIRM, none]
    assert crashing.attempts.alone == {FIRM, none}
    crashing.attempts.close()
    assert [key for key, status, *_ in crashing.ended if status == "KILLED"] == [FIRM, none]  # one has failed already
