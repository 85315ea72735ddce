"""The key of a trial, the links of its chain of rounds, and what the chain starts from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

STATES = {
    "FINISHED": "finished",
    "RUNNING": "running",
    "INTERRUPTED": "interrupted",
    "FAILED": "failed",
    "KILLED": "stopped",
}
"""The word that people read for each status of a trial in MLflow."""


class TrialKey(NamedTuple):
    """A trial of a sweep: one method on one fold."""

    fold: int
    method: str

    def __str__(self) -> str:
        """Its name in messages."""
        return f"fold {self.fold}, {self.method}"

    @property
    def title(self) -> str:
        """Its name in MLflow's UI and on pictures."""
        return f"{self.method}, fold {self.fold}"


class Block(NamedTuple):
    """Trials of one fold that a process makes together, each round of all of them before the next; often only one."""

    fold: int
    methods: tuple[str, ...]

    @property
    def trials(self) -> tuple[TrialKey, ...]:
        """Their keys."""
        return tuple(TrialKey(self.fold, method) for method in self.methods)

    def __str__(self) -> str:
        """Its name in messages."""
        return str(self.trials[0]) if len(self.methods) == 1 else f"fold {self.fold}, {len(self.methods)} methods"


def is_complete(method: str, folds: Iterable[int], rounds: Mapping[TrialKey, int], asked: int) -> bool:
    """Whether a method has all rounds in all folds. If not, it cannot be compared with a method that has.

    rounds : the number of rounds that each trial has. asked : the number that the experiment file asks for.
    """
    return all(rounds.get(TrialKey(fold, method), 0) >= asked for fold in folds)


class Link(NamedTuple):
    """A round in a chain: its key in the archive, and the checksum of its weights, "" if it is not known."""

    key: str
    weights: str = ""

    def agrees(self, other: "Link") -> bool:
        """Whether both can be the same round: the keys are equal, and so are the checksums if both are known."""
        return self.key == other.key and ("" in (self.weights, other.weights) or self.weights == other.weights)


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended.

    failed : trials with their reason. unlogged : how many entries MLflow lacks. unkept : how many notes on who needs
    which weights the storage lacks.
    """

    finished: list[TrialKey]
    failed: dict[TrialKey, str]
    stopped: list[TrialKey]
    unlogged: int
    unkept: int = 0


@dataclass(frozen=True)
class Device:
    """The device that the bits of a round depend on.

    kind : its name; devices that are known to give other bits have other names. probe : digest of the result of a small
    computation, or empty. remarks : what a reader should know about it.
    """

    kind: str = ""
    probe: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Origin:
    """What a trial's chain of rounds starts from: the first key in the archive, the kind of device, and versions."""

    start_key: str = ""
    device: str = ""
    versions: tuple[str, ...] = ()
