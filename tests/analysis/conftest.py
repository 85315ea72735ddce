"""A sweep made by hand, small enough to work out every number on paper."""

import numpy as np
import pandas as pd
import pytest

from rsrl_ray.analysis.sweep.arrays import Sweep, TrialRounds
from rsrl_ray.core.trial import TrialKey

SCORES = np.array([3, 3, 3, 3, 5, 5, 3, 3, 5, 5, 3, 7])  # the majority class is 3
TEST = {0: [0, 1, 4], 1: [6, 7, 8, 9]}  # scores 3 3 5 and 3 3 5 5; no test photo has score 7
VALIDATION = 2
DROPPED = {0: {2: [3, 6], 3: [6]}, 1: {2: [0], 3: []}}  # by fold and round; 3 and 0 come back


def _trial(fold: int, method: str, status: str, assigned: list[list[int]], validation: list[float]) -> TrialRounds:
    """``assigned``: for every round the scores of the test photos; their macro F is made up by the caller's tests."""
    rounds = len(assigned)
    split = np.zeros(12, np.int8)
    split[VALIDATION], split[TEST[fold]] = 1, 2
    predicted = np.full((rounds, 12), 3)
    predicted[:, TEST[fold]] = assigned
    kept = np.tile(split == 0, (rounds, 1))
    if method == "paper":
        for number, photos in DROPPED[fold].items():
            kept[number - 1, photos] = False
    macro = {(3, 3, 3): 0.4, (3, 5, 5): 2 / 3, (3, 3, 3, 3): 1 / 3, (3, 3, 5, 3): 11 / 15}
    metrics = {"test_macro_f1": [macro[tuple(row)] for row in assigned], "validation_macro_f1": validation}
    return TrialRounds(
        fold=fold,
        method=method,
        status=status,
        reason="",
        run_id=f"{method}-{fold}",
        metrics=pd.DataFrame(metrics, index=pd.RangeIndex(1, rounds + 1, name="round")),
        split=split,
        scores=SCORES,
        photos_seen=kept.sum(axis=1).cumsum().astype(float),
        predicted=predicted,
        kept=kept,
        self_confidence=np.tile(np.linspace(0.1, 0.65, 12, dtype=np.float32), (rounds, 1)),
    )


@pytest.fixture(name="by_hand")
def _by_hand() -> Sweep:
    return make_by_hand()


def make_by_hand() -> Sweep:
    """Folds 0 and 1 of ``paper`` and ``none`` with 3 rounds; ``late`` runs, has 1 round of fold 1, none of fold 0."""
    all_3, mixed, best = [3, 3, 3], [3, 5, 5], [3, 3, 5, 3]
    trials = [
        _trial(0, "paper", "FINISHED", [all_3, mixed, all_3], [0.9, 0.5, 0.0]),
        _trial(1, "paper", "FINISHED", [[3] * 4, best, [3] * 4], [0.1, 0.7, 0.0]),
        _trial(0, "none", "FINISHED", [all_3] * 3, [0.2] * 3),
        _trial(1, "none", "FINISHED", [[3] * 4] * 3, [0.2] * 3),
        _trial(1, "late", "RUNNING", [[3] * 4], [0.3]),
    ]
    return Sweep(
        name="by_hand",
        run_id="parent",
        images=tuple(f"{number}.jpg" for number in range(12)),
        scores=SCORES,
        classes=np.array([3, 5, 7]),
        rounds=3,
        methods=("paper", "none", "late"),
        folds=(0, 1),
        trials={TrialKey(trial.fold, trial.method): trial for trial in trials},
        majority=1,
        missing=("late, fold 0: not begun yet.", "late, fold 1: still running; 1 of 3 rounds logged."),
    )
