"""Class by class, network 1 beside the chosen one (section V.B)."""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray.analysis.numbers.measures import Confusion, FrameRow, choose, confusion, majority, mean_and_sd, measure
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.core.metrics import class_scores
from rsrl_ray.core.selection import Criterion

PARTS = ("precision", "recall", "f1")


def class_rows(sweep: Sweep, criterion: Criterion) -> pd.DataFrame:
    """The frame ``classes`` of `Frames`: network 1 and the one that ``criterion`` chooses."""
    rows: list[FrameRow] = []
    everywhere = majority(sweep)
    for method in sweep.begun:
        chosen = choose(sweep.trials_of(method), criterion)
        for network, numbers in {"first": dict.fromkeys(chosen, 1), "chosen": chosen}.items():
            matrices = {key: confusion(sweep, sweep.trials[key], number) for key, number in numbers.items()}
            folds = [measure(sweep, matrix, majority(sweep, sweep.trials[key])) for key, matrix in matrices.items()]
            found = _by_class(sweep, list(matrices.values()), everywhere)
            found += _by_group(sweep, folds, np.sum(list(matrices.values()), axis=0), everywhere)
            rows += [{"method": method, "network": network} | row for row in found]
    return pd.DataFrame(rows).astype({"score": "Int64"})


def _by_class(sweep: Sweep, matrices: list[Confusion], majority: NDArray[np.int64]) -> list[FrameRow]:
    """A row for every class, from the confusion matrices of the folds."""
    scores, pooled = [class_scores(matrix) for matrix in matrices], class_scores(np.sum(matrices, axis=0))
    rows = []
    for place, score in enumerate(sweep.classes):
        present = [fold for fold in scores if fold.support[place]]
        row: FrameRow = {"group": "majority" if place in majority else "minority", "score": int(score)}
        row |= {"folds": len(present), "support": int(pooled.support[place])}
        for name in PARTS:
            row |= mean_and_sd(name, pd.Series([getattr(fold, name)[place] for fold in present], dtype="float64"))
            row[f"{name}_pooled"] = float(getattr(pooled, name)[place]) if present else math.nan
        rows.append(row)
    return rows


def _by_group(
    sweep: Sweep, folds: list[dict[str, float]], total: Confusion, majority: NDArray[np.int64]
) -> list[FrameRow]:
    """The means of the minority and of the majority classes: the folds' measures, and those of their sum, ``total``."""
    rows, pooled, support = [], measure(sweep, total, majority), total.sum(axis=1)
    for group in ("minority", "majority"):
        members = np.isin(np.arange(len(support)), majority, invert=group == "minority")
        row: FrameRow = {"group": group, "score": None, "folds": len(folds), "support": int(support[members].sum())}
        for name in PARTS:
            row |= mean_and_sd(name, pd.Series([fold[f"{group}_{name}"] for fold in folds]))
            row[f"{name}_pooled"] = pooled[f"{group}_{name}"]
        rows.append(row)
    return rows
