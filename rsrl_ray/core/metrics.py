"""Precision, recall and F-measure from confusion matrices (section V.B, eqs. 6 and 7)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassScores:
    """Per class, [C]: photos that have it, precision, recall and F-measure (0 where undefined)."""

    support: NDArray[np.int64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


def confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts [C, C]: row = label, column = prediction. Matrices of several folds add up to pooled ones."""
    pairs = labels * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def class_scores(confusion: NDArray[np.int64]) -> ClassScores:
    """Precision TP / predicted, recall TP / support and F = 2PR / (P + R) (eq. 6), each 0 where 0 / 0."""
    hits = np.diag(confusion).astype(np.float64)
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = _ratio(hits, predicted), _ratio(hits, support)
    return ClassScores(support, precision, recall, _ratio(2 * precision * recall, precision + recall))


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """Mean F over the classes that have photos in this split; 0 where the split is empty."""
    scores = class_scores(confusion)
    present = scores.support > 0
    return float(scores.f1[present].mean()) if present.any() else 0.0


def total_f1(confusion: NDArray[np.int64]) -> float:
    """Sum of F over the classes: the scale of the paper's Fig. 8; a class without photos adds 0."""
    return float(class_scores(confusion).f1.sum())


def all_class_macro_f1(confusion: NDArray[np.int64]) -> float:
    """Mean F over all C classes, those without photos in this split counted as 0."""
    return float(class_scores(confusion).f1.mean())


def weighted_f1(confusion: NDArray[np.int64]) -> float:
    """Mean F weighted by support; 0 where the split is empty."""
    scores = class_scores(confusion)
    total = scores.support.sum()
    return float((scores.f1 * scores.support).sum() / total) if total else 0.0


def accuracy(confusion: NDArray[np.int64]) -> float:
    """Share of photos assigned to their own class (eq. 7); 0 where the split is empty."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else 0.0


def sharing_rate(labels: NDArray[np.int64], majority: NDArray[np.int64]) -> float:
    """Share of the photos that belongs to the majority classes: 87 % before and 83 % after RSRL in the paper."""
    return float(np.isin(labels, majority).mean()) if len(labels) else 0.0


def _ratio(top: NDArray[np.float64], bottom: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.asarray(np.divide(top, bottom, out=np.zeros(len(top)), where=bottom != 0))
