"""What was dropped against what is wrong, if labels are wrong on purpose (`config.Noise`)."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray.analysis.numbers.curves import ByFold
from rsrl_ray.analysis.numbers.measures import FrameRow, majority
from rsrl_ray.analysis.sweep.arrays import TRAINING_PHOTO, Sweep, TrialRounds

NOISE_COLUMNS = (
    *("method", "fold", "round", "candidates", "flipped", "base_rate", "dropped"),
    *("precision", "recall", "average_precision"),
)
RATES = ("base_rate", "precision", "recall", "average_precision")


def noise_rows(sweep: Sweep) -> pd.DataFrame:
    """A row for every round; no rows if no labels are wrong on purpose.

    candidates : training photos whose label is one of the majority classes. flipped : those of them whose label is
    wrong. base_rate : their share. dropped : the candidates that the round leaves out. precision, recall : of dropped
    against flipped; nan if nothing is dropped, or flipped. average_precision : how well 1 - self_confidence in the
    round before, that of the network that judged, ranks the flipped photos first, whatever is dropped; nan in round 1.
    """
    rows = [row for trial in sweep.trials.values() for row in _rows(sweep, trial)] if sweep.is_noisy else []
    return pd.DataFrame(rows, columns=list(NOISE_COLUMNS))


def average_precision(wrong: NDArray[np.bool_], doubt: NDArray[np.floating[Any]]) -> float:
    """The sum of precision x gain of recall along the list of photos [n] sorted by doubt; equal doubts count at once.

    The same as scikit-learn's ``average_precision_score``, in a tenth of the time; nan if nothing is wrong.
    """
    if not wrong.any():
        return math.nan
    order = np.argsort(-doubt, kind="stable")
    hits = np.cumsum(wrong[order])
    last = np.flatnonzero(np.append(np.diff(doubt[order]) != 0, True))  # of those of equal doubt
    gains = np.diff(hits[last], prepend=0)
    return float((gains * hits[last] / (last + 1)).sum() / hits[-1])


def over_rounds(noise: pd.DataFrame) -> pd.DataFrame:
    """For every method and fold, the means of dropped and `RATES` over the rounds from 2 on; nan if there is none."""
    later = noise[noise["round"] > 1]
    return later.groupby(["method", "fold"], sort=False)[["dropped", *RATES]].mean().reset_index()


def rates_by_fold(noise: pd.DataFrame) -> dict[str, dict[str, ByFold]]:
    """By method, each of `RATES` by fold and round, [F, R]; NaN in round 1, because nothing is dropped yet."""
    found: dict[str, dict[str, ByFold]] = {}
    for method, part in noise.groupby("method", sort=False):
        table = part.pivot(index="fold", columns="round")
        rates = {name: table[name].to_numpy(np.float64) for name in RATES}
        is_first = table["dropped"].columns == 1
        found[str(method)] = {name: np.where(is_first, math.nan, values) for name, values in rates.items()}
    return found


def _rows(sweep: Sweep, trial: TrialRounds) -> Iterator[FrameRow]:
    largest = sweep.classes[majority(sweep, trial)]
    candidates = np.flatnonzero((trial.split == TRAINING_PHOTO) & np.isin(trial.scores, largest))
    wrong = (trial.scores != sweep.scores)[candidates]
    rate = float(wrong.mean()) if len(wrong) else math.nan
    for place, kept in enumerate(trial.kept):
        out = ~kept[candidates]
        found, dropped, flipped = int((out & wrong).sum()), int(out.sum()), int(wrong.sum())
        doubt = 1 - trial.self_confidence[place - 1, candidates]
        yield {
            "method": trial.method,
            "fold": trial.fold,
            "round": place + 1,
            "candidates": len(candidates),
            "flipped": flipped,
            "base_rate": rate,
            "dropped": dropped,
            "precision": found / dropped if dropped else math.nan,
            "recall": found / flipped if flipped else math.nan,
            "average_precision": average_precision(wrong, doubt) if place else math.nan,
        }
