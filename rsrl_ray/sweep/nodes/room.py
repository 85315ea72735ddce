"""The nodes of this Ray: their names, and which of them have room for a trial."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rsrl_ray.config import Resources
from rsrl_ray.display import Display
from rsrl_ray.sweep.ray_insides.connection import began_ray

A_LITTLE = 0.01  # of a GPU, to look at it
WAIT_S = 60.0  # if a cluster starts nothing for so long, it has no room
WAITS = "waiting for nodes with room (`ray status` shows what the cluster starts)"


@dataclass(frozen=True)
class Node:
    """A node: Ray's id; host and address as its name for people; all its resources, free or not."""

    id: str
    name: str
    is_alive: bool
    has: Mapping[str, float]

    def holds(self, share: Mapping[str, float]) -> bool:
        """Whether it is large enough for a trial that needs this share of a node."""
        return all(self.has.get(name, 0.0) >= least for name, least in share.items())

    def count(self, share: Mapping[str, float]) -> int:
        """How many such trials it can hold at once."""
        return min(int(self.has.get(name, 0.0) / least) for name, least in share.items() if least)


def all_nodes() -> list[Node]:
    """The nodes that this Ray has, and those that it has lost."""
    found: list[Any] = ray.nodes()  # type: ignore[no-untyped-call]
    return [
        Node(
            node["NodeID"],
            f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
            node["Alive"],
            node["Resources"],
        )
        for node in found
    ]


def living() -> list[Node]:
    """The nodes that this Ray has."""
    return [node for node in all_nodes() if node.is_alive]


def lost_nodes() -> set[str]:
    """The ids of the nodes that this Ray has lost, for whatever reason."""
    return {node.id for node in all_nodes() if not node.is_alive}


def with_room(share: Mapping[str, float]) -> list[Node]:
    """The nodes that are large enough for a trial."""
    return [node for node in living() if node.holds(share)]


def wanted(resources: Resources) -> dict[str, float]:
    """What a node needs to hold a trial."""
    return {"CPU": resources.cpus, "GPU": A_LITTLE if resources.gpus == "auto" else resources.gpus}


@functools.cache  # Ray sends a function to the cluster whenever it is made remote
def _remote(function: Callable[..., Any]) -> Any:
    return ray.remote(num_cpus=0, max_retries=0)(function)


def called_on(node: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the function on the node with this id; Ray's reference to what it will return."""
    on_it = NodeAffinitySchedulingStrategy(node, soft=False)
    return _remote(function).options(scheduling_strategy=on_it).remote(*arguments)


def wait_for_room(asked: list[Any], display: Display) -> None:
    """Wait until one of these tasks is done; every `WAIT_S`, say that the cluster has no room."""
    while not ray.wait(asked, timeout=WAIT_S)[0]:
        if not began_ray():
            display.said(f"nothing can start: {WAITS}", "warning")


def check_room(resources: Resources, display: Display) -> None:
    """If no node can hold a trial, a cluster is waited for. On one machine nothing will come: raises ValueError."""
    is_auto, share = resources.gpus == "auto", wanted(resources)
    if with_room(share):
        return
    if not began_ray():
        gpus = "some of a GPU" if is_auto else f"{share['GPU']:g} GPUs"
        waits = (
            f"no node has {resources.cpus:g} CPUs and {gpus} for a trial yet: the sweep waits "
            "until the cluster has such a node; `ray status` shows what it starts"
        )
        display.said(waits, "warning")
        return
    for knob, name in (("cpus", "CPU"), ("gpus", "GPU")):
        there = max(node.has.get(name, 0.0) for node in living())
        if share[name] > there:
            asked = "auto" if is_auto and name == "GPU" else f"{share[name]:g}"
            raise ValueError(f"resources.{knob}: {asked} for a trial, but this machine has {there:g}")
