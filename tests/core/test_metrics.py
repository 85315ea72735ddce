"""Metrics against arrays worked by hand and against scikit-learn."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support
from sklearn.metrics import confusion_matrix as sklearn_confusion

from rsrl_ray.core import metrics

# Class 2 is assigned once and has no photos, class 3 has neither.
LABELS = np.array([0, 0, 1, 1, 1])
PREDICTED = np.array([0, 1, 1, 1, 2])
CONFUSION = np.array([[1, 1, 0, 0], [0, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
EMPTY = np.zeros((3, 3), dtype=np.int64)


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


def test_an_empty_split_scores_zero() -> None:
    assert metrics.macro_f1(EMPTY) == 0
    assert metrics.total_f1(EMPTY) == 0
    assert metrics.all_class_macro_f1(EMPTY) == 0
    assert metrics.weighted_f1(EMPTY) == 0
    assert metrics.accuracy(EMPTY) == 0


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
