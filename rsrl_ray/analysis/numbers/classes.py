"""Class by class, network 1 beside the chosen one (section V.B)."""

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray.analysis.numbers.measures import (
    begun,
    chosen_rounds,
    confusion,
    majority,
    measure,
    spread,
    whole_majority,
)
from rsrl_ray.analysis.sweep.read import Sweep
from rsrl_ray.core.metrics import class_scores
from rsrl_ray.core.selection import Criterion
from rsrl_ray.core.trial import TrialKey

Row = dict[str, Any]
Confusion = NDArray[np.int64]


def class_rows(sweep: Sweep, criterion: Criterion) -> pd.DataFrame:
    """The frame ``classes`` of `Frames`: network 1 and the one that ``criterion`` chooses."""
    rows: list[Row] = []
    everywhere = whole_majority(sweep)
    for method in begun(sweep):
        chosen = chosen_rounds(sweep, method, criterion)
        for network in ("first", "chosen"):
            trials = {fold: sweep.trials[TrialKey(fold, method)] for fold in chosen}
            matrices = [
                confusion(sweep, trial, 1 if network == "first" else chosen[fold]) for fold, trial in trials.items()
            ]
            head = {"method": method, "network": network}
            rows += [head | row for row in _by_class(sweep, matrices, everywhere)]
            folds = [
                measure(sweep, matrix, majority(sweep, trial))
                for matrix, trial in zip(matrices, trials.values(), strict=True)
            ]
            total = np.sum(matrices, axis=0)
            pooled = measure(sweep, total, everywhere)
            rows += [head | row for row in _by_group(folds, pooled, total.sum(axis=1), everywhere)]
    return pd.DataFrame(rows).astype({"score": "Int64"})


def _by_class(sweep: Sweep, matrices: list[Confusion], majority: NDArray[np.int64]) -> list[Row]:
    """A row for every class, from the confusion matrices of the folds."""
    scores, pooled = [class_scores(matrix) for matrix in matrices], class_scores(np.sum(matrices, axis=0))
    rows = []
    for place, score in enumerate(sweep.classes):
        present = [fold for fold in scores if fold.support[place]]
        row: Row = {"group": "majority" if place in majority else "minority", "score": int(score)}
        row |= {"folds": len(present), "support": int(pooled.support[place])}
        for name in ("precision", "recall", "f1"):
            row |= spread(name, pd.Series([getattr(fold, name)[place] for fold in present], dtype="float64"))
            row[f"{name}_pooled"] = float(getattr(pooled, name)[place]) if present else math.nan
        rows.append(row)
    return rows


def _by_group(
    folds: list[dict[str, float]], pooled: dict[str, float], support: NDArray[np.int64], majority: NDArray[np.int64]
) -> list[Row]:
    """The means of the minority and of the majority classes, of the measures of each fold and of those pooled."""
    rows = []
    for group in ("minority", "majority"):
        members = np.isin(np.arange(len(support)), majority, invert=group == "minority")
        row: Row = {"group": group, "score": None, "folds": len(folds), "support": int(support[members].sum())}
        for name in ("precision", "recall", "f1"):
            row |= spread(name, pd.Series([fold[f"{group}_{name}"] for fold in folds]))
            row[f"{name}_pooled"] = pooled[f"{group}_{name}"]
        rows.append(row)
    return rows
