"""The method on one page: repetitive self-revised learning as a generator of rounds (section III)."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rsrl_ray import config
from rsrl_ray.core.arrays import MaskOrWeights
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.revision import Revised, majority_classes, revise
from rsrl_ray.core.rules.rule import NO_FEATURES, Rule, Seen


class Learner(Protocol):
    """What the method needs to train: it remembers its last network and goes on from it."""

    def learn(self, number: int, kept: MaskOrWeights) -> NDArray[np.float32]:
        """Train network ``number`` on the kept photos ([N]). Returns its logits for all photos, [N, C]."""
        ...

    def features(self) -> NDArray[np.float32] | None:
        """What the frozen layers make of all photos, [N, D]; None if no layer is frozen. Only some rules ask for it."""
        ...


@dataclass(frozen=True)
class RoundResult:
    """One finished round.

    number : 1, 2, ...; network 1 is trained on all training photos.
    kept : [N] bool, the photos that it is trained on; False for validation and test photos.
    returned : [N] bool, the photos that are kept in this round and were dropped in the round before.
    logits : [N, C], of all photos.
    revision : what decided ``kept`` after the round before; None in round 1, and if nobody needs it.
    predicted : [N] class indices, if the prediction is not the class of the largest logit; otherwise None.
    weights : [N] float32, what each photo weighs, 0 if it is not kept; None if all kept photos weigh the same.
    """

    number: int
    kept: NDArray[np.bool_]
    returned: NDArray[np.bool_]
    logits: NDArray[np.float32]
    revision: Revised | None = None
    predicted: NDArray[np.int16] | None = None
    weights: NDArray[np.float32] | None = None


class NextRound(NamedTuple):
    """The next round, before it is learnt; see `RoundResult`."""

    number: int
    kept: NDArray[np.bool_]
    returned: NDArray[np.bool_]
    revision: Revised | None
    weights: NDArray[np.float32] | None = None

    @property
    def trained_on(self) -> MaskOrWeights:
        """All that the round's training has of its revision, [N]."""
        return self.kept if self.weights is None else self.weights

    def learnt(self, logits: NDArray[np.float32]) -> RoundResult:
        """The round, once its logits [N, C] are known."""
        return RoundResult(self.number, self.kept, self.returned, logits, self.revision, weights=self.weights)


RoundsToLearn = Generator[NextRound, NDArray[np.float32], None]

Features = Callable[[], NDArray[np.float32] | None]
"""What the frozen layers make of all photos, [N, D]; None if no layer is frozen. Only some rules ask for it."""


@dataclass(frozen=True)
class Plan:
    """How many rounds there are, how a revision decides, and the seed of random numbers that a rule may draw."""

    rounds: int
    revision: config.Revision
    seed: int = 0

    @classmethod
    def of(cls, experiment: config.Experiment) -> "Plan":
        """The plan of all trials of an experiment."""
        return cls(experiment.rounds, experiment.revision, experiment.seed)


def run_rounds(
    learner: Learner, labels: NDArray[np.int64], fold: Fold, rule: Rule, plan: Plan
) -> Iterator[RoundResult]:
    """Yield the planned rounds of one fold and rule, see `rounds_to_learn`; the learner learns them."""
    rounds = rounds_to_learn(labels, fold, rule, plan, lambda: learner.features())
    asked = next(rounds, None)
    while asked is not None:
        result = asked.learnt(learner.learn(asked.number, asked.trained_on))
        yield result
        asked = answered(rounds, result.logits)


def answered(rounds: RoundsToLearn, logits: NDArray[np.float32]) -> NextRound | None:
    """Give ``rounds`` the logits [N, C] of the round that they have asked for; the next one, None after the last."""
    try:
        return rounds.send(logits)
    except StopIteration:
        return None


def rounds_to_learn(labels: NDArray[np.int64], fold: Fold, rule: Rule, plan: Plan, features: Features) -> RoundsToLearn:
    """Ask for the planned rounds of one fold and rule, one after the other, and take the logits of each.

    Each revision judges all of the fold's original training photos. It uses the network that was just trained, or
    several of the last ones if the rule looks back at them, or the self-confidences of all if the rule recalls them.
    The majority classes are those of the fold's whole training set in all rounds.

    labels : [N] class indices. A rule's random numbers depend on seed, fold and round.
    """
    kept = first_kept(fold, len(labels))
    returned, revision = np.zeros_like(kept), None
    weights: NDArray[np.float32] | None = None
    history = deque[NDArray[np.float32]](maxlen=rule.looks_back)
    recalled: list[NDArray[np.float64]] = []
    for number in range(1, plan.rounds + 1):
        logits = yield NextRound(number, kept, returned, revision, weights)
        history.append(logits[fold.train])
        seen = seen_after(number, history, kept[fold.train], labels[fold.train], plan.revision)
        stream = plan.seed, fold.number
        seen = replace(seen, stream=stream, before=tuple(recalled), features_of=lambda: _of_training(features, fold))
        revision = revise(rule, seen)
        if rule.recalls:
            recalled.append(seen.confidence)
        before, kept = kept, np.zeros_like(kept)
        kept[fold.train] = revision.kept
        returned, weights = kept & ~before, None
        if revision.weights is not None:
            weights = np.zeros(len(kept), dtype=np.float32)
            weights[fold.train] = revision.weights


def _of_training(features: Features, fold: Fold) -> NDArray[np.float32]:
    found = features()
    if found is None:
        raise ValueError(NO_FEATURES)
    return found[fold.train]


def first_kept(fold: Fold, photos: int) -> NDArray[np.bool_]:
    """The photos that round 1 is trained on, [N] bool: all training photos of the fold."""
    kept = np.zeros(photos, dtype=bool)
    kept[fold.train] = True
    return kept


def seen_after(
    number: int,
    logits: Sequence[NDArray[np.float32]],
    kept: NDArray[np.bool_],
    labels: NDArray[np.int64],
    settings: config.Revision,
) -> Seen:
    """What a rule sees after round ``number``, with the random numbers of seed 0 and fold 0.

    logits, kept, labels : of the original training photos, see `Seen`.
    """
    majority = majority_classes(labels, settings.majority_classes)
    return Seen(number, list(logits), kept, labels, majority, settings.membership, settings.min_kept)
