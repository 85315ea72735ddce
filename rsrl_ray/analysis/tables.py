"""The tables of a page or a paper, and the files that hold them."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from rsrl_ray.analysis.data import Sweep
from rsrl_ray.analysis.file_names import file_names
from rsrl_ray.analysis.markup import Table, latex
from rsrl_ray.analysis.measures import usable_rules
from rsrl_ray.analysis.numbers import NOTHING, number, p_value, signed, spread
from rsrl_ray.analysis.summary import LARGEST_CLASS, Frames, summarise

CSV = ("rounds", "summary", "folds", "classes", "comparisons", "ledger")
PRF = {"precision": "P", "recall": "R", "f1": "F"}
MEASURES = {
    "macro_f1": "macro F",
    "accuracy": "accuracy",
    "minority_f1": "minority F",
    "majority_f1": "majority F",
}
Row = dict[str, Any]


def write_tables(sweep: Sweep, folder: Path, baseline: str = "none") -> Frames:
    """Write ``folder/*.csv`` and ``folder/tables/*.tex``; the frames they were written from.

    Raises
    ------
    ValueError
        Where ``baseline`` is no schedule of the sweep, or the folder cannot be written to.
    """
    frames = summarise(sweep, baseline)
    said = "".join(f"% {' '.join(sentence.split())}\n" for sentence in (*sweep.missing, *frames.notes))
    try:
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        for name in CSV:
            getattr(frames, name).to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
        for table in tables(sweep, frames):
            (folder / "tables" / f"{table.name}.tex").write_text(said + latex(table), encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{folder} cannot be written to: {error}") from error
    return frames


def tables(sweep: Sweep, frames: Frames) -> list[Table]:
    """In the order of a page: schedules, groups, rules, folds, comparisons, and for every schedule its classes."""
    how = (
        "as the best on the test photos themselves (oracle), which is optimistic"
        if frames.rule == "oracle"
        else "in each fold as the best on its validation photos"
    )
    shown = [_schedules(frames, how), _groups(frames, how), _rules(sweep, frames), _folds(sweep, frames)]
    if len(frames.comparisons):
        shown.append(_comparisons(frames))
    files = file_names(sweep.schedules)
    return shown + [_classes(frames, schedule, f"classes_{files[schedule]}", how) for schedule in _begun(frames)]


def _schedules(frames: Frames, how: str) -> Table:
    columns = ("schedule", "folds", "round", "photos", "macro F", "pooled", "total F", "pooled", "accuracy")
    rows = [
        (
            row["schedule"],
            str(row["folds"]),
            row["rounds"] or NOTHING,
            _mean(row, "train_size", 0),
            _mean(row, "macro_f1"),
            number(row["macro_f1_pooled"]),
            _mean(row, "total_f1"),
            number(row["total_f1_pooled"]),
            _mean(row, "accuracy"),
        )
        for row in _shown(frames)
    ]
    caption = (
        f"Performance on the test photos, mean ± standard deviation over the folds. round: chosen {how}; photos: those "
        "that the chosen networks were trained on; pooled: F from confusion matrices summed over the folds."
    )
    return Table("schedules", caption, columns, tuple(rows), lines=(1,))


def _groups(frames: Frames, how: str) -> Table:
    groups = [(group, name) for group in ("minority", "majority") for name in PRF]
    columns = ("schedule", *(f"{group} {PRF[name]}" for group, name in groups))
    rows = [(row["schedule"], *(_mean(row, f"{group}_{name}") for group, name in groups)) for row in _shown(frames)]
    caption = (
        "Precision P, recall R and F-measure F on the test photos, averaged over the minority and over the majority "
        f"classes (those that are revised), mean ± standard deviation over the folds. The round is chosen {how}."
    )
    return Table("groups", caption, columns, tuple(rows), lines=(1,))


def _rules(sweep: Sweep, frames: Frames) -> Table:
    rules = usable_rules(sweep)
    summary = {(row["schedule"], row["rule"]): row for row in _records(frames.summary)}
    rows = [(LARGEST_CLASS, *[_mean(summary[LARGEST_CLASS, ""], "macro_f1")] * len(rules), NOTHING)]
    for schedule in _begun(frames):
        cells = (_mean(summary[schedule, rule], "macro_f1") for rule in rules)
        rows.append((schedule, *cells, signed(summary[schedule, "oracle"]["optimism"])))
    caption = (
        "Macro F on the test photos, mean ± standard deviation over the folds, by the rule that chooses the round. "
        "Optimism: what choosing on the test photos (oracle) seems to gain over choosing on validation photos."
    )
    columns = ("schedule", *(rule.replace("_", " ") for rule in rules), "optimism")
    return Table("rules", caption, columns, tuple(rows), lines=(1,))


def _folds(sweep: Sweep, frames: Frames) -> Table:
    rule = frames.folds["rule"].isin(["", frames.rule])
    found = {(row["schedule"], row["fold"]): row for row in _records(frames.folds[rule])}
    rows = []
    for schedule in (LARGEST_CLASS, *_begun(frames)):
        cells = []
        for fold in sweep.folds:
            row = found.get((schedule, fold))
            chosen = "" if row is None or pd.isna(row["round"]) else f" ({row['round']})"
            cells.append(NOTHING if row is None else number(row["macro_f1"]) + chosen)
        rows.append((schedule, *cells))
    caption = f"Macro F on the test photos of every fold, and in brackets the round, chosen by the rule {frames.rule}."
    return Table("folds", caption, ("schedule", *(f"fold {fold}" for fold in sweep.folds)), tuple(rows), lines=(1,))


def _comparisons(frames: Frames) -> Table:
    records = _records(frames.comparisons)
    rows = [
        (
            row["schedule"],
            MEASURES[row["measure"]],
            signed(row["difference"]),
            NOTHING if math.isnan(row["low"]) else f"{signed(row['low'])} to {signed(row['high'])}",
            number(row["t"], 2),
            p_value(row["p"]),
            p_value(row["p_holm"]),
        )
        for row in records
    ]
    caption = (
        f"Differences to the schedule {records[0]['against']}, fold by fold (rounds chosen by the rule {frames.rule}): "
        "mean, 95 % interval and two-sided p of the corrected resampled t-test (Nadeau and Bengio 2003), and p "
        "adjusted by Holm over the schedules."
    )
    columns = ("schedule", "measure", "difference", "95 % interval", "t", "p", "p (Holm)")
    ends = tuple(number for number in range(1, len(rows)) if rows[number - 1][1] != rows[number][1])
    return Table("comparisons", caption, columns, tuple(rows), text=2, lines=ends)


def _classes(frames: Frames, schedule: str, name: str, how: str) -> Table:
    """The classes of a schedule, network 1 beside the chosen one."""
    part = frames.classes[frames.classes["schedule"] == schedule]
    sides = [_records(part[part["network"] == network]) for network in ("first", "chosen")]
    rows = []
    for first, chosen in zip(*sides, strict=True):
        label = f"{first['group']} mean" if pd.isna(first["score"]) else str(first["score"])
        cells = (_mean(row, measure) for row in (first, chosen) for measure in PRF)
        rows.append((label, f"{first['support']:,}", *cells))
    caption = (
        f"Schedule {schedule}: precision P, recall R and F-measure F on the test photos of each score, mean ± standard "
        "deviation over the folds that have such photos, of network 1 and of the chosen network. The round is chosen "
        f"{how}."
    )
    heads = (f"{short}, {network}" for network in ("network 1", "chosen") for short in PRF.values())
    columns = ("score", "photos", *heads)
    return Table(name, caption, columns, tuple(rows), lines=(len(rows) - 2,), schedule=schedule)


def _shown(frames: Frames) -> list[Row]:
    """The summary's rows of the rule that the tables show, after the largest class's."""
    return _records(frames.summary[frames.summary["rule"].isin(["", frames.rule])])


def _begun(frames: Frames) -> list[str]:
    return list(frames.classes["schedule"].unique())


def _records(frame: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _mean(row: Row, name: str, digits: int = 3) -> str:
    """``0.250 ± 0.071``; the mean alone where there is one fold."""
    return spread(row[f"{name}_mean"], row[f"{name}_sd"], digits)
