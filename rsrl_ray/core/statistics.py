"""Means over folds, and paired comparisons for folds that share training photos.

``ratio`` is n_test / n_train everywhere: tested photos divided by training photos of one fold. It is 1/4 with 5 folds
and no validation photos, and 0.2 / 0.72 with a validation share of 0.1. Repeats of the cross-validation do not change
it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from rsrl_ray.core.arrays import Values

INTERVAL = 0.95  # confidence of every interval


@dataclass(frozen=True)
class PairedTest:
    """A comparison of two methods over k folds. With fewer than two folds, t, p and the interval are nan.

    difference, sd : mean and standard deviation (ddof 1) of the fold-wise differences.
    t, df, p : corrected t, its degrees of freedom k - 1, its two-sided p.
    low, high : confidence interval of the mean difference.
    """

    difference: float
    sd: float
    t: float
    df: int
    p: float
    low: float
    high: float


@dataclass(frozen=True)
class Posterior:
    """Probabilities that the true mean difference of two methods is below -rope, in [-rope, rope], or above rope.

    They add up to 1; with fewer than two folds all are nan.
    """

    worse: float
    equivalent: float
    better: float


def mean(values: Values) -> float:
    """Mean of the values that are not nan; nan if there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def sd(values: Values) -> float:
    """Standard deviation (ddof 1) of the values that are not nan; nan if there are fewer than two."""
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return math.nan
    return float(known.std(ddof=1)) if np.ptp(known) else 0.0  # std of equal values can be 1e-17


def corrected_resampled_t(differences: Values, ratio: float) -> PairedTest:
    """The corrected resampled t-test of Nadeau and Bengio on fold-wise differences d_1, ..., d_k.

    t = mean(d) / sqrt((1/k + ratio) * var(d)), var with ddof 1, k - 1 degrees of freedom, two-sided. The interval is
    mean(d) -+ t_{k-1} * sqrt((1/k + ratio) * var(d)). The plain paired t assumes that folds are independent (ratio 0).
    They are not, because their training photos overlap, so the plain t finds too many differences.

    If all differences are 0, t is 0 and p is 1. If all are the same and not 0, t is infinite and p is 0.

    differences : [k]. ratio : n_test / n_train, 1/4 with 5 folds and no validation photos.

    References
    ----------
    C. Nadeau and Y. Bengio, Inference for the generalization error, Machine Learning 52 (2003), 239-281
    (their n2 / n1 is the ratio).
    R. R. Bouckaert and E. Frank, Evaluating the replicability of significance tests for comparing learning
    algorithms, PAKDD 2004 (for cross-validation).
    """
    folds = len(differences)
    centre, spread = mean(differences), sd(differences)
    if folds < 2:
        return PairedTest(centre, spread, math.nan, folds - 1, math.nan, math.nan, math.nan)
    error = math.sqrt(1 / folds + ratio) * spread
    t = centre / error if error else math.copysign(math.inf, centre) if centre else 0.0
    margin = float(stats.t.ppf((1 + INTERVAL) / 2, folds - 1)) * error
    p = 2 * float(stats.t.sf(abs(t), folds - 1))
    return PairedTest(centre, spread, t, folds - 1, p, centre - margin, centre + margin)


def correlated_t(differences: Values, ratio: float, rope: float) -> Posterior:
    """The Bayesian correlated t-test on fold-wise differences d_1, ..., d_k: the probabilities of three regions.

    The posterior of the mean difference is Student's t with k - 1 degrees of freedom, location mean(d) and scale
    sqrt((1/k + rho / (1 - rho)) * var(d)), var with ddof 1, rho the correlation of two folds' differences. With
    rho = n_test / (n_test + n_train), as Nadeau and Bengio take it, rho / (1 - rho) is ``ratio``: the scale is the
    standard error of `corrected_resampled_t`, and P(difference < 0) its one-sided p.

    If all differences are the same, their region has the probability 1.

    differences : [k], without nan. rope : half-width of the region of practical equivalence, in units of the measure,
    0 or more; 0: there is no such region.

    References
    ----------
    A. Benavoli, G. Corani, J. Demsar and M. Zaffalon, Time for a change: a tutorial for comparing multiple classifiers
    through Bayesian analysis, Journal of Machine Learning Research 18(77) (2017), 1-36.
    """
    folds = len(differences)
    centre, spread = mean(differences), sd(differences)
    if folds < 2:
        return Posterior(math.nan, math.nan, math.nan)
    scale = math.sqrt(1 / folds + ratio) * spread
    if scale == 0:
        worse, better = float(centre < -rope), float(centre > rope)
    else:
        worse = float(stats.t.cdf((-rope - centre) / scale, folds - 1))
        better = float(stats.t.sf((rope - centre) / scale, folds - 1))
    equivalent = max(1 - worse - better, 0.0)  # rounding can leave -1e-17
    return Posterior(worse, equivalent, better)


def detectable(folds: int, ratio: float) -> float:
    """The difference that so many folds could have shown: half an interval of `corrected_resampled_t`, in sd.

    t_{k-1} * sqrt(1/k + ratio), in units of the standard deviation (ddof 1) of the fold-wise differences; nan with
    fewer than two folds. A smaller mean difference is not significant, but this does not mean that there is none.
    Because training photos overlap, more repeats cannot bring it below z * sqrt(ratio), which is 1.96 / 2 for 1/4.

    folds : k, of all repeats together.
    """
    if folds < 2:
        return math.nan
    return float(stats.t.ppf((1 + INTERVAL) / 2, folds - 1)) * math.sqrt(1 / folds + ratio)


def concluded(differences: Values, ratio: float, rope: float, is_error: bool = False) -> dict[str, float]:
    """All numbers of a comparison of two methods, under their names in ``comparisons.csv``.

    These are the results of `corrected_resampled_t`, `correlated_t` and `detectable`, ``folds`` (k), and
    ``detectable_difference``, in units of the measure. differences : [k], fold by fold. is_error : the lower, the
    better: ``better`` is the probability of a difference below -rope. Differences keep their sign.
    """
    test, shown = corrected_resampled_t(differences, ratio), detectable(len(differences), ratio)
    regions = vars(correlated_t(differences, ratio, rope))
    if is_error:
        regions = regions | {"worse": regions["better"], "better": regions["worse"]}
    row = {"folds": len(differences)} | vars(test) | {"ratio": ratio} | regions
    return row | {"detectable": shown, "detectable_difference": shown * test.sd}


def holm(p: Sequence[float]) -> Values:
    """Holm's step-down adjustment of m p-values.

    The i-th smallest becomes the maximum of (m - j + 1) p_(j) over j <= i, and 1 at most. A nan (a comparison that
    could not be made) stays nan and does not count.

    References
    ----------
    S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979),
    65-70.
    """
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(len(values), math.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = np.arange(len(order), 0, -1) * values[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted
