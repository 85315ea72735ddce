"""What a trial is called, and what its rounds come from."""

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
"""The status of a trial, as it is tracked, in the word that people read."""


class TrialKey(NamedTuple):
    """A trial of a sweep: one method on one fold."""

    fold: int
    method: str

    def __str__(self) -> str:
        """As messages name it."""
        return f"fold {self.fold}, {self.method}"


def is_complete(method: str, folds: Iterable[int], rounds: Mapping[TrialKey, int], asked: int) -> bool:
    """Whether a method has all rounds in all folds; else it was not given the same chances as one that has.

    rounds : of every trial, how many are there. asked : how many the experiment file asks for.
    """
    return all(rounds.get(TrialKey(fold, method), 0) >= asked for fold in folds)


class Link(NamedTuple):
    """A round in a chain: its key in the archive, and the checksum of its weights if that is known."""

    key: str
    weights: str = ""

    def agrees(self, other: "Link") -> bool:
        """Whether both can be the same round: a key says what it was trained from, the weights what came out."""
        return self.key == other.key and ("" in (self.weights, other.weights) or self.weights == other.weights)


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended: trials by name, and how much it could not tell.

    unlogged : entries that MLflow lacks. unkept : notes that storage lacks on who needs which weights.
    """

    finished: list[TrialKey]
    failed: dict[TrialKey, str]
    stopped: list[TrialKey]
    unlogged: int
    unkept: int = 0


@dataclass(frozen=True)
class Device:
    """What the bits of a round hold for.

    kind : its name, by which devices whose bits differ are told apart. probe : the digest of what it makes of a small
    computation, or empty. remarks : what a reader should know of it.
    """

    kind: str = ""
    probe: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Origin:
    """What a trial's chain of rounds starts from: its first key in the archive, the kind of device, the versions."""

    start_key: str = ""
    device: str = ""
    versions: tuple[str, ...] = ()
