"""On which nodes trials may run: not on those that cannot set them up."""

from collections.abc import Mapping
from typing import Any

from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.util.placement_group import PlacementGroup, placement_group

from rsrl_ray.display import Display
from rsrl_ray.sweep.driver.blame import Blame
from rsrl_ray.sweep.nodes.room import all_nodes, with_room
from rsrl_ray.sweep.ray_insides.trials import ask_again, asked_by, has_processes

_NODE = "ray.io/node-id"  # a label that Ray gives every node
_TOLD_NODES = 3  # in a message


class Placement(PlacementGroupFactory):
    """A trial's resources, on none of the nodes that are in ``without`` at the time of asking.

    If a trial has left its process, any other trial may get that, also on such a node: the process has its photos.
    """

    def __init__(self, bundles: list[dict[str, int | float]], without: set[str]) -> None:
        super().__init__(bundles)
        self._without = without  # two requests are equal also if this differs

    def to_placement_group(self) -> PlacementGroup:
        """Ask Ray for the resources."""
        others = [{_NODE: f"!in({','.join(sorted(self._without))})"} for _ in self.bundles] if self._without else None
        asked: PlacementGroup = placement_group(self.bundles, self.strategy, bundle_label_selector=others)
        return asked


class Places:
    """Keeps trials away from the nodes that are to blame; ends the sweep if no other node is left."""

    def __init__(self, blame: Blame, display: Display) -> None:
        self._blame, self._display = blame, display
        self._without = set[str]()
        self._asked: Placement | None = None
        self._end = ""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles its scheduler, but the terminal stays here."""
        return {}

    def assign(self, trial: Trial) -> None:
        """Make a new trial ask for its resources with a `Placement`."""
        self._asked = Placement(asked_by(trial).bundles, self._without)
        trial.update_resources(self._asked)

    def look(self, tune: Any) -> None:
        """Act on what has failed, before ``tune``, the controller of Ray Tune, starts trials."""
        out = self._blame.out
        if out and not self._end and not has_processes(tune):
            self._end = self._none_is_left(out)
            if self._end:
                tune.request_stop_experiment()
        if out.keys() != self._without and not self._end:
            assert self._asked is not None
            self._change(out)
            ask_again(tune, self._asked)

    def check(self) -> None:
        """Raise ValueError if the sweep was ended because no node was left."""
        if self._end:
            raise ValueError(self._end)

    def _change(self, out: Mapping[str, str]) -> None:
        names = {node.id: node.name for node in all_nodes()}
        for node in out.keys() - self._without:
            why = f"{names.get(node, node)} gets no more trials: one could not be set up there: {out[node]}"
            self._display.said(why, "warning")
        for node in self._without - out.keys():
            self._display.said(f"{names.get(node, node)} gets trials again")
        self._without.clear()
        self._without.update(out)

    def _none_is_left(self, out: Mapping[str, str]) -> str:
        """A sentence if no good node is left, else "". If there is no node at all, a cluster may start some."""
        assert self._asked is not None
        nodes = with_room(self._asked.required_resources)
        if not nodes or any(node.id not in out for node in nodes):
            return ""
        told = [f"{node.name}: {out[node.id]}" for node in nodes[:_TOLD_NODES]]
        if len(nodes) > _TOLD_NODES:
            told.append(f"and {len(nodes) - _TOLD_NODES} more")
        mend = "mend that, then the same command goes on"
        return f"no node is left on which a trial can be set up ({'; '.join(told)}); {mend}"
