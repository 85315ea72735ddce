"""What Ray says of the end of a trial's process, in one line."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import NodeID, cloudpickle
from ray._private import serialization, state
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.experiment import Trial

from rsrl_ray.sweep.driver.places import needs

_MEMORY = re.compile(r"Memory on the node \(IP: (.*?), ID: (\w+)\) was ([\d.]+)GB used / ([\d.]+)GB limit")
_DEAD = re.compile(r"^The actor is dead because (.*?)\.?(?: Worker exit type: .*)?$", re.MULTILINE)
_USER = re.compile(r"^\d+\t([\d.]+)\t(.+)$", re.MULTILINE)  # process, GB, command
_PATH = re.compile(r"^\S*/")
_TRIAL = "ray::ResourceTrainable"  # as Tune calls a trainable that was given resources
_TOLD = 3  # of those who use the memory


class SetUpFailed(RuntimeError):
    """A trial could not be set up in its process: on which node, and why."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(node, reason)
        self.node, self.reason = node, reason


class MemoryKill(OutOfMemoryError, RayActorError):
    """Ray's memory monitor has ended a process."""

    def __init__(self, message: str) -> None:
        OutOfMemoryError.__init__(self, message)  # type: ignore[no-untyped-call]
        RayActorError.__init__(self, error_msg=message)


@dataclass(frozen=True)
class Crash:
    """A trial's last failure. node : where, or empty. in_set_up : whether the trial was being set up, as it says."""

    reason: str
    node: str = ""
    in_set_up: bool = False
    for_memory: bool = False


@contextlib.contextmanager
def kills_are_crashes() -> Iterator[None]:
    """While the body runs, a process that is ended for its memory is to Ray Tune one that has crashed.

    Tune does not know Ray's own error, and would end the sweep.
    """
    rays: Any = serialization
    rays.OutOfMemoryError = MemoryKill
    try:
        yield
    finally:
        rays.OutOfMemoryError = OutOfMemoryError


def crash_of(trial: Trial) -> Crash:
    """The last failure of a trial, of which Tune keeps files beside its state."""
    pickled, text = trial.pickled_error_file, trial.error_file
    if pickled is None:
        return Crash(_last_line(Path(text).read_text()) if text else "no error was reported")
    error = cloudpickle.loads(Path(pickled).read_bytes())
    cause = getattr(error, "cause", None)
    if isinstance(cause, SetUpFailed):
        return Crash(cause.reason, cause.node, in_set_up=True)
    if isinstance(error, OutOfMemoryError):
        return _for_memory(error.message, trial)
    if isinstance(error, RayActorError):
        return Crash(_death(error), node_of(error.actor_id), error.actor_init_failed)
    return Crash(_last_line(str(error)))


def node_of(actor: str | None) -> str:
    """The node that an actor is on, or was; empty where Ray does not know."""
    found = state.actors(actor) if actor else {}
    node: str = found.get("Address", {}).get("NodeID", "")
    return "" if node == NodeID.nil().hex() else node  # as of an actor that was never placed


def _for_memory(message: str, trial: Trial) -> Crash:
    """How much memory was free, who used it, what to set."""
    found = _MEMORY.search(message)
    if found is None:  # another Ray's words
        return Crash(message.splitlines()[0], for_memory=True)
    address, node, used, whole = found.groups()
    users = [(float(size), command) for size, command in _USER.findall(message)]
    trials = [size for size, command in users if command.startswith(_TRIAL)]
    others = [f"{_PATH.sub('', command)[:40]} {size:.1f}" for size, command in users if not command.startswith(_TRIAL)]
    told = [f"{len(trials)} trials {sum(trials):.1f}"] * bool(trials) + others[:_TOLD]
    cpus = needs(trial).get("CPU", 0.0)
    reason = (
        f"memory was short, so Ray ended its process: of {float(whole):.1f} GiB on {address} "
        f"{float(whole) - float(used):.1f} were free, and the most was used by {', '.join(told)}; with resources.cpus "
        f"above {cpus:g} fewer trials run at once, and the results stay the same"
    )
    return Crash(reason, node, for_memory=True)


def _death(error: RayActorError) -> str:
    """Why the process has ended: an error of its constructor, or less than Ray's words, which are a page."""
    dead = None if error.actor_init_failed else _DEAD.search(str(error))
    if dead is None:
        return _last_line(str(error))
    causes = " (killed, also by the kernel for its memory, or crashed)" if dead[1].endswith("process has died") else ""
    return dead[1] + causes


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no error was reported"])[-1].strip()
