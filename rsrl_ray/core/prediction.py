"""Makes predicted classes of the logits of the rounds so far. Nothing is trained here.

There are three steps, and by default none changes anything: rounds are averaged, the logits are moved by the classes'
frequencies, and a class is decided on. The steps learn from validation photos and never from test photos. The result
is a `Decision` (`rsrl_ray.core.decisions`), a function of one photo's logits, so a served model decides as the sweep
did.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import Values
from rsrl_ray.core.decisions import (
    Decision,
    HeldOut,
    best_temperature,
    best_temperature_and_prior,
    expected_f,
    log_prior,
    prior_term,
    share_cuts,
)
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.likelihood import log_shares
from rsrl_ray.core.metrics import confusion_matrix, macro_f1
from rsrl_ray.core.value import as_text, check_choice, check_count, check_number

TAUS = tuple(step / 10 for step in range(21))  # `logit_adjustment: validation` takes one of these
DECISIONS = {  # with their names for people
    "argmax": "argmax",
    "expected_f": "expected-F decision",
    "expected_error": "decision of least expected error",
    "shares": "decision by class shares",
}
CALIBRATED = ("expected_f", "expected_error")  # the decisions that take likelihoods of a fitted temperature
PRIORS = ("none", "validation")


@dataclass(frozen=True)
class Prediction:
    """How a method predicts; by default it takes the class of the last round's largest logit.

    average : how many of the last rounds are averaged; ``half`` averages the last half of the rounds so far, rounded
    up; 1 averages nothing.
    logit_adjustment : tau; tau ln pi is subtracted from the logits. ``validation`` takes the tau of `TAUS` with the
    best macro F on the validation photos.
    decision : ``argmax``; ``expected_f``, the highest expected macro F; ``expected_error``, the least expected |error|,
    which is the median of the likelihoods; ``shares``, by cuts of the expected score that give each class its share of
    the training photos.
    prior : ``validation`` makes the likelihoods of `CALIBRATED` decisions softmax(z / T + b ln pi), with T and b from
    validation photos; ``none`` makes them softmax(z / T).
    guard : whether the argmax is kept if a `CALIBRATED` decision is worse on the validation photos: by macro F for
    ``expected_f``, by the mean |error| for ``expected_error``.
    """

    average: int | str = 1
    logit_adjustment: float | str = 0.0
    decision: str = "argmax"
    prior: str = "none"
    guard: bool = False

    def __post_init__(self) -> None:
        if self.average != "half":
            check_count("average", self.average, "half or a whole number")
        if self.logit_adjustment != "validation":
            check_number("logit_adjustment", self.logit_adjustment, 0, what="validation or a number")
        check_choice("decision", self.decision, tuple(DECISIONS))
        check_choice("prior", self.prior, PRIORS)
        if type(self.guard) is not bool:
            raise ValueError(f"guard: {self.guard!r}; give true or false")
        if self._extras and self.decision not in CALIBRATED:
            raise ValueError(
                f"{' and '.join(self._extras)}: of no use with decision: {self.decision}; leave it out, "
                f"or give decision: {' or '.join(CALIBRATED)}"
            )

    def __str__(self) -> str:
        """For people."""
        tau = self.logit_adjustment
        parts = [
            "mean of the last half of the rounds" if self.average == "half" else f"mean of {self.average} rounds",
            f"logit adjustment {tau if isinstance(tau, str) else as_text(tau)}",
            DECISIONS[self.decision] + (f" ({', '.join(self._extras)})" if self._extras else ""),
        ]
        used = [self.average != 1, tau != 0, self.decision != "argmax"]
        return ", ".join(part for part, is_used in zip(parts, used, strict=True) if is_used) or "argmax"

    @property
    def _extras(self) -> list[str]:
        """What it adds to a decision, as in a file."""
        added = {"prior: validation": self.prior == "validation", "guard: true": self.guard}
        return [name for name, is_used in added.items() if is_used]

    @property
    def plain(self) -> bool:
        """Whether it takes the class of the last round's largest logit."""
        return self == LARGEST_LOGIT

    @property
    def learns(self) -> bool:
        """Whether it needs validation photos."""
        return self.logit_adjustment == "validation" or self.decision != "argmax"

    @property
    def learns_cuts_alone(self) -> bool:
        """Whether it learns nothing but cuts, which training photos can tell in the place of validation photos."""
        return self.decision == "shares" and self.logit_adjustment != "validation"

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

        Without validation photos, a tau that would be learned is 0, ``expected_f`` is the argmax, and
        ``expected_error`` is the median at temperature 1. ``shares`` then uses the logits of the training photos, so
        give logits of networks that have not seen these photos (leave-one-out) if there are such.
        """
        found = averaged[held.places]
        largest = Decision.of_largest(self._tau(found, held) * log_prior(held.counts))
        if self.decision == "shares":
            seen = found if len(found) else averaged[held.train]
            return replace(largest, cuts=share_cuts(largest.probabilities(seen), held.counts))
        if self.decision == "argmax" or not len(found):
            return replace(largest, median=self.decision == "expected_error")
        decided = self._calibrated(found, largest.shift, held)
        is_worse = self.guard and self._cost(decided(found), held) > self._cost(largest(found), held)
        return largest if is_worse else decided

    def _calibrated(self, found: Values, shift: Values, held: HeldOut) -> Decision:
        """The `CALIBRATED` decision of validation photos' logits, [v, C]. shift : [C], the logit adjustment."""
        if self.prior == "validation":
            fitted = best_temperature_and_prior(found - shift, held.labels, held.counts)
            temperature = fitted.temperature
            shift = shift - temperature * prior_term(fitted.prior_weight, held.counts)
        else:
            temperature = best_temperature(found - shift, held.labels)
        decided = Decision.of_largest(shift, temperature, median=self.decision == "expected_error")
        if decided.median:
            return decided
        weight, offset = expected_f(decided.probabilities(found))
        return replace(decided, weight=weight, offset=offset)

    def _cost(self, classes: NDArray[np.int64], held: HeldOut) -> float:
        """How bad these classes of the validation photos, [v], are by what the decision aims at."""
        if self.decision == "expected_error":
            return float(np.abs(classes - held.labels).mean())
        return -macro_f1(confusion_matrix(held.labels, classes, len(held.counts)))

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
