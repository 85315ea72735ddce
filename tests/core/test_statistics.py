"""Statistics against scipy, baycomp, published numbers and by hand."""

import math

import baycomp
import numpy as np
import pytest
from scipy import stats

from rsrl_ray.core.statistics import Posterior, corrected_resampled_t, correlated_t, detectable, holm, mean, sd

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
    result, expected = corrected_resampled_t(one - other, ratio=0), stats.ttest_rel(one, other)
    interval = expected.confidence_interval(0.95)
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


def _regions(posterior: Posterior) -> list[float]:
    return [posterior.worse, posterior.equivalent, posterior.better]


@pytest.mark.parametrize(("folds", "repeats"), [(2, 1), (5, 1), (10, 1), (5, 5), (10, 10)])
@pytest.mark.parametrize("rope", [0.001, 0.01, 0.1])
@pytest.mark.parametrize("shift", [-0.03, 0.0, 0.005, 0.2])
def test_correlated_t_is_baycomps(folds: int, repeats: int, rope: float, shift: float) -> None:
    one, other = np.random.default_rng([folds, repeats]).normal(0.3, 0.02, size=(2, folds * repeats))
    other = other + shift
    # baycomp's differences are those of its second argument to its first, its rho is 1 / folds: all else is trained on.
    found = correlated_t(other - one, ratio=1 / (folds - 1), rope=rope)
    np.testing.assert_allclose(_regions(found), baycomp.two_on_single(one, other, rope, repeats), atol=1e-12)
    assert sum(_regions(found)) == pytest.approx(1, abs=1e-12)


def test_correlated_t_by_hand() -> None:
    found = correlated_t(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), ratio=1 / 4, rope=1.0)
    # As in the corrected t: mean 3, scale sqrt((1/5 + 1/4) * 2.5) = sqrt(1.125); -1 is 4 below it, and 1 is 2 below.
    # The t with 4 degrees of freedom: F(t) = 1/2 + 3/8 * x * (1 - x^2 / 12), x = 2 t / sqrt(4 + t^2) (sign and all).
    cdf = [0.5 + 3 / 8 * x * (1 - x * x / 12) for x in (2 * t / math.sqrt(4 + t * t) for t in (-3.771236, -1.885618))]
    np.testing.assert_allclose(_regions(found), [cdf[0], cdf[1] - cdf[0], 1 - cdf[1]], atol=1e-6)


@pytest.mark.parametrize("ratio", [0.0, 0.2 / 0.72, 0.25])
def test_correlated_t_agrees_with_the_corrected_t(ratio: float) -> None:
    differences = np.random.default_rng(3).normal(0.01, 0.02, size=25)
    found, test = correlated_t(differences, ratio, rope=0), corrected_resampled_t(differences, ratio)
    np.testing.assert_allclose(_regions(found), [test.p / 2, 0, 1 - test.p / 2], atol=1e-12)  # 0: no -1e-17 either
    assert found.equivalent >= 0


def test_the_other_way_round_worse_is_better() -> None:
    differences = np.random.default_rng(4).normal(0.01, 0.02, size=5)
    there, back = correlated_t(differences, 0.25, 0.005), correlated_t(-differences, 0.25, 0.005)
    np.testing.assert_allclose(_regions(there), _regions(back)[::-1], rtol=1e-12)


@pytest.mark.parametrize(
    ("difference", "regions"),
    [(-0.02, [1, 0, 0]), (-0.009, [0, 1, 0]), (0.0, [0, 1, 0]), (0.009, [0, 1, 0]), (0.02, [0, 0, 1])],
)
def test_equal_differences_are_in_one_region(difference: float, regions: list[float]) -> None:
    assert _regions(correlated_t(np.full(5, difference), ratio=0.25, rope=0.01)) == regions


@pytest.mark.parametrize("differences", [[0.5], []])
def test_fewer_than_two_folds_have_no_posterior(differences: list[float]) -> None:
    np.testing.assert_equal(_regions(correlated_t(np.array(differences), ratio=0.25, rope=0.01)), [NAN] * 3)


@pytest.mark.parametrize(
    ("folds", "ratio", "expected"),
    [
        # t(.975, 1) = 12.706205, t(.975, 4) = 2.776445, t(.975, 24) = 2.063899 (tables)
        (2, 1.0, 12.706205 * math.sqrt(3 / 2)),
        (5, 0.0, 2.776445 / math.sqrt(5)),
        (5, 1 / 4, 2.776445 * math.sqrt(9 / 20)),
        (25, 1 / 4, 2.063899 * math.sqrt(29 / 100)),
    ],
)
def test_detectable_by_hand(folds: int, ratio: float, expected: float) -> None:
    assert detectable(folds, ratio) == pytest.approx(expected, rel=1e-6)


def test_detectable_with_a_validation_share_of_a_tenth() -> None:
    assert [round(detectable(folds, 0.2 / 0.72), 2) for folds in (5, 25)] == [1.92, 1.16]
    assert all(math.isnan(detectable(folds, 0.25)) for folds in (0, 1))
    assert 0.98 < detectable(100_000, 0.25) < 0.9801  # repeats alone bring it no further


def test_detectable_is_half_an_interval_in_sd() -> None:
    test = corrected_resampled_t(np.random.default_rng(5).normal(size=10), 0.2)
    assert (test.high - test.low) / 2 == pytest.approx(detectable(10, 0.2) * test.sd)


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
