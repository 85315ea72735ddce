"""Makes a class of one photo's logits, by numbers that are learnt from other photos.

The scores are the classes' places 0 to C - 1 here. All is computed in float64.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import softmax

from rsrl_ray.core.arrays import Values
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.likelihood import log_shares, self_confidence

DECISION_STEPS = 80  # of the expected-F decision
MASS = 1e-9  # fewer expected photos of a class count as none
TEMPERATURES = (0.05, 20.0)  # between these T is fitted
PRIOR_WEIGHTS = (-5.0, 5.0)  # between these b is fitted


@dataclass(frozen=True)
class HeldOut:
    """What a decision learns from.

    counts : [C], training photos of each class. places, labels : [v], of the photos that are held out for validation.
    train : [t], places of the training photos. `Prediction.learn` looks at their logits only if v is 0.
    """

    counts: NDArray[np.int64]
    places: NDArray[np.int64]
    labels: NDArray[np.int64]
    train: NDArray[np.int64]

    @classmethod
    def of(cls, labels: NDArray[np.int64], fold: Fold) -> "HeldOut":
        """From the labels of all photos, [N], and a fold of them."""
        counts = np.bincount(labels[fold.train], minlength=int(labels.max()) + 1)
        return cls(counts, fold.validation, labels[fold.validation], fold.train)


@dataclass(frozen=True)
class Decision:
    """What turns log-likelihoods z, [C], into a class, by the probabilities p = softmax((z - shift) / temperature).

    - By default the class is argmax of ``weight * (p - offset)``.
    - With ``median`` it is the first class c with p_0 + ... + p_c >= 0.5. No class has a lower expected |error|,
      however far apart the scores are.
    - With ``cuts`` it is the number of cuts below the expected score sum_c c p_c. A cut that is equal to this score is
      not below it.

    shift, weight, offset : [C]. cuts : [C - 1].

    References
    ----------
    T. Hastie, R. Tibshirani and J. Friedman, The elements of statistical learning, 2nd ed., 2009 (section 2.4: the
    median has the least expected absolute error).
    """

    shift: Values
    temperature: float
    weight: Values
    offset: Values
    cuts: Values | None = None
    median: bool = False

    @classmethod
    def of_largest(cls, shift: Values, temperature: float = 1.0, median: bool = False) -> "Decision":
        """The argmax of z - shift, or with ``median`` the median of its softmax."""
        return cls(shift, temperature, np.ones(len(shift)), np.zeros(len(shift)), median=median)

    def __call__(self, averaged: Values) -> NDArray[np.int64]:
        """The class of each photo, [N], from `averaged` logits [N, C]."""
        probabilities = self.probabilities(averaged)
        if self.median:
            return np.asarray((probabilities.cumsum(axis=1) >= 0.5).argmax(axis=1))
        if self.cuts is not None:
            return np.asarray((expected_scores(probabilities)[:, None] > self.cuts).sum(axis=1))
        return np.asarray((self.weight * (probabilities - self.offset)).argmax(axis=1))

    def probabilities(self, averaged: Values) -> Values:
        """The probabilities that it decides by, [N, C]; each row adds up to 1."""
        return np.asarray(softmax((averaged - self.shift) / self.temperature, axis=1))

    def as_dict(self) -> dict[str, Any]:
        """Its values for JSON, without later fields at their defaults. `of_dict` reads them back bit for bit."""
        known = {name: value for name, value in vars(self).items() if value is not None and value is not False}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in known.items()}

    @classmethod
    def of_dict(cls, values: Mapping[str, Any], classes: int) -> "Decision":
        """The decision of `as_dict`. Raises ValueError if it is not a decision for so many classes."""
        sizes = {"shift": classes, "weight": classes, "offset": classes}
        sizes |= {"cuts": classes - 1} if "cuts" in values else {}
        arrays = {name: np.array(values[name], dtype=np.float64) for name in sizes}
        temperature, median = float(values["temperature"]), values.get("median", False)
        if any(array.shape != (sizes[name],) for name, array in arrays.items()) or not temperature > 0:
            raise ValueError("the decision is of other classes")
        if type(median) is not bool or (median and "cuts" in values):
            raise ValueError("the decision is by the median or by cuts")
        return cls(temperature=temperature, median=median, **arrays)


def log_prior(counts: NDArray[np.int64]) -> Values:
    """Ln pi_c, [C], from counts [C]; 0 for a class without photos, because training did not change it."""
    return np.asarray(np.log(np.maximum(counts, 1) / counts.sum()) * (counts > 0))


def prior_term(weight: float, counts: NDArray[np.int64]) -> Values:
    """What a prior adds to logits: b ln pi_c, [C], with b = ``weight``.

    A class without training photos gets the lowest of all, which is 0 or less, so that no b prefers it.
    """
    term = weight * log_prior(counts)
    return np.where(counts > 0, term, min(0.0, float(term.min())))


def best_temperature(logits: Values, labels: NDArray[np.int64]) -> float:
    """The T between 0.05 and 20 at which softmax(z / T) has the lowest mean cross-entropy.

    logits : z, [v, C]. labels : [v].

    References
    ----------
    C. Guo et al., On calibration of modern neural networks, ICML 2017 (section 4.2).
    """

    def loss(log_temperature: float) -> float:
        return -float(self_confidence(log_shares(logits / np.exp(log_temperature)), labels).mean())

    low, high = TEMPERATURES
    found = minimize_scalar(loss, bounds=(np.log(low), np.log(high)), method="bounded")
    return float(np.exp(found.x))


@dataclass(frozen=True)
class Calibrated:
    """Probabilities softmax(z / T + b ln pi): the temperature T and the ``prior_weight`` b."""

    temperature: float
    prior_weight: float


def best_temperature_and_prior(logits: Values, labels: NDArray[np.int64], counts: NDArray[np.int64]) -> Calibrated:
    """The T of 0.05 to 20 and b of -5 to 5 at which softmax(z / T + b ln pi) has the lowest mean cross-entropy.

    A temperature alone flattens the likelihoods of small classes with those of the others: T > 1 gives them more photos
    than they have. The term b ln pi gives that back. The loss is convex in 1 / T and b on either side of
    b = 0, and on both together if each class has training photos. So either side is searched, from `best_temperature`
    and b = 0, and the loss is never higher than at these.

    logits : z, [v, C]. labels : [v]. counts : [C], training photos of each class; pi are their shares.

    References
    ----------
    M. Saerens, P. Latinne and C. Decaestecker, Adjusting the outputs of a classifier to new a priori probabilities,
    Neural Computation 14 (2002), 21-41. A. Alexandari, A. Kundaje and A. Shrikumar, Maximum likelihood with
    bias-corrected calibration is hard-to-beat at label shift adaptation, ICML 2020 (one bias a class; here b ln pi).
    """

    def loss(point: Values) -> float:
        moved = point[0] * logits + prior_term(float(point[1]), counts)
        return -float(self_confidence(log_shares(moved), labels).mean())

    (low, high), (least, most) = TEMPERATURES, PRIOR_WEIGHTS
    start = np.array([1 / best_temperature(logits, labels), 0.0])
    search = partial(minimize, loss, start, method="L-BFGS-B", options={"ftol": 1e-12, "gtol": 1e-8})
    halves = [search(bounds=[(1 / high, 1 / low), weights]) for weights in ((least, 0), (0, most))]
    inverse, weight = min(halves, key=lambda half: float(half.fun)).x
    return Calibrated(1 / float(inverse), float(weight))


def expected_scores(probabilities: Values) -> Values:
    """The expected score sum_c c p_c of each photo, [N], from p [N, C]; 0 to C - 1."""
    return np.asarray((probabilities * np.arange(probabilities.shape[1])).sum(axis=1))


def share_cuts(probabilities: Values, counts: NDArray[np.int64]) -> Values:
    """Cuts, [C - 1], of expected scores, with which as large a share of photos is in each class as in training.

    Cut c is the quantile (by linear interpolation) of the photos' expected scores at (n_0 + ... + n_c) / n. A class
    without training photos is never decided on: if all below a cut are such classes, it is -1, below every score; if
    all above it are, it is C.

    probabilities : [v, C]. counts : n_c, [C].

    References
    ----------
    M. J. Kolen and R. L. Brennan, Test equating, scaling, and linking, 3rd ed., 2014 (chapter 2: equipercentile).
    """
    below, total = counts.cumsum()[:-1], counts.sum()
    quantiles = np.quantile(expected_scores(probabilities), below / total)
    return np.where(below == 0, -1.0, np.where(below == total, float(len(counts)), quantiles))


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
