"""Why a trial's process has ended, as Ray tells it, in one line."""

import re
from dataclasses import dataclass
from pathlib import Path

from ray import cloudpickle
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.experiment import Trial

from rsrl_ray.sweep.ray_insides.trials import asked_by, node_of
from rsrl_ray.sweep.report import SetUpFailed

_MEMORY = re.compile(r"Memory on the node \(IP: (.*?), ID: (\w+)\) was ([\d.]+)GB used / ([\d.]+)GB limit")
_DEAD = re.compile(r"^The actor is dead because (.*?)\.?(?: Worker exit type: .*)?$", re.MULTILINE)
_MEMORY_USER = re.compile(r"^\d+\t([\d.]+)\t(.+)$", re.MULTILINE)  # process, GB, command
_FOLDERS = re.compile(r"^\S*/")
_TRIAL_PROCESS = "ray::ResourceTrainable"  # how Tune calls a trainable with resources
_TOLD_USERS = 3  # named in a message


@dataclass(frozen=True)
class Crash:
    """A trial's last failure.

    node : where it was, or empty. in_set_up : whether the trial was being set up. for_memory : whether Ray ended the
    process because memory was short.
    """

    reason: str
    node: str = ""
    in_set_up: bool = False
    for_memory: bool = False


def crash_of(trial: Trial) -> Crash:
    """The last failure of a trial. Tune keeps files of it."""
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


def _for_memory(message: str, trial: Trial) -> Crash:
    """How much memory was free, who used it, and what to set."""
    found = _MEMORY.search(message)
    if found is None:  # another version of Ray says it in other words
        return Crash(message.splitlines()[0], for_memory=True)
    address, node, used, whole = found.groups()
    users = [(float(size), command) for size, command in _MEMORY_USER.findall(message)]
    trials = [size for size, command in users if command.startswith(_TRIAL_PROCESS)]
    others = [
        f"{_FOLDERS.sub('', command)[:40]} {size:.1f}"
        for size, command in users
        if not command.startswith(_TRIAL_PROCESS)
    ]
    told = others[:_TOLD_USERS]
    if trials:
        told.insert(0, f"{len(trials)} {'trial' if len(trials) == 1 else 'trials'} {sum(trials):.1f}")
    cpus = asked_by(trial).required_resources.get("CPU", 0.0)
    reason = (
        f"memory was short, so Ray ended its process: of {float(whole):.1f} GiB on {address}, "
        f"{float(whole) - float(used):.1f} were free, and most was used by {', '.join(told)}; with resources.cpus "
        f"above {cpus:g}, fewer trials run at once, and the results stay the same"
    )
    return Crash(reason, node, for_memory=True)


def _death(error: RayActorError) -> str:
    """Why the process has ended: the error of its constructor, or the cause that Ray's long text contains."""
    dead = None if error.actor_init_failed else _DEAD.search(str(error))
    if dead is None:
        return _last_line(str(error))
    causes = (
        " (killed, perhaps by the kernel for its memory, or crashed)" if dead[1].endswith("process has died") else ""
    )
    return dead[1] + causes


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no error was reported"])[-1].strip()
