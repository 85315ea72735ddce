"""Curves by round: means over the folds of a method."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.analysis.sweep.arrays import Sweep, TrialRounds

ByFold = NDArray[np.float64]  # [F, R, ...]; of one trial [R, ...]


@dataclass(frozen=True)
class FoldMean:
    """A mean over the folds that have a value.

    mean : NaN if no fold has one. sd : standard deviation (ddof 1), NaN for one fold. folds : how many have one.
    """

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    folds: NDArray[np.int64]


def fold_mean(values: ByFold) -> FoldMean:
    """The mean of values [F, ...] over their folds."""
    folds = np.isfinite(values).sum(axis=0)
    mean = np.where(folds > 0, np.nansum(values, axis=0) / np.maximum(folds, 1), np.nan)
    squares = np.nansum((values - mean) ** 2, axis=0)
    return FoldMean(mean, np.where(folds > 1, np.sqrt(squares / np.maximum(folds - 1, 1)), np.nan), folds)


def by_fold(sweep: Sweep, method: str, values: Callable[[TrialRounds], ByFold]) -> ByFold:
    """A value [r, ...] of each of the method's trials as [F, R, ...], NaN if a fold has not logged the round."""
    parts = [values(trial) for trial in sweep.trials_of(method)]
    stacked = np.full((len(parts), max(map(len, parts)), *parts[0].shape[1:]), np.nan)
    for row, part in zip(stacked, parts, strict=True):
        row[: len(part)] = part
    return stacked


def metric_by_fold(sweep: Sweep, metric: str) -> dict[str, ByFold]:
    """A metric of every method with a logged round, [F, R]."""
    return {method: by_fold(sweep, method, lambda trial: trial.curve(metric)) for method in sweep.begun}
