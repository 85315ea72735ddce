"""What a rule is, and all that a rule may look at."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import Labels, Mask
from rsrl_ray.core.likelihood import Membership, likelihood, self_confidence

FLOOR = 5  # so many photos of a class stay, even if `min_kept` is a smaller share
NO_FEATURES = "there are no features of frozen layers; in a sweep, give training.trainable: head or classifier"
KEEPS = ("keeps all",)  # `Rule.at` gives this for a revision that drops nothing


@dataclass(frozen=True)
class Seen:
    """All that a rule may look at: the n ORIGINAL training photos of a fold, as the networks so far judge them.

    revision : the number r of the last round and of the revision after it, from 1.
    logits : [n, C] for each of the last rounds, oldest first; so many rounds as the rule looks back; in-sample.
    kept : [n], the photos that the last network was trained on. labels : [n], 0 to C - 1.
    majority : [M] classes, largest first. membership : how a logit becomes a likelihood. min_kept : see `most_dropped`.
    stream : seed and fold; random numbers come from these and r.
    before : self-confidences, [n] for each round before the last, oldest first; empty if the rule recalls none.
    features_of : gives `features`; None if no layer is frozen.
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
    features_of: Callable[[], NDArray[np.float32]] | None = None

    @property
    def last(self) -> NDArray[np.float32]:
        """Logits of the last round, [n, C]."""
        return self.logits[-1]

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """What the frozen layers make of the photos, [n, D]; the same in all rounds.

        Raises
        ------
        ValueError
            If no layer is frozen, so that features change from round to round.
        """
        if self.features_of is None:
            raise ValueError(NO_FEATURES)
        return self.features_of()

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """Self-confidence in the last round, [n]."""
        return self.confidence_in(self.last)

    def confidence_in(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Self-confidence from these logits, [n]."""
        return self_confidence(likelihood(logits, self.membership), self.labels)

    def members(self, label: int) -> NDArray[np.int64]:
        """The indices of the photos of a class, ascending."""
        return np.flatnonzero(self.labels == label)

    def in_majority(self, pick: Callable[[Labels], Labels]) -> Mask:
        """The photos that ``pick`` takes of the members of each majority class, [n]."""
        taken = np.zeros(len(self.labels), dtype=bool)
        for label in self.majority:
            taken[pick(self.members(label))] = True
        return taken

    def most_dropped(self, label: int) -> int:
        """The largest number of photos of a class that may be dropped."""
        size = len(self.members(label))
        return size - least_kept(size, self.min_kept)

    def generator(self) -> np.random.Generator:
        """The random numbers of this revision. They are the same for all methods."""
        return np.random.default_rng([*self.stream, self.revision, _RULE_DRAW])


_RULE_DRAW = 0x5EED  # separates these random numbers from those of training


class Rule(ABC):
    """Decides which photos the next network is not trained on: a frozen dataclass that prints itself for people.

    Its first field has the name of the rule in an experiment file, see `rsrl_ray.core.rules.table`.
    """

    @abstractmethod
    def drops(self, seen: Seen) -> Mask:
        """The photos to drop, [n] bool over the original training photos, before `min_kept` is applied."""

    @property
    def weighs(self) -> bool:
        """Whether `weights` counts and not `drops` alone; see `Weighing`."""
        return False

    def weights(self, seen: Seen) -> NDArray[np.floating]:
        """What each photo weighs in the next round, [n], 0 or more; a photo of weight 0 is dropped."""
        return (~self.drops(seen)).astype(np.float64)

    @property
    def looks_back(self) -> int:
        """The number of rounds whose logits it needs, with the last one."""
        return 1

    @property
    def recalls(self) -> bool:
        """Whether it needs the self-confidences of all rounds so far. They take less memory than the logits."""
        return False

    @property
    def needs_features(self) -> bool:
        """Whether it looks at `Seen.features`, so that layers must be frozen."""
        return False

    @property
    def looks_at_logits(self) -> bool:
        """Whether the networks judge for it, so that their memories of the photos count."""
        return True

    def at(self, revision: int) -> Hashable:
        """A value for what it does in this revision. If it is equal for two rules, equal rounds lead to equal drops.

        It is `KEEPS` if nothing is dropped and all weigh the same, whatever the rounds were. Two different rules must
        not give an equal value.
        """
        return self

    def says(self, revision: int, place: int) -> str:
        """What drops photos of a majority class, in words. place : of the class, 0 for the largest."""
        return str(self)


class Weighing(Rule):
    """A rule that says how much each photo counts in training; its ``weights`` are in the place of `Rule.drops`.

    Training divides them by their mean. A trained network needs ``steps: weighted`` for this.
    """

    @property
    def weighs(self) -> bool:
        """See `Rule`."""
        return True

    @abstractmethod
    def weights(self, seen: Seen) -> NDArray[np.floating]:
        """See `Rule`."""

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        return np.asarray(as_weights(self.weights(seen), seen, type(self).__name__) == 0)


def as_mask(drops: object, seen: Seen, name: str) -> Mask:
    """The result of ``drops`` of the rule with this name, [n] bool. Raises ValueError if it is something else."""
    found = np.asarray(drops)
    if found.dtype != bool or found.shape != seen.labels.shape:
        raise ValueError(f"{name}: drops gave {found.dtype} {list(found.shape)}, not bool [{len(seen.labels)}]")
    return found


def as_weights(weights: object, seen: Seen, name: str) -> NDArray[np.float32]:
    """The result of ``weights`` of the rule with this name, [n]. Raises ValueError if it is something else."""
    found = np.asarray(weights)
    if found.dtype.kind != "f" or found.shape != seen.labels.shape:
        raise ValueError(f"{name}: weights gave {found.dtype} {list(found.shape)}, not float [{len(seen.labels)}]")
    with np.errstate(over="ignore"):
        single = found.astype(np.float32)
    if not (np.isfinite(single) & (single >= 0)).all():
        raise ValueError(f"{name}: weights gave a number below 0, or one that is not finite")
    return single


def least_kept(size: int, min_kept: float) -> int:
    """The number of photos of a class that always stay: the share ``min_kept`` of ``size``, at least 5 or all."""
    return min(size, max(FLOOR, math.ceil(min_kept * size - 1e-9)))


def lowest(values: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """The indices of the ``count`` lowest values; of equal ones the later come first."""
    return np.argsort(-np.asarray(values, dtype=np.float64), kind="stable")[::-1][:count]


def share_of(share: float, size: int) -> int:
    """floor(share * size), exact for decimals: 0.29 of 100 is 29, but 100 * 0.29 is a little less."""
    return math.floor(share * size + 1e-9)
