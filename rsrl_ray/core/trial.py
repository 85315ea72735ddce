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


def lacking(method: str, folds: Iterable[int], rounds: Mapping[TrialKey, int], asked: int) -> str:
    """What a method lacks to be compared with others, in words; "" where all its folds have all rounds.

    rounds : of every trial, how many are there. asked : how many the experiment file asks for.
    """
    there = {fold: rounds.get(TrialKey(fold, method), 0) for fold in folds}
    few = [f"fold {fold} has {count} of {asked} rounds" for fold, count in there.items() if count < asked]
    return ", ".join(few) if len(few) <= 3 else f"{len(few)} of {len(there)} folds have fewer than {asked} rounds"


class Link(NamedTuple):
    """A round in a chain: its key in the archive, and the checksum of its weights where that is known."""

    key: str
    weights: str = ""

    def agrees(self, other: "Link") -> bool:
        """Whether both can be the same round: a key says what it was trained from, the weights what came out."""
        return self.key == other.key and ("" in (self.weights, other.weights) or self.weights == other.weights)


@dataclass(frozen=True)
class Origin:
    """What a trial's chain of rounds starts from: its first key in the archive, the kind of device, the versions."""

    start_key: str = ""
    device: str = ""
    versions: tuple[str, ...] = ()
