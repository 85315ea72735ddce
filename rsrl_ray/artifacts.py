"""The files that every round leaves for people, `rounds/NN/` in MLflow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rsrl_ray.predictions import class_table, confusion


def write_round(folder: Path, table: pd.DataFrame, conv1: Mapping[str, NDArray[Any]], title: str) -> None:
    """Write predictions.parquet, classes.csv, confusion.png and conv1.npz of one round.

    table : see `rsrl_ray.predictions.predictions`. conv1 : weight [K, 3, h, w], bias [K], stride and padding [2].
    """
    table.to_parquet(folder / "predictions.parquet", index=False)
    class_table(table).to_csv(folder / "classes.csv", index=False, float_format="%.6g")
    confusion_figure(confusion(table, "test"), np.unique(table["score"]), title).savefig(folder / "confusion.png")
    np.savez(folder / "conv1.npz", allow_pickle=False, **conv1)


def confusion_figure(counts: NDArray[np.int64], scores: NDArray[np.int64], title: str) -> Figure:
    """Confusion matrix [C, C] of the test photos: counts, shaded by the share of the row (its recall)."""
    size = len(scores)
    figure = Figure(figsize=(1.6 + 0.42 * size, 1.5 + 0.42 * size), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts > 0):
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(size), [str(score) for score in scores])
    axes.set_yticks(range(size), [f"{score} ({n})" for score, n in zip(scores, counts.sum(axis=1), strict=True)])
    axes.set_xlabel("assigned score")
    axes.set_ylabel("score (test photos)")
    axes.set_title(title, fontsize=9)
    return figure
