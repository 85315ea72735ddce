"""The processes of trials, and the controller of Tune.

At an upgrade: may Tune take `OutOfMemoryError` for a crash (driver/test_crashes.py)? Does the controller still hold an
`_actor_manager` (driver/test_places.py)?
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from ray import NodeID
from ray._private import serialization, state
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial


class MemoryKill(OutOfMemoryError, RayActorError):
    """Ray's memory monitor has ended a process."""

    def __init__(self, message: str) -> None:
        OutOfMemoryError.__init__(self, message)  # type: ignore[no-untyped-call]
        RayActorError.__init__(self, error_msg=message)


@contextlib.contextmanager
def kills_are_crashes() -> Iterator[None]:
    """While the body runs, Ray Tune takes a process that is ended for its memory for one that has crashed.

    Tune does not know Ray's own error, and would end the sweep.
    """
    rays: Any = serialization
    rays.OutOfMemoryError = MemoryKill
    try:
        yield
    finally:
        rays.OutOfMemoryError = OutOfMemoryError


def actor_of(trial: Trial) -> Any:
    """The actor of a trial, or None."""
    return trial.temporary_state.ray_actor


def id_of(actor: Any) -> str:
    """An actor's id, as Ray's errors name it."""
    identity: str = actor._actor_id.hex()
    return identity


def node_of(actor: str | None) -> str:
    """The node that the actor with this id is on, or was on; empty if Ray does not know."""
    found = state.actors(actor) if actor else {}
    node: str = found.get("Address", {}).get("NodeID", "")
    return "" if node == NodeID.nil().hex() else node  # this is the node of an actor that was never placed


def asked_by(trial: Trial) -> PlacementGroupFactory:
    """The resources that a trial asks for."""
    asked: Any = trial
    assert isinstance(asked.placement_group_factory, PlacementGroupFactory)
    return asked.placement_group_factory


def has_processes(tune: Any) -> bool:
    """Whether any trial has a process that lives; ``tune`` is the controller."""
    return bool(tune._actor_manager.num_live_actors)


def ask_again(tune: Any, asked: PlacementGroupFactory) -> None:
    """Ask again for the resources of all processes that have not started; Ray may have found them on any node."""
    actors = tune._actor_manager
    waiting, manager = len(actors.pending_actors), actors._resource_manager
    for _ in range(waiting):
        manager.cancel_resource_request(asked)
    for _ in range(waiting):
        manager.request_resources(asked)
