"""The nodes that trials may be on: not those that cannot set them up."""

from collections.abc import Mapping
from typing import Any

import ray
from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.util.placement_group import PlacementGroup, placement_group

from rsrl_ray.display import Display
from rsrl_ray.sweep.blame import Blame

_NODE = "ray.io/node-id"  # a label that Ray gives every node
_TOLD = 3  # nodes


class Placement(PlacementGroupFactory):
    """A trial's resources, on none of the nodes that are in ``without`` when they are asked for.

    A process that a trial has left goes to any other one, on such a node too: there it has its photos.
    """

    def __init__(self, bundles: list[dict[str, int | float]], without: set[str]) -> None:
        super().__init__(bundles)
        self._without = without  # not what two requests are compared by

    def to_placement_group(self) -> PlacementGroup:
        """Ask Ray for them."""
        others = [{_NODE: f"!in({','.join(sorted(self._without))})"} for _ in self.bundles] if self._without else None
        asked: PlacementGroup = placement_group(self.bundles, self.strategy, bundle_label_selector=others)
        return asked


class Places:
    """Keeps trials from the nodes that are to blame, and ends the sweep where no other node is left."""

    def __init__(self, blame: Blame, display: Display) -> None:
        self._blame, self._display = blame, display
        self._without = set[str]()
        self._asked: Placement | None = None
        self._end = ""

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles its scheduler; the terminal stays here."""
        return {}

    def assign(self, trial: Trial) -> None:
        """Let the trial, which is new, ask for resources by way of `Placement`."""
        self._asked = Placement(_asked_by(trial).bundles, self._without)
        trial.update_resources(self._asked)

    def look(self, tune: Any) -> None:
        """Follow what has failed; ``tune`` is the controller of Ray Tune, before it starts trials."""
        out, actors = self._blame.out, tune._actor_manager
        if out and not self._end and not actors.num_live_actors:
            self._end = self._none_is_left(out)
            if self._end:
                tune.request_stop_experiment()
        if out.keys() != self._without and not self._end:
            self._change(out)
            self._ask_again(actors)

    def check(self) -> None:
        """Raise ValueError where the sweep was ended since no node was left."""
        if self._end:
            raise ValueError(self._end)

    def _change(self, out: Mapping[str, str]) -> None:
        names = node_names()
        for node in out.keys() - self._without:
            why = f"{names.get(node, node)} gets no more trials: one could not be set up there: {out[node]}"
            self._display.said(why, "warning")
        for node in self._without - out.keys():
            self._display.said(f"{names.get(node, node)} gets trials again")
        self._without.clear()
        self._without.update(out)

    def _ask_again(self, actors: Any) -> None:
        """For the resources of processes that have not been started, which Ray may have found on any node."""
        waiting, manager = len(actors.pending_actors), actors._resource_manager
        for _ in range(waiting):
            manager.cancel_resource_request(self._asked)
        for _ in range(waiting):
            manager.request_resources(self._asked)

    def _none_is_left(self, out: Mapping[str, str]) -> str:
        """That no node is left, where that is so; while there is none at all, a cluster may start some."""
        assert self._asked is not None
        nodes = with_room(self._asked.required_resources)
        if not nodes or nodes.keys() - out.keys():
            return ""
        told = [f"{name}: {out[node]}" for node, name in list(nodes.items())[:_TOLD]]
        more = [f"and {len(nodes) - _TOLD} more"] * (len(nodes) > _TOLD)
        mend = "mend that, then the same command goes on"
        return f"no node is left on which a trial can be set up ({'; '.join(told + more)}); {mend}"


def needs(trial: Trial) -> dict[str, float]:
    """The resources of a trial."""
    found: dict[str, float] = _asked_by(trial).required_resources
    return found


def with_room(share: Mapping[str, float]) -> dict[str, str]:
    """The nodes that are large enough for a trial, by what people call them."""
    large = {
        node["NodeID"]
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and all(node["Resources"].get(name, 0.0) >= least for name, least in share.items())
    }
    return {node: name for node, name in node_names().items() if node in large}


def node_names() -> dict[str, str]:
    """What people call the nodes of this Ray: host and address."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})" for node in nodes}


def lost_nodes() -> set[str]:
    """The nodes that this Ray has had and has no more, however they ended."""
    return {node["NodeID"] for node in ray.nodes() if not node["Alive"]}  # type: ignore[no-untyped-call]


def _asked_by(trial: Trial) -> PlacementGroupFactory:
    asked: Any = trial
    assert isinstance(asked.placement_group_factory, PlacementGroupFactory)
    return asked.placement_group_factory
