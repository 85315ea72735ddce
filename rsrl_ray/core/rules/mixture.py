"""Drops the lower part of each majority class, as the margins of the class themselves divide it: there is no K."""

import sys
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

from rsrl_ray.core.arrays import Labels, Mask
from rsrl_ray.core.rules.margin import margins
from rsrl_ray.core.rules.rule import KEEPS, Rule, Seen
from rsrl_ray.core.value import as_text, check_share

ALL_ROUNDS = sys.maxsize
MOST_STEPS = 200  # of expectation-maximisation
SETTLED = 1e-8  # it ends if a step gains less, of the mean log-likelihood of a photo
NARROWEST = 1e-6  # of the class's variance, so that no part becomes a single point


@dataclass(frozen=True)
class Mixture(Rule):
    """Drops photos of majority classes that belong to the lower part of their class with a posterior above ``mixture``.

    A photo's value is its margin (the logit of its label minus the largest other logit), mean over all rounds so far.
    The values of a class are taken for a mixture of two normal distributions with weights w and 1 - w, means m1 < m2
    and one common variance v, of the highest likelihood. The posterior of the lower part falls with the value,
    1 / (1 + exp((m2 - m1) (x - (m1 + m2) / 2) / v - ln(w / (1 - w)))), so no photo stays while one with a higher value
    goes; with two variances it would rise again. Nothing is dropped of a class if two parts do not describe it better
    than one normal distribution does, by the Bayesian information criterion: 2 (L2 - L1) > 2 ln n, L the
    log-likelihood of its n photos. Nor if the lower part is not the smaller one (w of 1/2 or more): then it is the
    class itself, beside a few photos of which the networks are very sure. A class with equal values has one part.

    mixture : 0 to 1; with 0.5 the photos go that are more likely of the lower part.

    References
    ----------
    E. Arazo et al., Unsupervised label noise modeling and loss correction, ICML 2019, and J. Li et al., DivideMix, ICLR
    2020, which fit two parts to the loss. G. Pleiss et al., Identifying mislabeled data using the area under the margin
    ranking, NeurIPS 2020, has the mean margin. G. Schwarz, Estimating the dimension of a model, Annals of Statistics
    1978.
    """

    mixture: float

    def __post_init__(self) -> None:
        check_share("mixture", self.mixture)

    def __str__(self) -> str:
        """For people."""
        return f"mixture, lower part above {as_text(self.mixture)}"

    @property
    def looks_back(self) -> int:
        """See `Rule`."""
        return ALL_ROUNDS

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        values = np.mean([margins(logits, seen.labels) for logits in seen.logits], axis=0)

        def lower(members: Labels) -> Labels:
            return np.asarray(members[lower_part(values[members]) > self.mixture])

        return seen.in_majority(lower)

    def at(self, revision: int) -> Hashable:
        """See `Rule`."""
        return KEEPS if self.mixture == 1 else self


@dataclass(frozen=True)
class _Parts:
    """Two normal distributions with a common variance: their means, the lower first, and their weights."""

    means: tuple[float, float]
    weights: tuple[float, float]
    variance: float

    @classmethod
    def of(cls, values: NDArray[np.float64], lower: NDArray[np.float64]) -> "_Parts":
        """Of the highest likelihood, if the values belong to the lower part so much, both [n]."""
        shares = np.stack([lower, 1 - lower])
        sizes = shares.sum(axis=1)
        means = shares @ values / sizes
        variance = (shares * (values - means[:, None]) ** 2).sum() / len(values) + NARROWEST
        return cls((means[0], means[1]), (sizes[0] / len(values), sizes[1] / len(values)), variance)

    def logs(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The logarithm of weight times density of each part, [2, n]."""
        distances = (values - np.array(self.means)[:, None]) ** 2 / self.variance
        return np.asarray(np.log(self.weights)[:, None] - (distances + np.log(2 * np.pi * self.variance)) / 2)


def lower_part(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The posterior of the lower part for values [n] of a class, [n]; 0 if nothing is dropped. See `Mixture`."""
    count = len(values)
    if count < 2 or not np.isfinite(values).all() or np.ptp(values) == 0:
        return np.zeros(count)
    scaled = (values - values.mean()) / values.std()
    parts = _fitted(scaled)
    logs = parts.logs(scaled)
    gain = logsumexp(logs, axis=0).sum() + count * (1 + np.log(2 * np.pi)) / 2  # over one normal distribution
    if gain <= np.log(count) or parts.weights[0] >= 0.5:
        return np.zeros(count)
    return np.asarray(expit(logs[0] - logs[1]))


def _fitted(values: NDArray[np.float64]) -> _Parts:
    """By expectation-maximisation, from the two parts with the least squares about their means."""
    parts, before = _Parts.of(values, (values <= _split(values)).astype(np.float64)), -np.inf
    for _ in range(MOST_STEPS):
        logs = parts.logs(values)
        level = float(logsumexp(logs, axis=0).mean())
        if level - before < SETTLED:
            break
        before, parts = level, _Parts.of(values, expit(logs[0] - logs[1]))
    return parts


def _split(values: NDArray[np.float64]) -> float:
    """The highest value of the lower of the two parts of values, [n], with the least squares about their means."""
    ascending = np.sort(values)
    ends = np.flatnonzero(np.diff(ascending) > 0)  # of a lower part, so that equal values stay together
    sums, sizes = np.cumsum(ascending)[ends], ends + 1
    rest = len(values) - sizes
    between = sizes * rest * (sums / sizes - (ascending.sum() - sums) / rest) ** 2
    return float(ascending[ends[between.argmax()]])
