"""How the logits of the rounds so far become predicted classes; nothing is trained by it.

Three steps, each of which does nothing by default: rounds are averaged, the logits are moved by the classes'
frequencies, and a class is decided on. What the steps need to know they learn from the validation photos, never from
the test photos: the `Decision` that results is a function of one photo's logits, so a model that is served decides as
the sweep did.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from rsrl_ray.core.arrays import Values
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.likelihood import log_shares, self_confidence
from rsrl_ray.core.metrics import confusion_matrix, macro_f1
from rsrl_ray.core.value import as_text, check_choice, check_count, check_number

TAUS = tuple(step / 10 for step in range(21))  # of which `logit_adjustment: validation` takes one
DECISION_STEPS = 80  # of the expected-F decision
MASS = 1e-9  # expected photos of a class, of which fewer count as none
DECISIONS = ("argmax", "expected_f")


@dataclass(frozen=True)
class HeldOut:
    """What a decision learns from.

    counts : [C], photos of each class that the network may be trained on. places, labels : [v], of the photos that are
    held out of it for validation.
    """

    counts: NDArray[np.int64]
    places: NDArray[np.int64]
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, labels: NDArray[np.int64], fold: Fold) -> "HeldOut":
        """Of the fold of photos with these labels [N]."""
        counts = np.bincount(labels[fold.train], minlength=int(labels.max()) + 1)
        return cls(counts, fold.validation, labels[fold.validation])


@dataclass(frozen=True)
class Decision:
    """What turns log-likelihoods into classes: argmax of ``weight * (softmax((z - shift) / temperature) - offset)``.

    shift, weight, offset : [C].
    """

    shift: Values
    temperature: float
    weight: Values
    offset: Values

    def __call__(self, averaged: Values) -> NDArray[np.int64]:
        """Class of each photo, [N], from `averaged` logits [N, C]."""
        return np.asarray((self.weight * (self.probabilities(averaged) - self.offset)).argmax(axis=1))

    def probabilities(self, averaged: Values) -> Values:
        """Those that it decides by, [N, C]; each row adds up to 1."""
        return np.asarray(softmax((averaged - self.shift) / self.temperature, axis=1))

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it; its numbers are read back bit for bit."""
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}

    @classmethod
    def of_dict(cls, values: Mapping[str, Any], classes: int) -> "Decision":
        """Back from `as_dict`. Raises ValueError if it is not one for so many classes."""
        arrays = {name: np.array(values[name], dtype=np.float64) for name in ("shift", "weight", "offset")}
        temperature = float(values["temperature"])
        if any(array.shape != (classes,) for array in arrays.values()) or not temperature > 0:
            raise ValueError("a decision of other classes")
        return cls(temperature=temperature, **arrays)


@dataclass(frozen=True)
class Prediction:
    """How a method predicts; by default the class of the last round's largest logit.

    average : of the rounds so far, ``half``: the last half of them (of an odd number one more), or how many of the
    last; 1 averages nothing. logit_adjustment : tau, by which tau ln pi is taken from the logits, or ``validation``:
    the tau of `TAUS` with the best macro F on the validation photos. decision : ``argmax``, or ``expected_f``.
    """

    average: int | str = 1
    logit_adjustment: float | str = 0.0
    decision: str = "argmax"

    def __post_init__(self) -> None:
        if self.average != "half":
            check_count("average", self.average, "half or a whole number")
        if self.logit_adjustment != "validation":
            check_number("logit_adjustment", self.logit_adjustment, 0, what="validation or a number")
        check_choice("decision", self.decision, DECISIONS)

    def __str__(self) -> str:
        """For people."""
        tau = self.logit_adjustment
        parts = [
            "mean of the last half of the rounds" if self.average == "half" else f"mean of {self.average} rounds",
            f"logit adjustment {tau if isinstance(tau, str) else as_text(tau)}",
            "expected-F decision",
        ]
        used = [self.average != 1, tau != 0, self.decision != "argmax"]
        return ", ".join(part for part, is_used in zip(parts, used, strict=True) if is_used) or "argmax"

    @property
    def plain(self) -> bool:
        """Whether it is the class of the last round's largest logit."""
        return self == LARGEST_LOGIT

    @property
    def learns(self) -> bool:
        """Whether it needs validation photos."""
        return self.logit_adjustment == "validation" or self.decision != "argmax"

    @property
    def averages(self) -> bool:
        """Whether it needs more than one network."""
        return self.average != 1

    def rounds(self, number: int) -> range:
        """Those of the rounds 1 to ``number`` that are averaged."""
        count = (number + 1) // 2 if self.average == "half" else min(int(self.average), number)
        return range(number - count + 1, number + 1)

    def learn(self, averaged: Values, held: HeldOut) -> Decision:
        """The decision, from the averaged logits [N, C] of all photos; only validation photos are looked at.

        If there are none, tau is 0 if it was to be chosen, and the decision is the argmax.
        """
        found, classes = averaged[held.places], len(held.counts)
        shift = self._tau(found, held) * log_prior(held.counts)
        if self.decision == "argmax" or not len(found):
            return Decision(shift, 1.0, np.ones(classes), np.zeros(classes))
        temperature = best_temperature(found - shift, held.labels)
        weight, offset = expected_f(softmax((found - shift) / temperature, axis=1))
        return Decision(shift, temperature, weight, offset)

    def _tau(self, found: Values, held: HeldOut) -> float:
        if self.logit_adjustment != "validation":
            return float(self.logit_adjustment)
        prior, classes = log_prior(held.counts), len(held.counts)

        def score(tau: float) -> float:
            return macro_f1(confusion_matrix(held.labels, (found - tau * prior).argmax(axis=1), classes))

        return max(TAUS, key=score)  # of equal ones the smallest


LARGEST_LOGIT = Prediction()


class Predictor:
    """Predicts round after round of one trial; the rounds that it averages lie in files, which need no memory."""

    def __init__(self, prediction: Prediction, labels: NDArray[np.int64], fold: Fold) -> None:
        """Labels : [N]."""
        self._prediction, self._held = prediction, HeldOut.of(labels, fold)
        self._window: list[NDArray[np.float32]] = []  # the rounds that the next mean may need
        self._number = 0

    def __call__(self, logits: NDArray[np.float32]) -> NDArray[np.int16] | None:
        """Class of each photo, [N], after the next round, whose logits [N, C] these are; None for the largest logit."""
        if self._prediction.plain:
            return None
        self._number += 1
        if self._prediction.averages:
            self._window = [*self._window, _on_disk(logits)][-len(self._prediction.rounds(self._number)) :]
            mean = averaged(self._window)
        else:
            mean = averaged([logits])
        return self._prediction.learn(mean, self._held)(mean).astype(np.int16)


def _on_disk(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same, read from a file without a name when they are asked for; the disk frees it with the array."""
    with tempfile.TemporaryFile(prefix="rsrl-") as file:
        logits.tofile(file)  # a full disk is an error here; in memory that is mapped it would end the process
        return np.memmap(file, logits.dtype, "r", shape=logits.shape)


def averaged(logits: Sequence[NDArray[np.floating]]) -> Values:
    """Mean over rounds of log-softmax, [N, C], of each round's logits [N, C]; one round at a time is in float64."""
    total = log_shares(logits[0])
    for each in logits[1:]:
        total += log_shares(each)
    return total / len(logits)


def log_prior(counts: NDArray[np.int64]) -> Values:
    """Ln pi_c of counts [C]; 0 for a class without photos, which no training has moved."""
    return np.asarray(np.log(np.maximum(counts, 1) / counts.sum()) * (counts > 0))


def best_temperature(logits: Values, labels: NDArray[np.int64]) -> float:
    """The T of 0.05 to 20 for which softmax(z / T) has the lowest mean cross-entropy.

    References
    ----------
    C. Guo et al., On calibration of modern neural networks, ICML 2017 (section 4.2).
    """

    def loss(log_temperature: float) -> float:
        return -float(self_confidence(log_shares(logits / np.exp(log_temperature)), labels).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def expected_f(likelihoods: Values) -> tuple[Values, Values]:
    """Weights and offsets [C] by which argmax w (p - t) has the highest expected macro F, from likelihoods [v, C].

    With N_c = sum p_c, from w_c = 1 / N_c and t_c = 0, 80 times: assign, take as F_c 2 TP_c / (N_c + m_c), where TP_c
    is the expected number of hits and m_c the number of photos assigned to c, and move w by 0.3 towards 1 / (N + m)
    and t towards F / 2; the (w, t) of the best mean F.

    A class with N_c = 0 can have no hits. It is never decided on: w_c = 1 and t_c = 2 give it -1 at the most, and all
    others have more, because w t <= 1 / (N + 1).
    """
    mass = likelihoods.sum(axis=0)
    there = mass > MASS
    expected = np.where(there, mass, 1.0)
    weight, offset = 1 / expected, np.where(there, 0.0, 2.0)
    best, kept = -1.0, (weight, offset)
    for _ in range(DECISION_STEPS):
        assigned = (weight * (likelihoods - offset)).argmax(axis=1)
        hits = np.bincount(assigned, likelihoods[np.arange(len(assigned)), assigned], len(expected))
        many = np.bincount(assigned, minlength=len(expected))
        f = 2 * hits / (expected + many)
        if f.mean() > best:
            best, kept = float(f.mean()), (weight, offset)
        weight = np.where(there, 0.7 * weight + 0.3 / (expected + many), weight)
        offset = np.where(there, 0.7 * offset + 0.3 * f / 2, offset)
    return kept
