"""The analysis as data frames, one for each CSV file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray.analysis.classes import class_rows
from rsrl_ray.analysis.data import Sweep, Trial
from rsrl_ray.analysis.measures import (
    SCORES,
    TEST,
    TRAIN,
    begun,
    chosen_rounds,
    confusion,
    default_rule,
    largest_class_confusion,
    majority,
    measure,
    spread,
    usable_rules,
)
from rsrl_ray.core import statistics
from rsrl_ray.core.revision import majority_classes
from rsrl_ray.core.selection import Rule
from rsrl_ray.core.trial import TrialKey

LARGEST_CLASS = "always the largest class"
COMPARED = ("macro_f1", "accuracy", "minority_f1", "majority_f1")
Row = dict[str, Any]
Confusion = NDArray[np.int64]


@dataclass(frozen=True)
class Frames:
    """What is known of a sweep; missing values are nan (or <NA> in whole-number columns).

    rounds : fold, schedule, round, and every metric that MLflow holds.
    folds : schedule, rule, fold, status, rounds (how many are logged), round (the chosen one), train_size, `SCORES`.
    summary : schedule, rule, folds (how many), rounds (the chosen ones, by fold), then mean, sd (ddof 1) over the
        folds of train_size, round and each of `SCORES`; of `SCORES` also the value ``_pooled`` from confusion matrices
        summed over the folds. ``optimism``, in the rows of the oracle: its mean macro F less that of ``validation``.
    classes : schedule, network (first | chosen, by ``rule``), group (minority | majority), score, folds (those that
        have test photos of it), support (their sum), and mean, sd and pooled precision, recall and f1. Rows without
        a score are a group's means.
    comparisons : schedule, against, rule, measure, folds (paired), difference, sd, ratio (n_test / n_train), t, df, p,
        p_holm (over the schedules, for each measure by itself), low and high (95 % interval).
    ledger : schedule, fold, image, score, rounds, dropped (in how many rounds), returned (how often), history (by
        round, k kept, d dropped), mean and last self_confidence, last predicted score; photos that were dropped at
        least once, by trial those dropped most often first.

    rule : that of classes and comparisons, and of tables that show one rule. notes : sentences that belong to them.
    In folds and summary the first rows, rule "", are `LARGEST_CLASS`.
    """

    rounds: pd.DataFrame
    summary: pd.DataFrame
    folds: pd.DataFrame
    classes: pd.DataFrame
    comparisons: pd.DataFrame
    ledger: pd.DataFrame
    rule: Rule
    notes: tuple[str, ...]


def summarise(sweep: Sweep, baseline: str = "none") -> Frames:
    """Choose rounds by every rule and measure them; compare every schedule with ``baseline``.

    Raises
    ------
    ValueError
        Where another baseline than the default is given that the sweep has no schedule of.
    """
    if baseline not in sweep.schedules and baseline != "none":
        raise ValueError(f"no schedule {baseline!r} to compare with; there are {', '.join(sweep.schedules)}")
    rule = default_rule(sweep)
    folds, pooled = _folds(sweep)
    comparisons = _comparisons(sweep, folds, rule, baseline)
    return Frames(
        rounds=_rounds(sweep),
        summary=_summary(folds, pooled),
        folds=folds,
        classes=class_rows(sweep, rule),
        comparisons=comparisons,
        ledger=_ledger(sweep),
        rule=rule,
        notes=_notes(sweep, rule, baseline, comparisons),
    )


def _rounds(sweep: Sweep) -> pd.DataFrame:
    parts = [trial.metrics.reset_index() for trial in sweep.trials.values()]
    for part, trial in zip(parts, sweep.trials.values(), strict=True):
        part.insert(0, "schedule", trial.schedule)
        part.insert(0, "fold", trial.fold)
    return pd.concat(parts, ignore_index=True)


def _folds(sweep: Sweep) -> tuple[pd.DataFrame, dict[tuple[str, str], Row]]:
    """The folds frame; and by schedule and rule, the scores from the summed confusion matrices."""
    rows: list[Row] = []
    pooled: dict[tuple[str, str], Row] = {}
    everywhere = majority_classes(np.searchsorted(sweep.classes, sweep.scores), sweep.majority)

    def add(schedule: str, rule: str, counts: Mapping[int, tuple[Row, Confusion, Trial]]) -> None:
        for fold, (row, matrix, trial) in counts.items():
            values = measure(matrix, majority(sweep, trial))
            rows.append({"schedule": schedule, "rule": rule, "fold": fold, **row, **values})
        total = np.sum([matrix for _, matrix, _ in counts.values()], axis=0)
        pooled[schedule, rule] = measure(total, everywhere)

    first = {trial.fold: trial for trial in reversed(sweep.trials.values())}
    blank = {"status": "", "rounds": None, "round": None, "train_size": math.nan}
    add(LARGEST_CLASS, "", {fold: (blank, largest_class_confusion(sweep, first[fold]), first[fold])
                            for fold in sweep.folds if fold in first})  # fmt: skip
    for schedule in begun(sweep):
        for rule in usable_rules(sweep):
            counts = {}
            for fold, number in chosen_rounds(sweep, schedule, rule).items():
                trial = sweep.trials[TrialKey(fold, schedule)]
                size = int(trial.kept[number - 1].sum())
                row = {"status": trial.status, "rounds": len(trial.metrics), "round": number, "train_size": size}
                counts[fold] = (row, confusion(sweep, trial, number), trial)
            add(schedule, rule, counts)
    return pd.DataFrame(rows).astype({"rounds": "Int64", "round": "Int64"}), pooled


def _summary(folds: pd.DataFrame, pooled: Mapping[tuple[str, str], Row]) -> pd.DataFrame:
    rows = []
    for (schedule, rule), part in folds.groupby(["schedule", "rule"], sort=False):
        row: Row = {"schedule": schedule, "rule": rule, "folds": len(part)}
        row["rounds"] = ", ".join(str(number) for number in part["round"].dropna())
        for name in ("round", "train_size", *SCORES):
            row |= spread(name, part[name])
            if name in SCORES:
                row[f"{name}_pooled"] = pooled[str(schedule), str(rule)][name]
        rows.append(row)
    frame = pd.DataFrame(rows)
    oracle = frame["rule"] == "oracle"
    validation = frame[frame["rule"] == "validation"].set_index("schedule")["macro_f1_mean"]
    frame["optimism"] = frame["macro_f1_mean"].where(oracle) - frame["schedule"].map(validation)
    return frame


def _comparisons(sweep: Sweep, folds: pd.DataFrame, rule: Rule, baseline: str) -> pd.DataFrame:
    head = ["schedule", "against", "rule", "measure", "folds"]
    test = ["difference", "sd", "ratio", "t", "df", "p", "p_holm", "low", "high"]
    rows = []
    for name in COMPARED if baseline in begun(sweep) else ():
        values, found = folds[folds["rule"] == rule].pivot(index="fold", columns="schedule", values=name), []
        for schedule in (schedule for schedule in begun(sweep) if schedule != baseline):
            difference = (values[schedule] - values[baseline]).dropna()
            trials = [sweep.trials[TrialKey(fold, schedule)] for fold in difference.index]
            ratio = float(np.mean([_ratio(trial) for trial in trials] or [math.nan]))
            found.append((schedule, ratio, statistics.corrected_resampled_t(difference.to_numpy(dtype=float), ratio)))
        adjusted = statistics.holm([result.p for _, _, result in found])
        for (schedule, ratio, result), p_holm in zip(found, adjusted, strict=True):
            row = {"schedule": schedule, "against": baseline, "rule": rule, "measure": name, "folds": result.df + 1}
            rows.append(row | vars(result) | {"ratio": ratio, "p_holm": float(p_holm)})
    return pd.DataFrame(rows, columns=[*head, *test])


def _ledger(sweep: Sweep) -> pd.DataFrame:
    parts = []
    images = np.array(sweep.images, dtype=object)
    for trial in sweep.trials.values():
        dropped = ~trial.kept & (trial.split == TRAIN)
        photos = np.flatnonzero(dropped.any(axis=0))
        times, confidence = dropped[:, photos].sum(axis=0), trial.self_confidence[:, photos]
        columns = {
            "schedule": trial.schedule,
            "fold": trial.fold,
            "image": images[photos],
            "score": sweep.scores[photos],
            "rounds": len(dropped),
            "dropped": times,
            "returned": (dropped[:-1, photos] & ~dropped[1:, photos]).sum(axis=0),
            "history": ["".join("d" if out else "k" for out in column) for column in dropped[:, photos].T],
            "self_confidence_mean": confidence.mean(axis=0, dtype=np.float64),
            "self_confidence_last": confidence[-1],
            "predicted_last": trial.predicted[-1, photos],
        }
        order = np.lexsort((columns["self_confidence_mean"], -times))
        parts.append(pd.DataFrame(columns).iloc[order])
    return pd.concat(parts, ignore_index=True)


def _notes(sweep: Sweep, rule: Rule, baseline: str, comparisons: pd.DataFrame) -> tuple[str, ...]:
    notes = []
    if rule == "oracle":
        notes.append(
            "There are no validation photos to choose the round on (folds.validation), so the rules validation and "
            "validation_mean are not shown, and the tables show the oracle's rounds. The oracle chooses on the test "
            "photos that it is measured on and is optimistic by an amount that cannot be told."
        )
    if baseline not in begun(sweep):
        notes.append(f"Nothing to compare with: no round of a schedule {baseline!r} is logged.")
    elif (comparisons["folds"] < 2).any():
        notes.append("A comparison on fewer than two folds has no t, p and interval.")
    return tuple(notes)


def _ratio(trial: Trial) -> float:
    return float((trial.split == TEST).sum() / (trial.split == TRAIN).sum())
