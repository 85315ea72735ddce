"""Training photos as a rule sees them, made of literal numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsrl_ray.core.likelihood import self_confidence
from rsrl_ray.core.revision import majority_classes
from rsrl_ray.core.rules.rule import Rule, Seen


@dataclass(frozen=True)
class Likely(Seen):
    """Its logits are likelihoods already, so that a test can name a self-confidence to the last bit."""

    def confidence_in(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        return self_confidence(logits.astype(np.float64), self.labels)


def judged(labels: ArrayLike, *logits: ArrayLike, kind: type[Seen] = Seen, **other: Any) -> Seen:
    """Photos with these labels [n] and the logits [n, C] of rounds 1, 2, ...: all of them, whatever the rule needs."""
    labels = np.asarray(labels)
    knobs = {"revision": len(logits), "kept": np.ones(len(labels), dtype=bool), "majority": majority_classes(labels)}
    seen = kind(logits=[np.asarray(each) for each in logits], labels=labels, **knobs | other)
    return replace(seen, before=[seen.confidence_in(each) for each in seen.logits[:-1]])


def confident(labels: ArrayLike, *rounds: ArrayLike, classes: int = 5, **other: Any) -> Seen:
    """Photos with these labels [n] and the self-confidences [n] of rounds 1, 2, ..."""
    labels = np.asarray(labels)
    logits = [np.zeros((len(labels), classes)) for _ in rounds]
    for each, own in zip(logits, rounds, strict=True):
        each[np.arange(len(labels)), labels] = own
    return judged(labels, *logits, kind=Likely, **other)


def dropped(rule: Rule, seen: Seen) -> list[int]:
    """Places of the photos that the rule drops, before the guard."""
    return places(rule.drops(seen))


def places(mask: NDArray[np.bool_]) -> list[int]:
    return np.flatnonzero(mask).tolist()


def times(rule: Rule, seen: Sequence[Seen]) -> NDArray[np.int64]:
    """How often each photo is dropped, [n]."""
    return np.sum([rule.drops(each) for each in seen], axis=0)
