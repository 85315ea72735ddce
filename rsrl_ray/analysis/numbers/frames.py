"""The analysis as data frames: one for each CSV file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rsrl_ray.analysis.numbers.cautions import cautions
from rsrl_ray.analysis.numbers.classes import class_rows
from rsrl_ray.analysis.numbers.comparisons import (
    AT_PHOTOS,
    ROPE,
    Terms,
    compare,
    detectable_note,
    is_unequal,
    telling_note,
)
from rsrl_ray.analysis.numbers.measures import (
    SCORES,
    FrameRow,
    choose,
    confusion,
    largest_class_confusion,
    majority,
    mean_and_sd,
    measure,
)
from rsrl_ray.analysis.numbers.solved import compare_with_solved
from rsrl_ray.analysis.numbers.wrong_labels import noise_rows
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.core.compared import COMPARED, Leading, Measure
from rsrl_ray.core.selection import Criterion
from rsrl_ray.core.trial import TrialKey

LARGEST_CLASS = "always the largest class"


@dataclass(frozen=True)
class Frames:
    """What is known about a sweep; missing values are nan (or <NA> in columns of whole numbers).

    rounds : fold, method, round, and every metric that MLflow holds.
    folds : method, criterion, fold, status, rounds (how many are logged), round (the chosen one), train_size, `SCORES`.
    summary : method, criterion, folds (how many), rounds (the chosen ones, by fold), then mean and sd (ddof 1) over the
        folds of train_size, round and each of `SCORES`; of `SCORES` also ``_pooled``, the value from confusion matrices
        summed over the folds. ``optimism``, in the rows of the oracle: its mean macro F less that of ``validation``.
    classes : method, network (first | chosen, by ``criterion``), group (minority | majority), score, folds (those that
        have test photos of it), support (their sum), and mean, sd and pooled precision, recall and f1. Rows without
        a score are a group's means.
    comparisons : fold by fold, of the rounds that both sides have: method, against, criterion, at (equal rounds | equal
        photos seen), measure, folds (pairs), difference, sd, ratio (n_test / n_train), t, df, p, p_holm (over the
        methods, each measure by itself), low and high (95 % interval), worse, equivalent, better (probabilities),
        detectable (the difference that so many folds can show, in sd) and detectable_difference (the same in units of
        the measure). Of MAE a difference below 0 is better, and ``better`` counts it so.
        What is concluded is nan if a side lacks rounds or folds.
    noise : what was dropped against what is wrong, see `rsrl_ray.analysis.numbers.wrong_labels.noise_rows`.

    criterion : that of classes, of comparisons and of tables that show only one. rope : that of the comparisons.
    notes : sentences that a reader of the frames should know. incomplete : methods that lack rounds or folds.
    measure : by which methods are compared first. half_width : its rope, in its units.
    solved : of `rsrl_ray.analysis.numbers.solved.compare_with_solved`.
    In folds and summary the first rows, with criterion "", are those of `LARGEST_CLASS`.
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
    measure: Leading = "macro_f1"
    half_width: float = ROPE
    solved: FrameRow | None = None

    @property
    def leading(self) -> Measure:
        """The measure by which methods are compared first, in words."""
        return COMPARED[self.measure]

    def shown(self) -> list[FrameRow]:
        """The summary's rows of the criterion that tables show; those of the largest class come first."""
        return records(self.summary[self.summary["criterion"].isin(["", self.criterion])])

    def begun(self) -> list[str]:
        """The methods with a logged round."""
        return list(self.classes["method"].unique())


def records(frame: pd.DataFrame) -> list[FrameRow]:
    """The frame's rows."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def summarise(sweep: Sweep, baseline: str = "none", rope: float = ROPE) -> Frames:
    """Choose rounds by every criterion and measure them; compare every method with ``baseline``.

    rope : in the comparisons, differences up to it, in units of the measure, count as no difference.

    Raises
    ------
    ValueError
        If the sweep has no method of the name ``baseline``, unless it is the default; or if the rope is below 0.
    """
    if baseline not in sweep.methods and baseline != "none":
        raise ValueError(f"no method {baseline!r} to compare with; there are {', '.join(sweep.methods)}")
    folds, pooled = _folds(sweep)
    asked, summary = Terms(sweep.criterion, baseline, rope), _summary(folds, pooled)
    comparisons = compare(sweep, asked)
    shown = summary[summary["criterion"] == sweep.criterion].set_index("method")
    means = dict(shown[f"{sweep.measure}_mean"])
    return Frames(
        rounds=_rounds(sweep),
        summary=summary,
        folds=folds,
        classes=class_rows(sweep, sweep.criterion),
        comparisons=comparisons,
        noise=noise_rows(sweep),
        criterion=sweep.criterion,
        rope=rope,
        notes=_notes(sweep, baseline, comparisons),
        incomplete=sweep.incomplete,
        measure=sweep.measure,
        half_width=COMPARED[sweep.measure].half_width(rope, sweep.classes),
        solved=None if baseline in sweep.solved else compare_with_solved(sweep, asked, means),
    )


def _rounds(sweep: Sweep) -> pd.DataFrame:
    parts = {(trial.fold, trial.method): trial.metrics for trial in sweep.trials.values()}
    return pd.concat(parts, names=["fold", "method", "round"]).reset_index()


def _folds(sweep: Sweep) -> tuple[pd.DataFrame, dict[tuple[str, str], FrameRow]]:
    """The frame ``folds``; and the scores of the summed confusion matrices, by method and criterion."""
    rows: list[FrameRow] = []
    pooled: dict[tuple[str, str], FrameRow] = {}
    everywhere = majority(sweep)
    for head, chosen in _tested(sweep).items():
        matrices = []
        for key, number in chosen.items():
            trial = sweep.trials[key]
            row: FrameRow = {"method": head[0], "criterion": head[1], "fold": key.fold}
            if number is None:
                matrices.append(largest_class_confusion(sweep, trial))
                row |= {"status": "", "rounds": None, "round": None, "train_size": math.nan}
            else:
                matrices.append(confusion(sweep, trial, number))
                size = int(trial.kept[number - 1].sum())
                row |= {"status": trial.status, "rounds": len(trial.metrics), "round": number, "train_size": size}
            rows.append(row | measure(sweep, matrices[-1], majority(sweep, trial)))
        pooled[head] = measure(sweep, np.sum(matrices, axis=0), everywhere)
    return pd.DataFrame(rows).astype({"rounds": "Int64", "round": "Int64"}), pooled


def _tested(sweep: Sweep) -> dict[tuple[str, str], Mapping[TrialKey, int | None]]:
    """The chosen round of every fold, by method and criterion; first the largest class, which has no round (None)."""
    first = {key.fold: key for key in reversed(sweep.trials)}
    found: dict[tuple[str, str], Mapping[TrialKey, int | None]] = {
        (LARGEST_CLASS, ""): {first[fold]: None for fold in sweep.folds if fold in first}
    }
    for method in sweep.begun:
        for criterion in sweep.criteria:
            found[method, criterion] = choose(sweep.trials_of(method), criterion)
    return found


def _summary(folds: pd.DataFrame, pooled: Mapping[tuple[str, str], FrameRow]) -> pd.DataFrame:
    rows = []
    for (method, criterion), part in folds.groupby(["method", "criterion"], sort=False):
        row: FrameRow = {"method": method, "criterion": criterion, "folds": len(part)}
        row["rounds"] = ", ".join(str(number) for number in part["round"].dropna())
        for name in ("round", "train_size", *SCORES):
            row |= mean_and_sd(name, part[name])
            if name in SCORES:
                row[f"{name}_pooled"] = pooled[str(method), str(criterion)][name]
        rows.append(row)
    frame = pd.DataFrame(rows)
    oracle = frame["criterion"] == "oracle"
    validation = frame[frame["criterion"] == "validation"].set_index("method")["macro_f1_mean"]
    frame["optimism"] = frame["macro_f1_mean"].where(oracle) - frame["method"].map(validation)
    return frame


def _notes(sweep: Sweep, baseline: str, comparisons: pd.DataFrame) -> tuple[str, ...]:
    notes = []
    if sweep.criterion == "oracle":
        notes.append(
            "There are no validation photos to choose the round on (folds.validation), so the criteria validation and "
            "validation_mean are not shown, and the tables show the oracle's rounds. The oracle chooses on the test "
            "photos that it is measured on, so it is optimistic, and it is not known by how much."
        )
    if baseline not in sweep.begun:
        notes.append(f"Nothing to compare with: no round of a method {baseline!r} is logged.")
    elif baseline in sweep.incomplete:
        notes.append(f"No verdict on any method: {baseline}, which they are compared with, lacks rounds or folds.")
    elif (comparisons["folds"] < 2).any():
        notes.append("A comparison on fewer than two folds has no t, p and interval.")
    if others := [name for name in sweep.begun if name in sweep.incomplete]:
        verb = "lacks" if len(others) == 1 else "lack"
        notes.append(f"{', '.join(others)} {verb} rounds or folds: no verdict, and no mean to compare with others.")
    notes += cautions(sweep)
    said = detectable_note(comparisons, sweep.measure), telling_note(comparisons)
    notes += [note for note in said if note]
    if len(comparisons) and not is_unequal(sweep, baseline):
        notes.append(f"No method has trained on fewer photos than another, so there is no comparison at {AT_PHOTOS}.")
    return tuple(notes)
