"""The method on one page: repetitive self-revised learning as a generator of rounds (section III)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rsrl_ray import config
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.revision import Revision, likelihood, majority_classes, revise, self_confidence
from rsrl_ray.core.schedule import Schedule, Thresholds


class Learner(Protocol):
    """What the method needs of a learner: it remembers its last network and goes on from it."""

    def learn(self, number: int, kept: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Train network ``number`` on the kept photos ([N] bool); its 'fc' outputs for all photos, [N, C]."""
        ...


@dataclass(frozen=True)
class RoundResult:
    """One finished round.

    number : 1, 2, ...; network 1 is trained on all training photos.
    kept : [N] bool, the photos it was trained on; False for validation and test photos.
    returned : [N] bool, kept now and dropped for the round before.
    logits : [N, C], of all photos.
    revision, thresholds : what made ``kept`` from the network before; None in round 1.
    """

    number: int
    kept: NDArray[np.bool_]
    returned: NDArray[np.bool_]
    logits: NDArray[np.float32]
    revision: Revision | None
    thresholds: Thresholds | None


def run_rounds(
    learner: Learner,
    labels: NDArray[np.int64],
    fold: Fold,
    schedule: Schedule,
    rounds: int,
    settings: config.Revision,
) -> Iterator[RoundResult]:
    """Yield the rounds 1 to ``rounds`` of one fold and schedule.

    Every revision judges all of the fold's original training photos by the network just trained.
    The majority classes are those of the fold's training set and stay the same throughout.

    labels : [N] class indices.
    """
    majority = majority_classes(labels[fold.train], settings.majority_classes)
    kept = np.zeros(len(labels), dtype=bool)
    kept[fold.train] = True
    returned = np.zeros_like(kept)
    revision, thresholds = None, None
    for number in range(1, rounds + 1):
        logits = learner.learn(number, kept)
        yield RoundResult(number, kept, returned, logits, revision, thresholds)
        thresholds = schedule.thresholds(number)
        revision = revise_round(logits[fold.train], labels[fold.train], majority, thresholds, settings)
        before, kept = kept, np.zeros_like(kept)
        kept[fold.train] = revision.kept
        returned = kept & ~before


def revise_round(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    majority: NDArray[np.int64],
    thresholds: Thresholds,
    settings: config.Revision,
) -> Revision:
    """The revision that a network's logits [n, C] of the n original training photos lead to."""
    confidence = self_confidence(likelihood(logits, settings.membership), labels)
    return revise(confidence, labels, majority, thresholds, settings.min_kept)
