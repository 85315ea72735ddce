"""What one network makes of a fold's test photos, and which round of a trial is chosen."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray.analysis.sweep.read import Sweep, Trial
from rsrl_ray.core import metrics, selection, statistics
from rsrl_ray.core.revision import majority_classes
from rsrl_ray.core.selection import Criterion, Curve
from rsrl_ray.core.trial import TrialKey, is_complete

TRAIN, VALIDATION, TEST = 0, 1, 2
SCORES = (
    "macro_f1",
    "macro_f1_50",
    "total_f1",
    "accuracy",
    "minority_precision",
    "minority_recall",
    "minority_f1",
    "majority_precision",
    "majority_recall",
    "majority_f1",
    "quadratic_kappa",
    "mae",
    "macro_mae",
    "spearman",
)


def confusion(sweep: Sweep, trial: Trial, number: int) -> NDArray[np.int64]:
    """Confusion matrix [C, C] of the test photos after round ``number`` (from 1)."""
    if trial.confusions is not None:
        return trial.confusions[number - 1]
    return _confusion(sweep, trial, trial.predicted[number - 1])


def largest_class_confusion(sweep: Sweep, trial: Trial) -> NDArray[np.int64]:
    """Confusion matrix [C, C] of a network that assigns every test photo to the largest class of the training set."""
    largest = sweep.classes[majority(sweep, trial)[0]]
    return _confusion(sweep, trial, np.full(len(sweep.scores), largest))


def majority(sweep: Sweep, trial: Trial) -> NDArray[np.int64]:
    """The fold's majority classes, indices into ``sweep.classes``, largest first: those that are revised."""
    return majority_classes(np.searchsorted(sweep.classes, trial.scores[trial.split == TRAIN]), sweep.majority)


def trained_scores(sweep: Sweep) -> NDArray[np.int64]:
    """The photos' scores as networks are trained on them, [N]: the same in every fold that trains on a photo."""
    scores = sweep.scores.copy()
    for trial in sweep.trials.values():
        trained = trial.split == TRAIN
        scores[trained] = trial.scores[trained]
    return scores


def whole_majority(sweep: Sweep) -> NDArray[np.int64]:
    """The majority classes of all photos, as `majority` has those of a fold."""
    return majority_classes(np.searchsorted(sweep.classes, trained_scores(sweep)), sweep.majority)


def large(sweep: Sweep) -> NDArray[np.bool_]:
    """The classes of `rsrl_ray.core.metrics.large_classes`, [C], by true scores."""
    return metrics.large_classes(np.searchsorted(sweep.classes, sweep.scores), len(sweep.classes))


def measure(sweep: Sweep, confusion: NDArray[np.int64], majority: NDArray[np.int64]) -> dict[str, float]:
    """The `SCORES` of a confusion matrix [C, C]; the majority classes are given as indices.

    Minority and majority values are means over those of their classes that have photos (the averages of section V.B);
    nan where none has, as is ``macro_f1_50``.
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


def chosen_rounds(sweep: Sweep, method: str, criterion: Criterion) -> dict[int, int]:
    """By fold, the round that ``criterion`` chooses by macro F among those logged so far; folds without any lack.

    Within a fold the round of the best macro F has the best total F too: the classes with test photos are the same.

    Raises
    ------
    ValueError
        Where the criterion needs validation photos and there are none.
    """
    return {trial.fold: number for trial, number in choose(trials_of(sweep, method), criterion).items()}


def choose(
    trials: Iterable[Trial], criterion: Criterion, ends: Mapping[TrialKey, int] | None = None, first: int = 1
) -> dict[TrialKey, int]:
    """What `rsrl_ray.core.selection.choose` chooses by macro F in these trials.

    ends : how many rounds of each trial may be chosen; all where it is None. first : the first that may.
    """
    curves = {}
    for trial in trials:
        key = TrialKey(trial.fold, trial.method)
        end = len(trial.metrics) if ends is None else ends[key]
        curves[key] = {name: curve(trial, name)[:end] for name in (selection.VALIDATION, selection.TEST)}
    return selection.choose(curves, criterion, first=first)


def usable_criteria(sweep: Sweep) -> tuple[Criterion, ...]:
    """The criteria that can choose in every trial, see `rsrl_ray.core.selection.usable_criteria`."""
    return selection.usable_criteria(sweep.chooses)


def default_criterion(sweep: Sweep) -> Criterion:
    """The criterion that the tables and figures choose by, see `rsrl_ray.core.selection.default_criterion`."""
    return selection.default_criterion(sweep.chooses)


def incomplete(sweep: Sweep) -> tuple[str, ...]:
    """The methods that lack rounds or folds, in the file's order, see `rsrl_ray.core.trial.is_complete`."""
    rounds = {key: len(trial.metrics) for key, trial in sweep.trials.items()}
    return tuple(name for name in sweep.methods if not is_complete(name, sweep.folds, rounds, sweep.rounds))


def begun(sweep: Sweep) -> list[str]:
    """The methods with a logged round, in the file's order."""
    return [name for name in sweep.methods if any(key.method == name for key in sweep.trials)]


def trials_of(sweep: Sweep, method: str) -> list[Trial]:
    """The method's trials with a logged round, by fold."""
    keys = [TrialKey(fold, method) for fold in sweep.folds]
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
