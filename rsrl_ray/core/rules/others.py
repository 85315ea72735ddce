"""The rules beside the paper's: equal training, a control, and what others drop by.

They drop from the majority classes, but for `LowestLoss`; how much they drop does not hang on the logits' scale.
"""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import Labels, Mask
from rsrl_ray.core.likelihood import likelihood, log_shares, self_confidence
from rsrl_ray.core.rules.rule import KEEPS, Rule, Seen, lowest, share_of
from rsrl_ray.core.value import as_text, check_choice, check_count, check_number, check_share

LIKELIHOODS = ("last", "mean")


@dataclass(frozen=True)
class Keep(Rule):
    """All photos stay."""

    def __str__(self) -> str:
        """For people."""
        return "keeps all"

    def drops(self, seen: Seen) -> Mask:
        """None, see `Rule`."""
        return np.zeros(len(seen.labels), dtype=bool)

    def at(self, revision: int) -> Hashable:
        """See `Rule`."""
        return KEEPS


@dataclass(frozen=True)
class RandomShare(Rule):
    """Drops floor(share n_c) photos of each majority class at random, others every round."""

    random: float

    def __post_init__(self) -> None:
        check_share("random", self.random)

    def __str__(self) -> str:
        """For people."""
        return f"random {as_text(self.random)}"

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        generator = seen.generator()
        return seen.in_majority(lambda members: generator.permutation(members)[: share_of(self.random, len(members))])

    def at(self, revision: int) -> Hashable:
        """See `Rule`."""
        return self if self.random else KEEPS


@dataclass(frozen=True)
class Quantile(Rule):
    """Drops the floor(q n_c) photos of each majority class that have the lowest self-confidence.

    likelihood : self-confidence in the ``last`` round, or its ``mean`` over all rounds so far.
    """

    quantile: float
    likelihood: str = "last"

    def __post_init__(self) -> None:
        check_share("quantile", self.quantile)
        check_choice("likelihood", self.likelihood, LIKELIHOODS)

    def __str__(self) -> str:
        """For people."""
        return f"quantile {as_text(self.quantile)} of the {self.likelihood} likelihood"

    @property
    def recalls(self) -> bool:
        """See `Rule`."""
        return self.likelihood == "mean"

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        confidence = seen.confidence
        if self.likelihood == "mean":
            confidence = np.mean([*seen.before, seen.confidence], axis=0)
        return seen.in_majority(
            lambda members: members[lowest(confidence[members], share_of(self.quantile, len(members)))]
        )

    def at(self, revision: int) -> Hashable:
        """See `Rule`."""
        return self if self.quantile else KEEPS


@dataclass(frozen=True)
class Margin(Rule):
    """Drops from the majority classes the photos whose own logit less the largest other one is below ``margin``.

    0 drops those that the network assigns to another class.
    """

    margin: float

    def __post_init__(self) -> None:
        check_number("margin", self.margin, what="a difference of logits")

    def __str__(self) -> str:
        """For people."""
        return f"margin {as_text(self.margin)}"

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        return np.isin(seen.labels, seen.majority) & (margins(seen) < self.margin)


def margins(seen: Seen) -> NDArray[np.float64]:
    """Own logit less the largest other one in the last round, [n]; infinite where there is no other class."""
    logits = seen.last.astype(np.float64)
    rows = np.arange(len(logits))
    own = logits[rows, seen.labels]
    logits[rows, seen.labels] = -np.inf
    return np.asarray(own - logits.max(axis=1))


@dataclass(frozen=True)
class LowestLoss(Rule):
    """Keeps the floor(share n) photos, of all classes together, that have the lowest cross-entropy.

    lowest_loss : the share.

    References
    ----------
    Y. Shen and S. Sanghavi, Learning with bad training data via iterative trimmed loss minimization, ICML 2019
    (algorithm 1; their rounds start cold).
    """

    lowest_loss: float

    def __post_init__(self) -> None:
        check_share("lowest_loss", self.lowest_loss)

    def __str__(self) -> str:
        """For people."""
        return f"lowest loss, {as_text(self.lowest_loss)} of all photos"

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`; here of any class."""
        drops = np.zeros(len(seen.labels), dtype=bool)
        confidence = self_confidence(log_shares(seen.last), seen.labels)
        drops[lowest(confidence, len(drops) - share_of(self.lowest_loss, len(drops)))] = True
        return drops

    def at(self, revision: int) -> Hashable:
        """See `Rule`."""
        return KEEPS if self.lowest_loss == 1 else self


@dataclass(frozen=True)
class Disagreement(Rule):
    """Drops from the majority classes the photos whose mean softmax over the last k rounds prefers another class.

    Where their label has as much as another class, they stay.

    disagreement : k; where there are fewer rounds, all of them. start : the first revision that drops photos.
    """

    disagreement: int
    start: int = 1

    def __post_init__(self) -> None:
        check_count("disagreement", self.disagreement)
        check_count("start", self.start)

    def __str__(self) -> str:
        """For people."""
        return f"disagreement of {self.disagreement} rounds" + (
            f", from revision {self.start}" if self.start > 1 else ""
        )

    @property
    def looks_back(self) -> int:
        """See `Rule`."""
        return self.disagreement

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        if seen.revision < self.start:
            return np.zeros(len(seen.labels), dtype=bool)
        rounds = [likelihood(logits, "softmax") for logits in seen.logits[-self.disagreement :]]
        mean: NDArray[np.float64] = np.mean(rounds, axis=0)
        outvoted: Mask = self_confidence(mean, seen.labels) < mean.max(axis=1)
        return np.isin(seen.labels, seen.majority) & outvoted

    def at(self, revision: int) -> Hashable:
        """See `Rule`."""
        return KEEPS if revision < self.start else (type(self), min(self.disagreement, revision))


@dataclass(frozen=True)
class Imposters(Rule):
    """Drops from the majority classes the photos for which a minority class is likelier than their label.

    Likelihoods are corrected for the classes' frequencies in what the last network was trained on, pi:
    softmax(z - ln pi), without classes that it was not trained on. At most the share ``imposters`` of a class goes, the
    surest first. smallest : minority classes with fewer training photos do not count.
    """

    imposters: float
    smallest: int = 10

    def __post_init__(self) -> None:
        check_share("imposters", self.imposters)
        check_count("smallest", self.smallest)

    def __str__(self) -> str:
        """For people."""
        return f"imposters, at most {as_text(self.imposters)}, of classes of {self.smallest} photos or more"

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        sizes = np.bincount(seen.labels, minlength=seen.last.shape[1])
        minority = np.setdiff1d(np.flatnonzero(sizes >= self.smallest), seen.majority)
        if len(minority) == 0:
            return np.zeros(len(seen.labels), dtype=bool)
        corrected = _corrected(seen)
        gain = corrected[:, minority].max(axis=1) - self_confidence(corrected, seen.labels)

        def surest(members: Labels) -> Labels:
            places = lowest(-gain[members], share_of(self.imposters, len(members)))
            return np.asarray(members[places[gain[members][places] > 0]])

        return seen.in_majority(surest)

    def at(self, revision: int) -> Hashable:
        """See `Rule`."""
        return self if self.imposters else KEEPS


def _corrected(seen: Seen) -> NDArray[np.float64]:
    """[n, C], z - ln pi of the last round: in the order of softmax(z - ln pi), without its rounding.

    -inf for classes that the last network was not trained on.
    """
    counts = np.bincount(seen.labels[seen.kept], minlength=seen.last.shape[1])
    prior = np.log(np.maximum(counts, 1) / counts.sum())
    return np.where(counts > 0, seen.last.astype(np.float64) - prior, -np.inf)
