"""Metrics against arrays worked by hand, scikit-learn and scipy."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    f1_score,
    mean_absolute_error,
    precision_recall_fscore_support,
)
from sklearn.metrics import confusion_matrix as sklearn_confusion

from rsrl_ray.core import metrics

# Class 2 is assigned once and has no photos, class 3 has neither.
LABELS = np.array([0, 0, 1, 1, 1])
PREDICTED = np.array([0, 1, 1, 1, 2])
CONFUSION = np.array([[1, 1, 0, 0], [0, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
EMPTY = np.zeros((3, 3), dtype=np.int64)
SCORES = np.arange(2, 10)  # of the paper's photos


def test_confusion_has_labels_in_rows_and_predictions_in_columns() -> None:
    found = metrics.confusion_matrix(LABELS, PREDICTED, 4)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, CONFUSION)


def test_confusion_of_no_photos_is_zero() -> None:
    none = np.array([], dtype=np.int64)
    np.testing.assert_array_equal(metrics.confusion_matrix(none, none, 3), EMPTY)


def test_confusions_of_folds_add_up_to_the_pooled_one() -> None:
    first = metrics.confusion_matrix(LABELS[:2], PREDICTED[:2], 4)
    second = metrics.confusion_matrix(LABELS[2:], PREDICTED[2:], 4)
    np.testing.assert_array_equal(first + second, CONFUSION)


def test_class_scores_by_hand() -> None:
    scores = metrics.class_scores(CONFUSION)
    np.testing.assert_array_equal(scores.support, [2, 3, 0, 0])
    np.testing.assert_allclose(scores.precision, [1, 2 / 3, 0, 0])
    np.testing.assert_allclose(scores.recall, [1 / 2, 2 / 3, 0, 0])
    np.testing.assert_allclose(scores.f1, [2 / 3, 2 / 3, 0, 0])


def test_means_by_hand() -> None:
    assert metrics.macro_f1(CONFUSION) == pytest.approx(2 / 3)  # over the two classes that have photos
    assert metrics.total_f1(CONFUSION) == pytest.approx(4 / 3)
    assert metrics.all_class_macro_f1(CONFUSION) == pytest.approx(1 / 3)
    assert metrics.weighted_f1(CONFUSION) == pytest.approx((2 * 2 / 3 + 3 * 2 / 3) / 5)
    assert metrics.accuracy(CONFUSION) == pytest.approx(3 / 5)


def test_weighted_f1_weighs_by_support() -> None:
    # F of class 0: P 3/3, R 3/4, so 6/7; of class 1: P 1/2, R 1/1, so 2/3.
    assert metrics.weighted_f1(np.array([[3, 1], [0, 1]])) == pytest.approx((4 * 6 / 7 + 1 * 2 / 3) / 5)


def test_an_empty_split_has_no_scores() -> None:
    of = (metrics.macro_f1, metrics.total_f1, metrics.all_class_macro_f1, metrics.weighted_f1, metrics.accuracy)
    assert all(math.isnan(score(EMPTY)) for score in of)
    assert math.isnan(metrics.sharing_rate(np.array([], np.int64), np.array([0])))


def test_classes_of_50_photos_or_more() -> None:
    labels = np.repeat([0, 1, 3], [49, 50, 51])
    np.testing.assert_array_equal(metrics.large_classes(labels, 5), [False, True, False, True, False])


def test_macro_f1_over_some_classes_by_hand() -> None:
    # F of class 0: P 3/3, R 3/4, so 6/7; of class 1: P 1/2, R 1/1, so 2/3: the photo of class 0 counts against it.
    confusion = np.array([[3, 1, 0], [0, 1, 0], [0, 0, 0]])

    def f1(*members: bool) -> float:
        return metrics.macro_f1_of(confusion, np.array(members))

    assert f1(True, False, False) == pytest.approx(6 / 7)
    assert f1(False, True, False) == pytest.approx(2 / 3)
    assert f1(True, True, True) == pytest.approx((6 / 7 + 2 / 3) / 2) == metrics.macro_f1(confusion)
    assert math.isnan(f1(False, False, True))  # it has no photos here
    assert math.isnan(f1(False, False, False))


def test_ordinal_scores_by_hand() -> None:
    # Two photos of score 1, one of which is taken for a 4; of the four of score 2, two are right and two are 4s.
    confusion = np.array([[1, 0, 1], [0, 2, 2], [0, 0, 0]])
    found = metrics.ordinal_scores(confusion, np.array([1, 2, 4]))
    # Squared errors 9 + 2 * 4. By chance, predictions 1, 2, 3 of 6: 2/6 * (2 * 1 + 3 * 9) + 4/6 * (1 * 1 + 3 * 4).
    assert found.quadratic_kappa == pytest.approx(1 - 17 / (58 / 6 + 52 / 6))
    assert found.mae == pytest.approx((3 + 2 * 2) / 6)
    assert found.macro_mae == pytest.approx((3 / 2 + 4 / 4) / 2)  # the class without photos is left out
    # Ranks of the labels 1.5, 4.5; of the predictions 1, 2.5, 5; less 3.5: -2, 1; -2.5, -1, 1.5.
    covariance = -2 * (-2.5 + 1.5) + 1 * (2 * -1 + 2 * 1.5)
    assert found.spearman == pytest.approx(covariance / math.sqrt((2 * 4 + 4 * 1) * (6.25 + 2 * 1 + 3 * 2.25)))


def test_ordinal_scores_of_right_and_of_reversed_predictions() -> None:
    scores = np.array([0, 1, 2])
    right = metrics.ordinal_scores(np.diag([1, 2, 1]), scores)
    assert vars(right) == {"quadratic_kappa": 1.0, "mae": 0.0, "macro_mae": 0.0, "spearman": 1.0}
    wrong = metrics.ordinal_scores(np.diag([1, 2, 1])[::-1], scores)
    assert vars(wrong) == {"quadratic_kappa": -1.0, "mae": 1.0, "macro_mae": 4 / 3, "spearman": -1.0}


@pytest.mark.parametrize(
    ("confusion", "expected"),
    [
        ([[0, 0], [3, 1]], [0.0, 0.75, 0.75, 0.0]),  # labels of one class
        ([[0, 2], [0, 6]], [0.0, 0.25, 0.5, 0.0]),  # predictions of one class, as of the largest-class baseline
        ([[0, 0], [0, 4]], [0.0, 0.0, 0.0, 0.0]),  # both the same one
        ([[0, 4], [0, 0]], [0.0, 1.0, 1.0, 0.0]),  # both, but not the same
        ([[0, 0], [0, 0]], [math.nan] * 4),
    ],
)
def test_ordinal_scores_where_a_side_is_constant(confusion: list[list[int]], expected: list[float]) -> None:
    found = metrics.ordinal_scores(np.array(confusion), np.array([4, 5]))
    np.testing.assert_array_equal([found.quadratic_kappa, found.mae, found.macro_mae, found.spearman], expected)


def test_sharing_rate_before_and_after_dropping() -> None:
    labels = np.array([1, 1, 1, 2, 2, 3, 3, 0])
    majority = np.array([1, 2, 3])
    assert metrics.sharing_rate(labels, majority) == 7 / 8
    assert metrics.sharing_rate(labels[2:], majority) == 5 / 6


def _case(seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Photos of 8 classes, imbalanced as in the paper, so that rare classes are often missing."""
    generator = np.random.default_rng(seed)
    shares = np.array([93, 697, 1488, 512, 186, 113, 9, 2]) / 3100
    labels = generator.choice(8, size=60, p=shares)
    guessed = generator.choice(8, size=60, p=shares)
    return labels, np.where(generator.random(60) < 0.4, labels, guessed), 8


@pytest.mark.parametrize("seed", range(20))
def test_against_scikit_learn(seed: int) -> None:
    labels, predicted, classes = _case(seed)
    confusion = metrics.confusion_matrix(labels, predicted, classes)
    np.testing.assert_array_equal(confusion, sklearn_confusion(labels, predicted, labels=range(classes)))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=range(classes), zero_division=0
    )
    scores = metrics.class_scores(confusion)
    np.testing.assert_array_equal(scores.support, support)
    np.testing.assert_allclose(scores.precision, precision, rtol=1e-14)
    np.testing.assert_allclose(scores.recall, recall, rtol=1e-14)
    np.testing.assert_allclose(scores.f1, f1, rtol=1e-14)

    def mean(average: str, among: NDArray[np.int64]) -> float:
        return float(f1_score(labels, predicted, labels=among, average=average, zero_division=0))

    assert metrics.macro_f1(confusion) == pytest.approx(mean("macro", np.unique(labels)), rel=1e-14)
    assert metrics.all_class_macro_f1(confusion) == pytest.approx(mean("macro", np.arange(classes)), rel=1e-14)
    assert metrics.weighted_f1(confusion) == pytest.approx(mean("weighted", np.arange(classes)), rel=1e-14)
    assert metrics.total_f1(confusion) == pytest.approx(f1.sum(), rel=1e-14)
    assert metrics.accuracy(confusion) == pytest.approx(accuracy_score(labels, predicted), rel=1e-14)


@pytest.mark.parametrize("seed", range(20))
def test_macro_f1_over_large_classes_against_scikit_learn(seed: int) -> None:
    labels, predicted, classes = _case(seed)
    members = np.arange(classes) % 3 != 2  # 0, 1, 3, 4, 6 and 7; the last two are often missing
    among = np.intersect1d(np.flatnonzero(members), labels)
    expected = f1_score(labels, predicted, labels=among, average="macro", zero_division=0)
    found = metrics.macro_f1_of(metrics.confusion_matrix(labels, predicted, classes), members)
    assert found == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("seed", range(20))
def test_ordinal_scores_against_scikit_learn_and_scipy(seed: int) -> None:
    labels, predicted, classes = _case(seed)
    found = metrics.ordinal_scores(metrics.confusion_matrix(labels, predicted, classes), SCORES)
    kappa = cohen_kappa_score(labels, predicted, labels=range(classes), weights="quadratic")
    assert found.quadratic_kappa == pytest.approx(kappa, rel=1e-12)
    assert found.mae == pytest.approx(mean_absolute_error(SCORES[labels], SCORES[predicted]), rel=1e-14)
    of_classes = [
        mean_absolute_error(labels[labels == label], predicted[labels == label]) for label in np.unique(labels)
    ]
    assert found.macro_mae == pytest.approx(np.mean(of_classes), rel=1e-14)
    assert found.spearman == pytest.approx(stats.spearmanr(labels, predicted).statistic, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_kappa_and_errors_go_by_the_scores_values(seed: int) -> None:
    labels, predicted, classes = _case(seed)
    confusion, scores = metrics.confusion_matrix(labels, predicted, classes), np.array([0, 1, 2, 5, 6, 9, 12, 20])
    found, by_place = metrics.ordinal_scores(confusion, scores), metrics.ordinal_scores(confusion, np.arange(classes))
    # To scikit-learn every score up to 20 is a class, so that places are values.
    kappa = cohen_kappa_score(scores[labels], scores[predicted], labels=range(21), weights="quadratic")
    assert found.quadratic_kappa == pytest.approx(kappa, rel=1e-12)
    assert abs(found.quadratic_kappa - by_place.quadratic_kappa) > 1e-3
    assert found.mae == pytest.approx(mean_absolute_error(scores[labels], scores[predicted]), rel=1e-14)
    assert found.spearman == by_place.spearman  # ranks
    # Neither another unit nor another zero changes kappa; errors are in the unit.
    thirds = metrics.ordinal_scores(confusion, 3 * np.arange(classes) + 7)
    assert thirds.quadratic_kappa == pytest.approx(by_place.quadratic_kappa, rel=1e-12)
    assert thirds.mae == pytest.approx(3 * by_place.mae, rel=1e-14)
