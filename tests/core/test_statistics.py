"""Statistics against scipy, published numbers and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from rsrl_ray.core.statistics import corrected_resampled_t, holm, mean, sd

NAN = math.nan


def test_mean_and_sd_leave_out_what_is_missing() -> None:
    values = np.array([1.0, NAN, 2.0, 6.0])
    assert mean(values) == 3.0
    assert sd(values) == pytest.approx(math.sqrt(7))  # (4 + 1 + 9) / 2
    assert (mean(np.array([4.0])), sd(np.array([2.0, 2.0]))) == (4.0, 0.0)
    assert math.isnan(sd(np.array([4.0, NAN])))
    assert math.isnan(mean(np.array([NAN])))


def test_sd_of_equal_values_is_exactly_zero() -> None:
    assert np.std([0.1, 0.1, 0.1], ddof=1) > 0  # what rounding makes of it
    assert sd(np.array([0.1, 0.1, 0.1])) == 0


def test_corrected_t_by_hand() -> None:
    result = corrected_resampled_t(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), ratio=1 / 4)
    # mean 3, variance 2.5, standard error sqrt((1/5 + 1/4) * 2.5) = sqrt(1.125); t(0.975, 4) = 2.776445 (tables)
    assert (result.difference, result.df) == (3.0, 4)
    assert result.sd == pytest.approx(math.sqrt(2.5))
    assert result.t == pytest.approx(2.828427, abs=1e-6)
    assert result.p == pytest.approx(0.047421, abs=1e-6)
    assert result.low == pytest.approx(3 - 2.776445 * math.sqrt(1.125), abs=1e-5)
    assert result.high == pytest.approx(3 + 2.776445 * math.sqrt(1.125), abs=1e-5)


def test_published_example() -> None:
    """scikit-learn's "Statistical comparison of models using grid search": 10 x 10-fold, 90 photos to 10.

    Uncorrected t 2.611 and one-sided p 0.005; corrected t 0.750 and p 0.227.
    """
    sample = np.random.default_rng(0).normal(size=100)
    differences = (sample - sample.mean()) / sample.std(ddof=1) + 2.611 / 10  # its plain t is 2.611
    plain = corrected_resampled_t(differences, ratio=0)
    corrected = corrected_resampled_t(differences, ratio=10 / 90)
    assert (round(plain.t, 3), round(plain.p / 2, 3)) == (2.611, 0.005)
    assert (round(corrected.t, 3), round(corrected.p / 2, 3)) == (0.750, 0.227)


def test_without_correction_it_is_scipys_paired_t() -> None:
    one, other = np.random.default_rng(1).normal(size=(2, 7))
    result, expected = corrected_resampled_t(one - other, ratio=0, confidence=0.9), stats.ttest_rel(one, other)
    interval = expected.confidence_interval(0.9)
    np.testing.assert_allclose(
        [result.t, result.df, result.p, result.low, result.high],
        [expected.statistic, expected.df, expected.pvalue, interval.low, interval.high],
    )


def test_equal_differences() -> None:
    none = corrected_resampled_t(np.zeros(5), ratio=0.25)
    assert (none.t, none.p, none.low, none.high) == (0.0, 1.0, 0.0, 0.0)
    same = corrected_resampled_t(np.full(5, -0.1), ratio=0.25)
    assert (same.t, same.p, same.low, same.high) == (-math.inf, 0.0, -0.1, -0.1)


@pytest.mark.parametrize(("differences", "difference"), [([0.5], 0.5), ([], NAN)])
def test_fewer_than_two_folds_have_a_difference_at_most(differences: list[float], difference: float) -> None:
    result = corrected_resampled_t(np.array(differences), ratio=0.25)
    np.testing.assert_equal(
        [result.difference, result.sd, result.t, result.p, result.low, result.high], [difference, *[NAN] * 5]
    )


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # Wikipedia, Holm-Bonferroni method
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),  # R: p.adjust(p, "holm")
        ([0.6, 0.9], [1.0, 1.0]),
        ([0.2], [0.2]),
        ([0.02, NAN, 0.01], [0.02, NAN, 0.02]),
        ([NAN], [NAN]),
        ([], []),
    ],
)
def test_holm(p: list[float], adjusted: list[float]) -> None:
    np.testing.assert_allclose(holm(p), adjusted)
