"""A node that cannot set trials up gets no more of them."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
import ray
from ray import cloudpickle
from ray.tune import PlacementGroupFactory
from rich.console import Console
from sweep.ray_nodes import nodes_of_this_machine
from sweep.sweeping import KNOBS, Gate, Left, Write, start_driver, states, statuses

from rsrl_ray.core.trial import TrialKey
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.sweep.driver import places
from rsrl_ray.sweep.driver.blame import Blame
from rsrl_ray.sweep.driver.launch import run_sweep
from rsrl_ray.sweep.driver.places import Placement, Places
from rsrl_ray.sweep.task import Task, Trainers
from rsrl_ray.terminal import Terminal

FIRM, NONE = TrialKey(0, "firm"), TrialKey(0, "none")
NODES = {"a", "b"}


class Tune:
    """The controller's side: processes that are asked for and those that live."""

    def __init__(self, waiting: int, live: int) -> None:
        self.asked = [False] * waiting  # whether each was asked for again
        self.num_live_actors = live
        self.stopped = False
        self._actor_manager = self._resource_manager = self

    @property
    def pending_actors(self) -> list[bool]:
        return self.asked.copy()

    def cancel_resource_request(self, resource_request: Placement) -> None:
        self.asked.pop(0)

    def request_resources(self, resource_request: Placement) -> None:
        self.asked.append(True)

    def request_stop_experiment(self) -> None:
        self.stopped = True


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Two nodes for trials of one core, and one that is too small."""
    found = [
        {"NodeID": name, "Alive": True, "Resources": {"CPU": cores}, "NodeManagerHostname": f"host-{name}"}
        | {"NodeManagerAddress": f"192.0.2.{number}"}
        for number, (name, cores) in enumerate({"a": 2.0, "b": 1.0, "head": 0.0}.items())
    ]
    monkeypatch.setattr(ray, "nodes", lambda: found)
    return found


def kept_places(blame: Blame) -> tuple[Places, Any, io.StringIO]:
    """With a trial that was added; and what is said."""
    said, trial = io.StringIO(), SimpleNamespace(placement_group_factory=PlacementGroupFactory([{"CPU": 1}]))
    trial.update_resources = lambda asked: vars(trial).update(placement_group_factory=asked)
    kept = Places(blame, Terminal(Console(file=said, width=300)))
    kept.assign(trial)  # type: ignore[arg-type]
    return kept, trial, said


def test_a_trial_asks_for_any_node_but_those_that_are_out(
    nodes: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(places, "placement_group", lambda *words, **named: asked.append((*words, named)))
    blame = Blame()
    kept, trial, said = kept_places(blame)
    trial.placement_group_factory.to_placement_group()
    before = Placement([{"CPU": 1}], set())
    assert (trial.placement_group_factory, hash(trial.placement_group_factory)) == (before, hash(before))
    tune = Tune(waiting=3, live=1)
    kept.look(tune)
    assert (tune.asked, said.getvalue()) == ([False] * 3, "")
    blame.refused(FIRM, "a", "the disk is full", NODES)
    for _ in range(2):
        kept.look(tune)
    assert tune.asked == [True] * 3
    assert (
        said.getvalue() == "host-a (192.0.2.0) gets no more trials: one could not be set up there: the disk is full\n"
    )
    trial.placement_group_factory.to_placement_group()
    cloudpickle.loads(cloudpickle.dumps(trial.placement_group_factory)).to_placement_group()  # as Tune saves it
    assert trial.placement_group_factory == before  # a free process goes to any trial
    anywhere, *others = [named["bundle_label_selector"] for *_, named in asked]
    assert (anywhere, others) == (None, [[{"ray.io/node-id": "!in(a)"}]] * 2)
    blame.refused(FIRM, "b", "no such method", NODES)  # it is the trial's fault
    kept.look(tune)
    assert said.getvalue().endswith("\nhost-a (192.0.2.0) gets trials again\n")


def test_the_sweep_ends_where_no_node_is_left_and_no_process_either(nodes: list[dict[str, Any]]) -> None:
    blame, tune = Blame(), Tune(waiting=1, live=1)
    kept, _, said = kept_places(blame)
    for trial, node in ((FIRM, "a"), (NONE, "b")):
        blame.refused(trial, node, f"the disk of {node} is full", {*NODES, "c"})
    kept.look(tune)
    kept.check()
    assert (tune.stopped, len(said.getvalue().splitlines())) == (False, 2)  # a trial runs, or is being set up
    tune.num_live_actors = 0
    kept.look(tune)
    assert tune.stopped
    with pytest.raises(ValueError) as ended:
        kept.check()
    assert str(ended.value) == (
        "no node is left on which a trial can be set up (host-a (192.0.2.0): the disk of a is full; "
        "host-b (192.0.2.1): the disk of b is full); mend that, then the same command goes on"
    )


@pytest.mark.parametrize("left", ["one that can", "none at all"])
def test_the_sweep_goes_on_where_another_node_is_there_or_may_come(left: str, nodes: list[dict[str, Any]]) -> None:
    blame, tune = Blame(), Tune(waiting=1, live=0)
    kept, _, _ = kept_places(blame)
    blame.refused(FIRM, "a", "the disk is full", NODES)
    if left == "none at all":  # a cluster has ended its nodes, and may start others
        nodes[0]["Alive"] = nodes[1]["Alive"] = False
    kept.look(tune)
    kept.check()
    assert not tune.stopped


def until(output: IO[str], words: str) -> list[str]:
    """The lines up to the one with these words."""
    lines: list[str] = []
    while not lines or words not in lines[-1]:
        line = output.readline()
        assert line, lines  # else the driver has ended
        lines.append(line.strip())
    return lines


BROKEN = """
def broken(trainers, task, inner=NetworkTrainers.__init__):
    if "RSRL_BROKEN" in os.environ:
        with open(GATE + "/../broken", "a") as log:
            log.write("x")
        raise OSError(28, "No space left on device")
    inner(trainers, task)


NetworkTrainers.__init__ = broken
"""


@pytest.mark.slow
def test_a_node_whose_disk_is_full_gets_one_trial_which_goes_on_elsewhere(
    experiment_file: Write, tmp_path: Path, undisturbed: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a Ray without a token, joined from a home that has one, which Ray leaves there when it begins by itself."""
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("ab" * 32)
    file = experiment_file(**KNOBS | {"folds": {**KNOBS["folds"], "use": [0, 1]}, "resources": {"cpus": 1}})
    held = {"rsrl_ray.vision.trainer": "fit_together = gate(fit_together)"}  # on the other node
    gate = Gate(tmp_path, {"rsrl_ray.sweep.trial.trainers": BROKEN} | held)
    with nodes_of_this_machine(gate, num_cpus=0) as cluster:
        for environment in ({}, {"RSRL_BROKEN": "1"}):
            cluster.add_node(num_cpus=1, env_vars=environment)
        driver = start_driver(file, RAY_ADDRESS=cluster.address, HOME=str(tmp_path))  # begins with a trial on each
        assert driver.stdout is not None
        *before, line = until(driver.stdout, " gets no more trials")
        gate.open()
        printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, printed
    assert [said.partition(", firm: ")[2] for said in before[1:]] == ["it could not be set up; started again"]
    assert line.endswith(": one could not be set up there: OSError: [Errno 28] No space left on device")
    assert "gets no more trials" not in printed and (tmp_path / "broken").read_text() == "x"
    assert undisturbed.archive.items() < Left.by(file).archive.items()
    assert statuses(read_experiment(file)) == ["FINISHED"] * 5


@pytest.mark.usefixtures("ray_session")
def test_on_one_machine_a_trial_that_cannot_be_set_up_fails_and_the_next_ends_the_sweep(experiment_file: Write) -> None:
    def broken(task: Task) -> Trainers:
        raise ValueError("photos: they have changed")

    file, console = experiment_file(**KNOBS), Console(file=io.StringIO(), width=300)
    with pytest.raises(ValueError, match=r"^no node is left .*: photos: they have changed\); mend that, then"):
        run_sweep(read_experiment(file), Terminal(console), trainers=broken)
    assert isinstance(console.file, io.StringIO)
    first, second, failed, other, *last = console.file.getvalue().splitlines()
    assert first == second == "fold 0, firm: it could not be set up; started again"
    assert failed == "fold 0, firm failed in round 1: photos: they have changed"
    assert other == "fold 0, none: it could not be set up; started again"
    assert [line.partition(" gets ")[2] for line in last] in (
        [],  # where its process had ended by then
        ["no more trials: one could not be set up there: photos: they have changed"],
    )
    assert states(file)["firm"].reason == "round 1 failed 3 times: photos: they have changed"
