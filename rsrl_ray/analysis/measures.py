"""What one network makes of a fold's test photos, and which round of a trial is chosen."""

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray.analysis.data import Sweep, Trial
from rsrl_ray.core import metrics, selection, statistics
from rsrl_ray.core.revision import majority_classes
from rsrl_ray.core.selection import Curve, Rule, choose_rounds
from rsrl_ray.core.trial import TrialKey

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
    trials = trials_of(sweep, schedule)
    validation, test = ([curve(trial, metric) for trial in trials] for metric in (selection.VALIDATION, selection.TEST))
    return dict(zip((trial.fold for trial in trials), choose_rounds(rule, validation, test), strict=True))


def usable_rules(sweep: Sweep) -> tuple[Rule, ...]:
    """The rules that can choose in every trial, see `rsrl_ray.core.selection.usable_rules`."""
    return selection.usable_rules([curve(trial, selection.VALIDATION) for trial in sweep.trials.values()])


def default_rule(sweep: Sweep) -> Rule:
    """The rule that the tables and figures choose by, see `rsrl_ray.core.selection.default_rule`."""
    return selection.default_rule([curve(trial, selection.VALIDATION) for trial in sweep.trials.values()])


def begun(sweep: Sweep) -> list[str]:
    """The schedules with a logged round, in the file's order."""
    return [name for name in sweep.schedules if any(key.schedule == name for key in sweep.trials)]


def trials_of(sweep: Sweep, schedule: str) -> list[Trial]:
    """The schedule's trials with a logged round, by fold."""
    keys = [TrialKey(fold, schedule) for fold in sweep.folds]
    return [sweep.trials[key] for key in keys if key in sweep.trials]


def curve(trial: Trial, metric: str) -> Curve:
    """A metric of the trial by round, [R]; nan where a round has none."""
    if metric not in trial.metrics:
        return np.full(len(trial.metrics), math.nan)
    return trial.metrics[metric].to_numpy(dtype=np.float64)


def spread(name: str, values: "pd.Series[Any]") -> dict[str, float]:
    """``name_mean`` and ``name_sd`` (ddof 1) of the values that are there."""
    numbers = values.to_numpy(dtype=np.float64, na_value=math.nan)
    return {f"{name}_mean": statistics.mean(numbers), f"{name}_sd": statistics.sd(numbers)}


def _confusion(sweep: Sweep, trial: Trial, predicted: NDArray[np.int64]) -> NDArray[np.int64]:
    test = trial.split == TEST
    labels, assigned = (np.searchsorted(sweep.classes, scores[test]) for scores in (sweep.scores, predicted))
    return metrics.confusion_matrix(labels, assigned, len(sweep.classes))
