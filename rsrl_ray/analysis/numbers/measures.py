"""How good one network is on a fold's test photos, and which round of a trial is chosen."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray.analysis.sweep.arrays import TEST_PHOTO, TRAINING_PHOTO, Sweep, TrialRounds
from rsrl_ray.core import metrics, selection, statistics
from rsrl_ray.core.revision import majority_classes
from rsrl_ray.core.selection import Criterion
from rsrl_ray.core.trial import TrialKey

SCORES = (
    *("macro_f1", "macro_f1_50", "total_f1", "accuracy"),
    *("minority_precision", "minority_recall", "minority_f1", "majority_precision", "majority_recall", "majority_f1"),
    *("quadratic_kappa", "mae", "macro_mae", "spearman"),
)
FrameRow = dict[str, Any]  # of a data frame
Confusion = NDArray[np.int64]  # matrix [C, C]: row = label, column = prediction
ChosenRounds = Mapping[TrialKey, int]  # of every trial that has one


def confusion(sweep: Sweep, trial: TrialRounds, number: int) -> Confusion:
    """The confusion matrix of the test photos after round ``number`` (from 1)."""
    if trial.confusions is not None:
        return np.asarray(trial.confusions[number - 1], np.int64)  # products of its sums are larger than 32 bits
    return _confusion(sweep, trial, trial.predicted[number - 1])


def largest_class_confusion(sweep: Sweep, trial: TrialRounds) -> Confusion:
    """The confusion matrix of a network that assigns every test photo to the largest class of the training set."""
    largest = sweep.classes[majority(sweep, trial)[0]]
    return _confusion(sweep, trial, np.full(len(sweep.scores), largest))


def majority(sweep: Sweep, trial: TrialRounds | None = None) -> NDArray[np.int64]:
    """The majority classes, which the trial's fold revises: indices into ``sweep.classes``, largest first.

    Without a trial, those of all photos, for all folds together.
    """
    scores = sweep.trained_scores() if trial is None else trial.scores[trial.split == TRAINING_PHOTO]
    return majority_classes(sweep.places(scores), sweep.majority)


def large(sweep: Sweep) -> NDArray[np.bool_]:
    """The classes of `rsrl_ray.core.metrics.large_classes`, [C], by true scores."""
    return metrics.large_classes(sweep.places(sweep.scores), len(sweep.classes))


def measure(sweep: Sweep, confusion: Confusion, majority: NDArray[np.int64]) -> dict[str, float]:
    """The `SCORES` of a confusion matrix; the majority classes are given as indices.

    Minority and majority values are means over those of their classes that have photos (the averages of section V.B).
    They are nan if no class has any, and so is ``macro_f1_50``.
    """
    scores = metrics.class_scores(confusion)
    values = {
        "macro_f1": metrics.macro_f1(confusion),
        "macro_f1_50": metrics.macro_f1_of(confusion, large(sweep)),
        "total_f1": metrics.total_f1(confusion),
        "accuracy": metrics.accuracy(confusion),
    }
    is_majority = np.isin(np.arange(len(confusion)), majority)
    for group, members in (("minority", ~is_majority), ("majority", is_majority)):
        present = members & (scores.support > 0)
        for name in ("precision", "recall", "f1"):
            column = getattr(scores, name)[present]
            values[f"{group}_{name}"] = float(column.mean()) if len(column) else math.nan
    return values | vars(metrics.ordinal_scores(confusion, sweep.classes))


def measure_round(sweep: Sweep, trial: TrialRounds, number: int) -> dict[str, float]:
    """The `SCORES` of a trial's test photos after round ``number``."""
    return measure(sweep, confusion(sweep, trial, number), majority(sweep, trial))


def choose(
    trials: Iterable[TrialRounds], criterion: Criterion, ends: ChosenRounds | None = None, first: int = 1
) -> dict[TrialKey, int]:
    """The rounds that `rsrl_ray.core.selection.choose` chooses by macro F in these trials, among those logged so far.

    Within a fold the round of the best macro F has the best total F too: the classes with test photos are the same.

    ends : how many rounds of each trial may be chosen; all if None. first : the first round that may be chosen.

    Raises
    ------
    ValueError
        If the criterion needs validation photos and there are none.
    """
    curves = {}
    for trial in trials:
        end = len(trial.metrics) if ends is None else ends[trial.key]
        curves[trial.key] = {name: trial.curve(name)[:end] for name in (selection.VALIDATION, selection.TEST)}
    return selection.choose(curves, criterion, first=first)


def chosen_rounds(sweep: Sweep) -> ChosenRounds:
    """The round of every trial that tables and figures show."""
    return choose(sweep.trials.values(), sweep.criterion)


def mean_and_sd(name: str, values: "pd.Series[Any]") -> dict[str, float]:
    """``name_mean`` and ``name_sd`` (ddof 1) of the values that are not nan."""
    numbers = values.to_numpy(dtype=np.float64, na_value=math.nan)
    return {f"{name}_mean": statistics.mean(numbers), f"{name}_sd": statistics.sd(numbers)}


def _confusion(sweep: Sweep, trial: TrialRounds, predicted: NDArray[np.int64]) -> Confusion:
    test = trial.split == TEST_PHOTO
    labels, assigned = sweep.places(sweep.scores[test]), sweep.places(predicted[test])
    return metrics.confusion_matrix(labels, assigned, len(sweep.classes))
