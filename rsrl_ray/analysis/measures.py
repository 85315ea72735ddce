"""What one network makes of a fold's test photos, and which round of a trial is chosen."""

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray.analysis.data import Sweep, Trial
from rsrl_ray.core import metrics, statistics
from rsrl_ray.core.revision import majority_classes
from rsrl_ray.core.selection import RULES, Rule, choose_rounds

TRAIN, VALIDATION, TEST = 0, 1, 2
SCORES = (
    "macro_f1",
    "total_f1",
    "accuracy",
    "minority_precision",
    "minority_recall",
    "minority_f1",
    "majority_precision",
    "majority_recall",
    "majority_f1",
)


def confusion(sweep: Sweep, trial: Trial, number: int) -> NDArray[np.int64]:
    """Confusion matrix [C, C] of the test photos after round ``number`` (from 1)."""
    return _confusion(sweep, trial, trial.predicted[number - 1])


def largest_class_confusion(sweep: Sweep, trial: Trial) -> NDArray[np.int64]:
    """Confusion matrix [C, C] of a network that assigns every test photo to the largest class of the training set."""
    largest = sweep.classes[majority(sweep, trial)[0]]
    return _confusion(sweep, trial, np.full(len(sweep.scores), largest))


def majority(sweep: Sweep, trial: Trial) -> NDArray[np.int64]:
    """The fold's majority classes, indices into ``sweep.classes``, largest first: those that are revised."""
    labels = np.searchsorted(sweep.classes, sweep.scores)
    return majority_classes(labels[trial.split == TRAIN], sweep.majority)


def measure(confusion: NDArray[np.int64], majority: NDArray[np.int64]) -> dict[str, float]:
    """The `SCORES` of a confusion matrix [C, C]; the majority classes are given as indices.

    Minority and majority values are means over those of their classes that have photos (the averages of section V.B);
    nan where none has.
    """
    scores = metrics.class_scores(confusion)
    values = {
        "macro_f1": metrics.macro_f1(confusion),
        "total_f1": metrics.total_f1(confusion),
        "accuracy": metrics.accuracy(confusion),
    }
    is_majority = np.isin(np.arange(len(confusion)), majority)
    for group, members in (("minority", ~is_majority), ("majority", is_majority)):
        present = members & (scores.support > 0)
        for name in ("precision", "recall", "f1"):
            column = getattr(scores, name)[present]
            values[f"{group}_{name}"] = float(column.mean()) if len(column) else math.nan
    return values


def chosen_rounds(sweep: Sweep, schedule: str, rule: Rule) -> dict[int, int]:
    """By fold, the round that ``rule`` chooses by macro F among those logged so far; folds without any are left out.

    Within a fold the round of the best macro F has the best total F too: the classes with test photos are the same.

    Raises
    ------
    ValueError
        Where the rule needs validation photos and there are none.
    """
    trials = [sweep.trials[fold, schedule] for fold in sweep.folds if (fold, schedule) in sweep.trials]
    validation, test = ([_curve(trial, f"{part}_macro_f1") for trial in trials] for part in ("validation", "test"))
    return dict(zip((trial.fold for trial in trials), choose_rounds(rule, validation, test), strict=True))


def usable_rules(sweep: Sweep) -> tuple[Rule, ...]:
    """The rules that can choose: without validation photos in every trial, only ``last`` and ``oracle``."""
    curves = [_curve(trial, "validation_macro_f1") for trial in sweep.trials.values()]
    known = not any(np.isnan(curve).any() for curve in curves)
    return RULES if known else ("last", "oracle")


def default_rule(sweep: Sweep) -> Rule:
    """``validation``, or ``oracle`` where validation photos are missing; whoever shows it says which."""
    return "validation" if "validation" in usable_rules(sweep) else "oracle"


def begun(sweep: Sweep) -> list[str]:
    """The schedules with a logged round, in the file's order."""
    return [name for name in sweep.schedules if any(schedule == name for _, schedule in sweep.trials)]


def spread(name: str, values: "pd.Series[Any]") -> dict[str, float]:
    """``name_mean`` and ``name_sd`` (ddof 1) of the values that are there."""
    numbers = values.to_numpy(dtype=np.float64, na_value=math.nan)
    return {f"{name}_mean": statistics.mean(numbers), f"{name}_sd": statistics.sd(numbers)}


def _curve(trial: Trial, metric: str) -> NDArray[np.float64]:
    if metric not in trial.metrics:
        return np.full(len(trial.metrics), math.nan)
    return trial.metrics[metric].to_numpy(dtype=np.float64)


def _confusion(sweep: Sweep, trial: Trial, predicted: NDArray[np.int64]) -> NDArray[np.int64]:
    test = trial.split == TEST
    labels, assigned = (np.searchsorted(sweep.classes, scores[test]) for scores in (sweep.scores, predicted))
    return metrics.confusion_matrix(labels, assigned, len(sweep.classes))
