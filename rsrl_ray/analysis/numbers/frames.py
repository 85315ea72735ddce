"""The analysis as data frames, one for each CSV file."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray.analysis.numbers.classes import class_rows
from rsrl_ray.analysis.numbers.comparisons import PHOTOS, ROPE, Asked, compare, detectable_note, is_unequal
from rsrl_ray.analysis.numbers.measures import (
    SCORES,
    TRAIN,
    begun,
    chosen_rounds,
    confusion,
    default_criterion,
    incomplete,
    largest_class_confusion,
    majority,
    measure,
    spread,
    trials_of,
    usable_criteria,
    whole_majority,
)
from rsrl_ray.analysis.numbers.wrong_labels import noise_rows
from rsrl_ray.analysis.sweep.read import Sweep, Trial
from rsrl_ray.core.selection import Criterion
from rsrl_ray.core.trial import TrialKey

LARGEST_CLASS = "always the largest class"
PER_CENT = np.array([str(share) for share in range(101)], dtype=object)
Row = dict[str, Any]
Confusion = NDArray[np.int64]


@dataclass(frozen=True)
class Frames:
    """What is known of a sweep; missing values are nan (or <NA> in whole-number columns).

    rounds : fold, method, round, and every metric that MLflow holds.
    folds : method, criterion, fold, status, rounds (how many are logged), round (the chosen one), train_size, `SCORES`.
    summary : method, criterion, folds (how many), rounds (the chosen ones, by fold), then mean, sd (ddof 1) over the
        folds of train_size, round and each of `SCORES`; of `SCORES` also the value ``_pooled`` from confusion matrices
        summed over the folds. ``optimism``, in the rows of the oracle: its mean macro F less that of ``validation``.
    classes : method, network (first | chosen, by ``criterion``), group (minority | majority), score, folds (those that
        have test photos of it), support (their sum), and mean, sd and pooled precision, recall and f1. Rows without
        a score are a group's means.
    comparisons : of what both sides have, fold by fold: method, against, criterion, at (equal rounds | equal photos
        seen), measure, folds (paired), difference, sd, ratio (n_test / n_train), t, df, p, p_holm (over the methods,
        for each measure by itself), low and high (95 % interval), worse, equivalent, better (probabilities), detectable
        (what difference so many folds can show, in sd) and detectable_difference (likewise, in units of the measure).
        What is concluded is nan where a side lacks rounds or folds.
    noise : what was dropped against what is wrong, see `rsrl_ray.analysis.numbers.wrong_labels.noise_rows`.

    criterion : that of classes and comparisons, and of tables that show one. rope : of the comparisons.
    notes : sentences that belong to them. incomplete : methods that lack rounds or folds.
    In folds and summary the first rows, criterion "", are `LARGEST_CLASS`.
    """

    rounds: pd.DataFrame
    summary: pd.DataFrame
    folds: pd.DataFrame
    classes: pd.DataFrame
    comparisons: pd.DataFrame
    noise: pd.DataFrame
    criterion: Criterion
    rope: float
    notes: tuple[str, ...]
    incomplete: tuple[str, ...] = ()


def summarise(sweep: Sweep, baseline: str = "none", rope: float = ROPE) -> Frames:
    """Choose rounds by every criterion and measure them; compare every method with ``baseline``.

    rope : in the comparisons, differences up to it, in units of the measure, are taken for none.

    Raises
    ------
    ValueError
        Where another baseline than the default is given that the sweep has no method of, or the rope is below 0.
    """
    if baseline not in sweep.methods and baseline != "none":
        raise ValueError(f"no method {baseline!r} to compare with; there are {', '.join(sweep.methods)}")
    criterion = default_criterion(sweep)
    folds, pooled = _folds(sweep)
    comparisons = compare(sweep, Asked(criterion, baseline, rope))
    return Frames(
        rounds=_rounds(sweep),
        summary=_summary(folds, pooled),
        folds=folds,
        classes=class_rows(sweep, criterion),
        comparisons=comparisons,
        noise=noise_rows(sweep),
        criterion=criterion,
        rope=rope,
        notes=_notes(sweep, criterion, baseline, comparisons),
        incomplete=incomplete(sweep),
    )


def _rounds(sweep: Sweep) -> pd.DataFrame:
    parts = [trial.metrics.reset_index() for trial in sweep.trials.values()]
    for part, trial in zip(parts, sweep.trials.values(), strict=True):
        part.insert(0, "method", trial.method)
        part.insert(0, "fold", trial.fold)
    return pd.concat(parts, ignore_index=True)


def _folds(sweep: Sweep) -> tuple[pd.DataFrame, dict[tuple[str, str], Row]]:
    """The folds frame; and by method and criterion, the scores from the summed confusion matrices."""
    rows: list[Row] = []
    pooled: dict[tuple[str, str], Row] = {}
    everywhere = whole_majority(sweep)

    def add(method: str, criterion: str, counts: Mapping[int, tuple[Row, Confusion, Trial]]) -> None:
        for fold, (row, matrix, trial) in counts.items():
            values = measure(sweep, matrix, majority(sweep, trial))
            rows.append({"method": method, "criterion": criterion, "fold": fold, **row, **values})
        total = np.sum([matrix for _, matrix, _ in counts.values()], axis=0)
        pooled[method, criterion] = measure(sweep, total, everywhere)

    first = {trial.fold: trial for trial in reversed(sweep.trials.values())}
    blank = {"status": "", "rounds": None, "round": None, "train_size": math.nan}
    add(LARGEST_CLASS, "", {fold: (blank, largest_class_confusion(sweep, first[fold]), first[fold])
                            for fold in sweep.folds if fold in first})  # fmt: skip
    for method in begun(sweep):
        for criterion in usable_criteria(sweep):
            counts = {}
            for fold, number in chosen_rounds(sweep, method, criterion).items():
                trial = sweep.trials[TrialKey(fold, method)]
                size = int(trial.kept[number - 1].sum())
                row = {"status": trial.status, "rounds": len(trial.metrics), "round": number, "train_size": size}
                counts[fold] = (row, confusion(sweep, trial, number), trial)
            add(method, criterion, counts)
    return pd.DataFrame(rows).astype({"rounds": "Int64", "round": "Int64"}), pooled


def _summary(folds: pd.DataFrame, pooled: Mapping[tuple[str, str], Row]) -> pd.DataFrame:
    rows = []
    for (method, criterion), part in folds.groupby(["method", "criterion"], sort=False):
        row: Row = {"method": method, "criterion": criterion, "folds": len(part)}
        row["rounds"] = ", ".join(str(number) for number in part["round"].dropna())
        for name in ("round", "train_size", *SCORES):
            row |= spread(name, part[name])
            if name in SCORES:
                row[f"{name}_pooled"] = pooled[str(method), str(criterion)][name]
        rows.append(row)
    frame = pd.DataFrame(rows)
    oracle = frame["criterion"] == "oracle"
    validation = frame[frame["criterion"] == "validation"].set_index("method")["macro_f1_mean"]
    frame["optimism"] = frame["macro_f1_mean"].where(oracle) - frame["method"].map(validation)
    return frame


def ledger_parts(sweep: Sweep) -> Iterator[pd.DataFrame]:
    """The photos that were dropped at least once, a frame a trial, those dropped most often first.

    method, fold, image, score, rounds, dropped (in how many rounds), returned (how often), history (by round, k kept, d
    dropped), mean and last self_confidence, last predicted score, self_confidence_history (by round, per cent),
    train_folds (how many of the method's folds train on the photo, also those that never dropped it). Where labels are
    wrong on purpose, also true_score.
    """
    images = np.array(sweep.images, dtype=object)
    for method in begun(sweep):
        trials = trials_of(sweep, method)
        train_folds = np.sum([trial.split == TRAIN for trial in trials], axis=0)
        for trial in trials:
            yield _ledger(sweep, trial, images, train_folds)


def _ledger(sweep: Sweep, trial: Trial, images: NDArray[np.object_], train_folds: NDArray[np.int64]) -> pd.DataFrame:
    dropped = ~trial.kept[:] & (trial.split == TRAIN)
    photos = np.flatnonzero(dropped.any(axis=0))
    times, confidence = dropped[:, photos].sum(axis=0), trial.self_confidence[:, photos]
    columns = {
        "method": trial.method,
        "fold": trial.fold,
        "image": images[photos],
        "score": trial.scores[photos],
        "rounds": len(dropped),
        "dropped": times,
        "returned": (dropped[:-1, photos] & ~dropped[1:, photos]).sum(axis=0),
        "history": ["".join("d" if out else "k" for out in column) for column in dropped[:, photos].T],
        "self_confidence_mean": confidence.mean(axis=0, dtype=np.float64),
        "self_confidence_last": confidence[-1],
        "predicted_last": trial.predicted[-1, photos].astype(np.int64),
        "self_confidence_history": [" ".join(row) for row in PER_CENT[np.rint(100 * confidence.T).astype(int)]],
        "train_folds": train_folds[photos],
    }
    if sweep.is_noisy:
        columns["true_score"] = sweep.scores[photos]
    order = np.lexsort((columns["self_confidence_mean"], -times))
    return pd.DataFrame(columns).iloc[order]


def _notes(sweep: Sweep, criterion: Criterion, baseline: str, comparisons: pd.DataFrame) -> tuple[str, ...]:
    notes = []
    if criterion == "oracle":
        notes.append(
            "There are no validation photos to choose the round on (folds.validation), so the criteria validation and "
            "validation_mean are not shown, and the tables show the oracle's rounds. The oracle chooses on the test "
            "photos that it is measured on and is optimistic by an amount that cannot be told."
        )
    if baseline not in begun(sweep):
        notes.append(f"Nothing to compare with: no round of a method {baseline!r} is logged.")
    elif baseline in incomplete(sweep):
        notes.append(f"No verdict on any method: {baseline}, which they are compared with, lacks rounds or folds.")
    elif (comparisons["folds"] < 2).any():
        notes.append("A comparison on fewer than two folds has no t, p and interval.")
    if others := [name for name in begun(sweep) if name in incomplete(sweep)]:
        verb = "lacks" if len(others) == 1 else "lack"
        notes.append(f"{', '.join(others)} {verb} rounds or folds: no verdict, and no mean to compare with others.")
    if note := detectable_note(comparisons):
        notes.append(note)
    if len(comparisons) and not is_unequal(sweep, baseline):
        notes.append(f"No method has trained on fewer photos than another, so there is no comparison at {PHOTOS}.")
    return tuple(notes)
