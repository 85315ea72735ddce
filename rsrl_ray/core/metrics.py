"""Measures from confusion matrices: precision, recall and F (section V.B, eqs. 6 and 7), and measures of order."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGE = 50  # photos that a class of `large_classes` has at least
NUMBERED = 20  # a picture of a confusion matrix shows its counts up to this number of classes


@dataclass(frozen=True)
class ClassScores:
    """For each class, [C]: number of photos, precision, recall and F-measure (0 if undefined)."""

    support: NDArray[np.int64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


@dataclass(frozen=True)
class OrdinalScores:
    """How near predictions are to the labels, from a confusion matrix and the classes' scores.

    quadratic_kappa : Cohen's kappa with weights (score - predicted)^2: 1 if all are right, 0 if they are right by
    chance. It uses the values of the scores. scikit-learn's uses their places, which is the same if neighbouring scores
    are equally far apart.
    mae : mean |score - predicted| over the photos, in units of the score.
    macro_mae : mean of the classes' own mae, over the classes that have photos, in units of the score.
    spearman : rank correlation of score and prediction; equal values have their mean rank.

    Kappa is 0 if all labels and predictions are one class. The correlation is 0 if all labels or all predictions are
    one class. (Both are 0 / 0, but a tracking server does not take nan.) If the split is empty, all are nan.

    References
    ----------
    J. Cohen, Weighted kappa, Psychological Bulletin 70 (1968), 213-220.
    S. Baccianella, A. Esuli and F. Sebastiani, Evaluation measures for ordinal regression, ISDA 2009 (macro MAE).
    """

    quadratic_kappa: float
    mae: float
    macro_mae: float
    spearman: float


def confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts, [C, C]: row = label, column = prediction. Matrices of several folds can be added."""
    pairs = labels * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def class_scores(confusion: NDArray[np.int64]) -> ClassScores:
    """Precision TP / predicted, recall TP / support and F = 2PR / (P + R) (eq. 6); 0 / 0 counts as 0."""
    hits = np.diag(confusion).astype(np.float64)
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = _ratio(hits, predicted), _ratio(hits, support)
    return ClassScores(support, precision, recall, _ratio(2 * precision * recall, precision + recall))


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """Mean F over the classes that have photos in the split; nan if the split is empty."""
    return macro_f1_of(confusion, np.ones(len(confusion), dtype=bool))


def large_classes(labels: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    """The classes with `LARGE` photos or more, [C] bool.

    labels : [N], of all photos, so that all folds have the same large classes.
    """
    return np.bincount(labels, minlength=classes) >= LARGE


def macro_f1_of(confusion: NDArray[np.int64], members: NDArray[np.bool_]) -> float:
    """Mean F over those ``members``, [C] bool, that have photos in the split; nan if none has.

    With `large_classes` it is ``macro_f1_50``, in which the few photos of a rare class do not count. Precision counts
    the photos of all classes.
    """
    scores = class_scores(confusion)
    among = members & (scores.support > 0)
    return float(scores.f1[among].mean()) if among.any() else math.nan


def total_f1(confusion: NDArray[np.int64]) -> float:
    """Sum of F over all classes, as in the paper's Fig. 8. A class without photos adds 0; nan if the split is empty."""
    return float(class_scores(confusion).f1.sum()) if confusion.any() else math.nan


def all_class_macro_f1(confusion: NDArray[np.int64]) -> float:
    """Mean F over all C classes. A class without photos in the split counts as 0; nan if the split is empty."""
    return float(class_scores(confusion).f1.mean()) if confusion.any() else math.nan


def weighted_f1(confusion: NDArray[np.int64]) -> float:
    """Mean F, weighted by the number of photos of each class; nan if the split is empty."""
    scores = class_scores(confusion)
    total = scores.support.sum()
    return float((scores.f1 * scores.support).sum() / total) if total else math.nan


def accuracy(confusion: NDArray[np.int64]) -> float:
    """Share of the photos that are assigned to their own class (eq. 7); nan if the split is empty."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else math.nan


def ordinal_scores(confusion: NDArray[np.int64], scores: NDArray[np.int64]) -> OrdinalScores:
    """Kappa, errors and rank correlation. confusion : [C, C]. scores : [C], of the classes, ascending."""
    distance = np.abs(np.subtract.outer(scores, scores)).astype(np.float64)
    support, errors = confusion.sum(axis=1), (distance * confusion).sum(axis=1)
    present, total = support > 0, support.sum()
    return OrdinalScores(
        quadratic_kappa=_kappa(confusion, distance**2) if total else math.nan,
        mae=float(errors.sum() / total) if total else math.nan,
        macro_mae=float((errors[present] / support[present]).mean()) if total else math.nan,
        spearman=_spearman(confusion) if total else math.nan,
    )


def sharing_rate(labels: NDArray[np.int64], majority: NDArray[np.int64]) -> float:
    """Share of the photos that are in the majority classes: in the paper 87 % before RSRL and 83 % after it."""
    return float(np.isin(labels, majority).mean()) if len(labels) else math.nan


def _kappa(confusion: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    """1 - observed / expected disagreement, expected if labels and predictions are independent; 0 if 0 / 0."""
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    observed, by_chance = float((weights * confusion).sum() * support.sum()), float(support @ weights @ predicted)
    return 1 - observed / by_chance if by_chance else 0.0


def _spearman(confusion: NDArray[np.int64]) -> float:
    """Pearson's correlation of the mean ranks of rows and columns; 0 if one of them has a single class."""
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    row, column = _centred_ranks(support), _centred_ranks(predicted)
    spread = math.sqrt((support @ row**2) * (predicted @ column**2))  # rho of equal ranks is exactly 1
    return float(row @ confusion @ column) / spread if spread else 0.0


def _centred_ranks(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean rank of each class's photos minus the mean rank of all photos, [C]."""
    return np.asarray(np.cumsum(counts) - (counts + counts.sum()) / 2)


def _ratio(top: NDArray[np.float64], bottom: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.asarray(np.divide(top, bottom, out=np.zeros(len(top)), where=bottom != 0))
