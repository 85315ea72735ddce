"""What a rule is, and all that it may look at."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import Labels, Mask
from rsrl_ray.core.likelihood import Membership, likelihood, self_confidence

FLOOR = 5  # photos of a class that stay at the least, however small `min_kept` makes the share
KEEPS = ("keeps all",)  # what `Rule.at` gives for a revision that drops nothing


@dataclass(frozen=True)
class Seen:
    """All that a rule may look at: the n ORIGINAL training photos of a fold, judged by the networks so far.

    revision : the number r of the last round and of the revision that follows it, from 1.
    logits : of the last rounds, as many of them as the rule looks back at, oldest first, [n, C] each; in-sample.
    kept : [n], what the last network was trained on. labels : [n], 0 to C - 1. majority : [M] classes, largest first.
    membership : how a logit becomes a likelihood. min_kept : see `most_dropped`.
    stream : seed and fold, from which and from r random numbers come.
    before : self-confidences [n] in the rounds before the last, oldest first; none if the rule recalls none.
    """

    revision: int
    logits: Sequence[NDArray[np.float32]]
    kept: Mask
    labels: NDArray[np.int64]
    majority: NDArray[np.int64]
    membership: Membership = "sigmoid"
    min_kept: float = 0.01
    stream: tuple[int, ...] = (0, 0)
    before: Sequence[NDArray[np.float64]] = ()

    @property
    def last(self) -> NDArray[np.float32]:
        """Logits of the last round, [n, C]."""
        return self.logits[-1]

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """Self-confidence in the last round, [n]."""
        return self.confidence_in(self.last)

    def confidence_in(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Self-confidence by these logits, [n]."""
        return self_confidence(likelihood(logits, self.membership), self.labels)

    def members(self, label: int) -> NDArray[np.int64]:
        """The places of the photos of a class, ascending."""
        return np.flatnonzero(self.labels == label)

    def in_majority(self, pick: Callable[[Labels], Labels]) -> Mask:
        """[n], those that ``pick`` takes of the members of each majority class."""
        taken = np.zeros(len(self.labels), dtype=bool)
        for label in self.majority:
            taken[pick(self.members(label))] = True
        return taken

    def most_dropped(self, label: int) -> int:
        """How many photos of a class the guard lets go."""
        size = len(self.members(label))
        return size - least_kept(size, self.min_kept)

    def generator(self) -> np.random.Generator:
        """Random numbers of this revision: the same for every method."""
        return np.random.default_rng([*self.stream, self.revision, _RULE_DRAW])


_RULE_DRAW = 0x5EED  # of these random numbers, besides those that a round of training draws


class Rule(ABC):
    """Decides which photos the next network is not trained on: a frozen dataclass that prints itself for people.

    Its first field has the name by which an experiment file calls it, see `rsrl_ray.core.rules.table`.
    """

    @abstractmethod
    def drops(self, seen: Seen) -> Mask:
        """[n] bool over the original training photos, before the guard."""

    @property
    def looks_back(self) -> int:
        """Of how many rounds it needs the logits, the last one counted."""
        return 1

    @property
    def recalls(self) -> bool:
        """Whether it needs the self-confidences of all rounds so far, which take less memory than their logits."""
        return False

    def at(self, revision: int) -> Hashable:
        """What it does in this revision: where it is equal, equal rounds so far lead to equal drops.

        `KEEPS` where it drops nothing whatever the rounds were. Other rules must not give an equal value by chance.
        """
        return self

    def says(self, revision: int, place: int) -> str:
        """In words, what drops photos of the class at this place of the majority classes (0 : the largest)."""
        return str(self)


def as_mask(drops: object, seen: Seen, name: str) -> Mask:
    """What the rule of this name gave, as [n] bool. Raises ValueError if it is something else."""
    found = np.asarray(drops)
    if found.dtype != bool or found.shape != seen.labels.shape:
        raise ValueError(f"{name}: drops gave {found.dtype} {list(found.shape)}, not bool [{len(seen.labels)}]")
    return found


def least_kept(size: int, min_kept: float) -> int:
    """How many of ``size`` photos of a class always stay: the share ``min_kept``, and 5 if there are so many."""
    return min(size, max(FLOOR, math.ceil(min_kept * size - 1e-9)))


def lowest(values: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Places of the ``count`` lowest values; of equal ones the later come first."""
    return np.argsort(-np.asarray(values, dtype=np.float64), kind="stable")[::-1][:count]


def share_of(share: float, size: int) -> int:
    """floor(share * size), for a share in decimals: 0.29 of 100 are 29, which 100 * 0.29 falls short of."""
    return math.floor(share * size + 1e-9)
