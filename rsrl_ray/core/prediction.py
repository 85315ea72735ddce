"""Makes predicted classes of the logits of the rounds so far. Nothing is trained here.

There are three steps, and by default none changes anything: rounds are averaged, the logits are moved by the classes'
frequencies, and a class is decided on. The steps learn from validation photos and never from test photos. The result
is a `Decision`, a function of one photo's logits, so a served model decides as the sweep did.
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

TAUS = tuple(step / 10 for step in range(21))  # `logit_adjustment: validation` takes one of these
DECISION_STEPS = 80  # of the expected-F decision
MASS = 1e-9  # fewer expected photos of a class count as none
DECISIONS = ("argmax", "expected_f")


@dataclass(frozen=True)
class HeldOut:
    """What a decision learns from.

    counts : [C], training photos of each class. places, labels : [v], of the photos that are held out for validation.
    """

    counts: NDArray[np.int64]
    places: NDArray[np.int64]
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, labels: NDArray[np.int64], fold: Fold) -> "HeldOut":
        """From the labels of all photos, [N], and a fold of them."""
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
        """The class of each photo, [N], from `averaged` logits [N, C]."""
        return np.asarray((self.weight * (self.probabilities(averaged) - self.offset)).argmax(axis=1))

    def probabilities(self, averaged: Values) -> Values:
        """The probabilities that it decides by, [N, C]; each row adds up to 1."""
        return np.asarray(softmax((averaged - self.shift) / self.temperature, axis=1))

    def as_dict(self) -> dict[str, Any]:
        """Its values for JSON. `of_dict` reads them back bit for bit."""
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}

    @classmethod
    def of_dict(cls, values: Mapping[str, Any], classes: int) -> "Decision":
        """The decision of `as_dict`. Raises ValueError if it is not a decision for so many classes."""
        arrays = {name: np.array(values[name], dtype=np.float64) for name in ("shift", "weight", "offset")}
        temperature = float(values["temperature"])
        if any(array.shape != (classes,) for array in arrays.values()) or not temperature > 0:
            raise ValueError("the decision is of other classes")
        return cls(temperature=temperature, **arrays)


@dataclass(frozen=True)
class Prediction:
    """How a method predicts; by default it takes the class of the last round's largest logit.

    average : how many of the last rounds are averaged; ``half`` averages the last half of the rounds so far, rounded
    up; 1 averages nothing.
    logit_adjustment : tau; tau ln pi is subtracted from the logits. ``validation`` takes the tau of `TAUS` with the
    best macro F on the validation photos.
    decision : ``argmax`` or ``expected_f``.
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
        """Whether it takes the class of the last round's largest logit."""
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
        """The rounds that are averaged after round ``number``."""
        count = (number + 1) // 2 if self.average == "half" else min(int(self.average), number)
        return range(number - count + 1, number + 1)

    def learn(self, averaged: Values, held: HeldOut) -> Decision:
        """The decision. averaged : logits of all photos, [N, C]; only those of validation photos are used.

        Without validation photos, a tau that would be learned is 0, and the decision is the argmax.
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

        return max(TAUS, key=score)  # the smallest of equal ones


LARGEST_LOGIT = Prediction()


class Predictor:
    """Predicts each round of one trial. The rounds that it averages lie in files, so that they take no memory."""

    def __init__(self, prediction: Prediction, labels: NDArray[np.int64], fold: Fold) -> None:
        """Labels : [N]."""
        self._prediction, self._held = prediction, HeldOut.of(labels, fold)
        self._window: list[NDArray[np.float32]] = []  # the rounds that the next mean may need
        self._number = 0

    def __call__(self, logits: NDArray[np.float32]) -> NDArray[np.int16] | None:
        """The class of each photo after the next round, [N], from its logits [N, C]; None: it is the largest logit."""
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
    """The same logits, in a file without a name, which is deleted with the array."""
    with tempfile.TemporaryFile(prefix="rsrl-") as file:
        logits.tofile(file)  # on a full disk this raises; writing to mapped memory would end the process
        return np.memmap(file, logits.dtype, "r", shape=logits.shape)


def averaged(logits: Sequence[NDArray[np.floating]]) -> Values:
    """Mean log-softmax of the rounds' logits, [N, C], in float64. One round at a time is in memory.

    logits : [N, C] for each round.
    """
    total = log_shares(logits[0])
    for each in logits[1:]:
        total += log_shares(each)
    return total / len(logits)


def log_prior(counts: NDArray[np.int64]) -> Values:
    """Ln pi_c, [C], from counts [C]; 0 for a class without photos, because training did not change it."""
    return np.asarray(np.log(np.maximum(counts, 1) / counts.sum()) * (counts > 0))


def best_temperature(logits: Values, labels: NDArray[np.int64]) -> float:
    """The T between 0.05 and 20 at which softmax(z / T) has the lowest mean cross-entropy.

    logits : z, [v, C]. labels : [v].

    References
    ----------
    C. Guo et al., On calibration of modern neural networks, ICML 2017 (section 4.2).
    """

    def loss(log_temperature: float) -> float:
        return -float(self_confidence(log_shares(logits / np.exp(log_temperature)), labels).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def expected_f(likelihoods: Values) -> tuple[Values, Values]:
    """Weights w and offsets t, [C], with which argmax w (p - t) has the highest expected macro F.

    likelihoods : p, [v, C]. Start: N_c = sum p_c, w_c = 1 / N_c, t_c = 0. Then 80 times: assign each photo to a class;
    let m_c be the number of photos assigned to c, TP_c the expected number of hits, and F_c = 2 TP_c / (N_c + m_c);
    move w by 0.3 towards 1 / (N + m), and t by 0.3 towards F / 2. The (w, t) with the best mean F is returned.

    A class with N_c = 0 has no hits, and it is never decided on: w_c = 1 and t_c = 2 give it -1 at most, and all others
    have more, because w t <= 1 / (N + 1).
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
