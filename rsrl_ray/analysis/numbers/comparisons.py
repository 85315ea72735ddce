"""Every method against a baseline, fold by fold: after as many rounds, and after as many photos."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rsrl_ray.analysis.numbers.measures import FrameRow, choose, large, measure_round
from rsrl_ray.analysis.sweep.arrays import TEST_PHOTO, TRAINING_PHOTO, Sweep, TrialRounds
from rsrl_ray.core import statistics
from rsrl_ray.core.compared import COMPARED, LEADING
from rsrl_ray.core.selection import Criterion
from rsrl_ray.core.trial import TrialKey

ROPE = 0.01
NOISE_ALONE = 0.5  # of `telling`: noise has about 1 / 2.9, since a difference that can be shown is 2.9 of its errors
SLACK = 0.02  # numbers of photos seen that differ by less are equal: with `training.steps: all` last batches differ
AT_ROUNDS, AT_PHOTOS = EQUAL = ("equal rounds", "equal photos seen")
_COMPARISON_COLUMNS = (
    *("method", "against", "criterion", "at", "measure", "folds", "difference", "sd", "ratio", "t", "df", "p"),
    *("p_holm", "low", "high", "worse", "equivalent", "better", "detectable", "detectable_difference"),
)
CONCLUSIONS = ("t", "p", "low", "high", "worse", "equivalent", "better", "detectable", "detectable_difference")


@dataclass(frozen=True)
class Terms:
    """What is asked for: every method against ``baseline``, by the rounds that ``criterion`` chooses.

    rope : differences in macro F up to it count as no difference; other measures see
    `rsrl_ray.core.compared.Measure.half_width`.
    """

    criterion: Criterion
    baseline: str = "none"
    rope: float = ROPE

    def __post_init__(self) -> None:
        if not self.rope >= 0:
            raise ValueError(f"rope {self.rope:g}: give 0 or more, in units of the measure")


@dataclass(frozen=True)
class Region:
    """The region of practical equivalence. rope : its half-width, in units of the measure.

    is_error : of the measure: the lower, the better, so that ``better`` is below the region.
    """

    rope: float
    is_error: bool = False


@dataclass(frozen=True)
class _PairedTrials:
    """A method's trial and the baseline's in one fold, and how many rounds of each are compared."""

    trials: tuple[TrialRounds, TrialRounds]
    rounds: tuple[int, int]


def compare(sweep: Sweep, asked: Terms) -> pd.DataFrame:
    """The frame ``comparisons`` of `rsrl_ray.analysis.numbers.frames.Frames`, without rows if there is no baseline.

    Both sides of a pair have the same chances: in each fold they are cut to the rounds that both have. If a method or
    the baseline lacks rounds or folds, the method has differences, but no interval, p or probabilities.
    At equal photos seen, the trial that has trained on more photos is cut before its round is chosen: to the rounds in
    which it had seen no more photos than the other at its end. If no trial is cut, there are no such rows.
    """
    measures = [name for name in COMPARED if name != "macro_f1_50" or large(sweep).any()]
    equal = EQUAL if is_unequal(sweep, asked.baseline) else EQUAL[:1]
    rows = [row for at in equal for row in _rows(sweep, asked, at, measures)]
    return pd.DataFrame(rows, columns=list(_COMPARISON_COLUMNS))


def compare_by(sweep: Sweep, asked: Terms, measure: str) -> list[FrameRow]:
    """The rows of `compare` for one measure, after as many rounds."""
    return _rows(sweep, asked, AT_ROUNDS, [measure])


def conclude(
    differences: Mapping[Any, "pd.Series[float]"],
    ratios: Mapping[Any, float],
    region: Region,
    unsure: Collection[str] = (),
) -> list[FrameRow]:
    """What is concluded about one measure: a row for every method; ``p_holm`` is adjusted over all of them.

    differences : by method, its value less the baseline's in each fold. ratios : see `rsrl_ray.core.statistics`.
    unsure : the methods about which nothing is concluded.
    """
    rows: list[FrameRow] = []
    for method, column in differences.items():
        row = {"method": method} | statistics.concluded(
            np.asarray(column, np.float64), ratios[method], region.rope, region.is_error
        )
        rows.append(row | dict.fromkeys(CONCLUSIONS, math.nan) if method in unsure else row)
    adjusted = statistics.holm([row["p"] for row in rows])
    return [row | {"p_holm": float(p)} for row, p in zip(rows, adjusted, strict=True)]


def in_measure(comparisons: pd.DataFrame, measure: str, at: str = AT_ROUNDS) -> pd.DataFrame:
    """The rows that compare by one measure: after as many rounds, or after as many photos."""
    return comparisons[(comparisons["measure"] == measure) & (comparisons["at"] == at)]


def is_unequal(sweep: Sweep, baseline: str) -> bool:
    """Whether some trial has trained on more photos than the other of its pair, so that it is cut at equal photos."""
    pairs = [pair for method in sweep.begun for pair in _pairs(sweep, method, baseline, AT_PHOTOS)]
    return any(end < min(len(trial.metrics) for trial in pair.trials) for pair in pairs for end in pair.rounds)


def detectable_note(comparisons: pd.DataFrame, measure: str = "macro_f1") -> str:
    """What difference in a measure so many folds can show; "" if nothing is known about it."""
    shown = in_measure(comparisons, measure)
    shown = shown[shown["detectable"].notna()].sort_values("folds", ascending=False)
    if shown.empty:
        return ""
    folds, sd = shown["folds"].iloc[0], shown["detectable"].iloc[0]
    least, most = f"{shown['detectable_difference'].min():.3f}", f"{shown['detectable_difference'].max():.3f}"
    units = least if least == most else f"{least} to {most}, from method to method"
    return (
        f"{folds} folds can show a difference of {sd:.1f} sd (standard deviation of the differences, fold by fold; in "
        f"{COMPARED[measure].words} {units}); a smaller difference may be there, although it is not shown."
    )


def telling(comparisons: pd.DataFrame) -> dict[str, float]:
    """How much the folds can tell about each of `LEADING`, see `telling_note`; without those that are not known.

    The spread of the methods over the smallest difference that can be shown: the standard deviation (ddof 1) of the
    mean differences, with the 0 of the baseline itself, over the median of ``detectable_difference``. It has no unit.
    Noise alone gives all measures about the same ratio, because both parts grow with it.
    """
    found: dict[str, float] = {}
    for measure in LEADING:
        rows = in_measure(comparisons, measure)
        rows = rows[rows["detectable_difference"] > 0]
        if len(rows):
            spread = statistics.sd(np.array([0.0, *rows["difference"]]))
            found[measure] = spread / float(rows["detectable_difference"].median())
    return found


def telling_note(comparisons: pd.DataFrame) -> str:
    """Which measure the folds can tell most about, or that it is little of any.

    It is "" if it is not known, or two are level (to two digits).
    """
    ratios = {measure: round(ratio, 2) for measure, ratio in telling(comparisons).items()}
    found = sorted(ratios.items(), key=lambda one: -one[1])
    if len(found) < 2 or found[0][1] == found[1][1]:
        return ""
    (best, most), *others = found
    rest = ", ".join(f"{COMPARED[name].words} {ratio:.2f}" for name, ratio in others)
    what = f"most about {COMPARED[best].words}" if most >= NOISE_ALONE else "little about any measure"
    return (
        f"These folds can tell {what}: the spread of the methods (standard deviation of their mean differences, with 0 "
        f"for {comparisons['against'].iloc[0]}) in {COMPARED[best].words} is {most:.2f} of the smallest difference "
        f"that can be shown (median of the methods); {rest}."
    )


def _rows(sweep: Sweep, asked: Terms, at: str, measures: Sequence[str]) -> list[FrameRow]:
    """The rows of `compare` for some measures, after as many rounds or after as many photos seen."""
    has_baseline = asked.baseline in sweep.begun
    others = [method for method in sweep.begun if has_baseline and method != asked.baseline]
    lacking = sweep.incomplete
    unsure = others if asked.baseline in lacking else lacking
    found = {method: list(_pairs(sweep, method, asked.baseline, at)) for method in others}
    values = {method: _differences(sweep, pairs, asked.criterion) for method, pairs in found.items()}
    ratios = {method: statistics.mean(np.array([*map(_ratio, pairs)])) for method, pairs in found.items()}
    head = {"against": asked.baseline, "criterion": asked.criterion, "at": at}
    rows: list[FrameRow] = []
    for name in measures:
        by_fold = {method: part[name].dropna() for method, part in values.items()}
        region = Region(COMPARED[name].half_width(asked.rope, sweep.classes), COMPARED[name].is_error)
        rows += [head | {"measure": name} | row for row in conclude(by_fold, ratios, region, unsure)]
    return rows


def _pairs(sweep: Sweep, method: str, baseline: str, at: str) -> Iterator[_PairedTrials]:
    """The pairs of the folds in which both methods have a round."""
    for fold in sweep.folds:
        trials = [sweep.trials.get(TrialKey(fold, name)) for name in (method, baseline)]
        first, second = trials
        if first is None or second is None:
            continue
        both = min(len(first.metrics), len(second.metrics))
        seen = [trial.photos_seen[:both] for trial in (first, second)]
        limit = math.inf if at == AT_ROUNDS else min(photos[-1] for photos in seen) * (1 + SLACK)
        ends = [max(1, int((photos <= limit).sum())) for photos in seen]
        yield _PairedTrials((first, second), (ends[0], ends[1]))


def _differences(sweep: Sweep, pairs: list[_PairedTrials], criterion: Criterion) -> pd.DataFrame:
    """The method's value less the baseline's: a row for every fold, a column for every measure."""
    measured = []
    for side in (0, 1):
        trials, ends = [pair.trials[side] for pair in pairs], [pair.rounds[side] for pair in pairs]
        numbers = choose(trials, criterion, {trial.key: end for trial, end in zip(trials, ends, strict=True)})
        values = [measure_round(sweep, trial, numbers[trial.key]) for trial in trials]
        measured.append(pd.DataFrame(values, columns=list(COMPARED)))
    return measured[0] - measured[1]


def _ratio(pair: _PairedTrials) -> float:
    """Photos tested over photos trained on."""
    split = pair.trials[0].split
    return float((split == TEST_PHOTO).sum() / (split == TRAINING_PHOTO).sum())
