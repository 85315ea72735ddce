"""The tables of a page or a paper, and the files that hold them."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rsrl_ray.analysis.numbers.comparisons import ROPE
from rsrl_ray.analysis.numbers.frames import LARGEST_CLASS, Frames, ledger_parts, summarise
from rsrl_ray.analysis.numbers.measures import usable_criteria
from rsrl_ray.analysis.numbers.words import NOTHING, number, signed, spread
from rsrl_ray.analysis.sweep.read import Sweep
from rsrl_ray.analysis.tables.comparison_tables import LARGE, comparisons_table, noise_table
from rsrl_ray.analysis.tables.markup import Table, latex
from rsrl_ray.store.file_names import file_names

CSV = ("rounds", "summary", "folds", "classes", "comparisons", "noise")
PRF = {"precision": "P", "recall": "R", "f1": "F"}
ORDINAL = {
    "quadratic_kappa": "quadratic kappa",
    "mae": "MAE",
    "macro_mae": "macro MAE",
    "spearman": "Spearman's rho",
}
NUMBERS = "%.6g"
SIDE_BY_SIDE = 10  # folds; of more, tables show the quartiles
Row = dict[str, Any]


def write_tables(sweep: Sweep, folder: Path, baseline: str = "none", rope: float = ROPE) -> Frames:
    """Write ``folder/*.csv`` and ``folder/tables/*.tex``; the frames they were written from.

    Raises
    ------
    ValueError
        Where ``baseline`` is no method of the sweep, the rope is below 0, or the folder cannot be written to.
    """
    frames = summarise(sweep, baseline, rope)
    said = "".join(f"% {' '.join(sentence.split())}\n" for sentence in (*sweep.missing, *frames.notes))
    try:
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        for name in CSV if sweep.is_noisy else CSV[:-1]:
            getattr(frames, name).to_csv(folder / f"{name}.csv", index=False, float_format=NUMBERS)
        _write_ledger(sweep, folder / "ledger.csv")
        for table in tables(sweep, frames):
            (folder / "tables" / f"{table.name}.tex").write_text(said + latex(table), encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{folder} cannot be written to: {error}") from error
    return frames


def _write_ledger(sweep: Sweep, file: Path) -> None:
    """A trial at a time: of a large sweep it takes more than memory holds."""
    with file.open("w", encoding="utf-8", newline="") as out:
        for place, part in enumerate(ledger_parts(sweep)):
            part.to_csv(out, index=False, header=place == 0, float_format=NUMBERS)


def tables(sweep: Sweep, frames: Frames) -> list[Table]:
    """In the order of a page: methods, groups, ordinal, criteria, folds, comparisons, noise, every method's classes.

    Comparisons and noise are there where their frames have rows.
    """
    how = (
        "as the best on the test photos themselves (oracle), which is optimistic"
        if frames.criterion == "oracle"
        else "in each fold as the best on its validation photos"
    )
    shown = [_methods(frames, how), _groups(frames, how), _ordinal(frames, how), _criteria(sweep, frames)]
    shown.append((_folds if len(sweep.folds) <= SIDE_BY_SIDE else _quartiles)(sweep, frames))
    if len(frames.comparisons):
        shown.append(comparisons_table(frames.comparisons, frames.rope))
    if (frames.noise["round"] > 1).any():
        shown.append(noise_table(frames.noise))
    files = file_names(sweep.methods)
    return shown + [_classes(frames, method, f"classes_{files[method]}", how) for method in _begun(frames)]


def _methods(frames: Frames, how: str) -> Table:
    shown = _shown(frames)
    has_large = any(not math.isnan(row["macro_f1_50_mean"]) for row in shown)
    large = ["macro F 50+"] if has_large else []
    columns = ("method", "folds", "round", "photos", "macro F", "pooled", *large, "total F", "pooled", "accuracy")
    rows = [
        (
            row["method"],
            str(row["folds"]),
            _rounds(row["rounds"]),
            _mean(row, "train_size", 0),
            _mean(row, "macro_f1"),
            number(row["macro_f1_pooled"]),
            *(_mean(row, "macro_f1_50") for _ in large),
            _mean(row, "total_f1"),
            number(row["total_f1_pooled"]),
            _mean(row, "accuracy"),
        )
        for row in shown
    ]
    many = f" (of more than {SIDE_BY_SIDE} folds the median and quartiles)" if _are_many(shown) else ""
    caption = (
        f"Performance on the test photos, mean ± standard deviation over the folds. round: chosen {how}{many}; photos: "
        "those that the chosen networks were trained on; pooled: F from confusion matrices summed over the folds."
        f"{' ' + LARGE if has_large else ''}{_not_comparable(frames)}"
    )
    return Table("methods", caption, columns, tuple(rows), lines=(1,))


def _not_comparable(frames: Frames) -> str:
    begun = [method for method in _begun(frames) if method in frames.incomplete]
    return f" Rounds or folds are lacking, so that means cannot be compared: {', '.join(begun)}." if begun else ""


def _are_many(rows: list[Row]) -> bool:
    return any(row["folds"] > SIDE_BY_SIDE for row in rows)


def _rounds(listed: str) -> str:
    """The chosen rounds, ``3, 14, 7``; of many folds, their median and quartiles, ``12 (9 to 15)``."""
    numbers = [int(number) for number in listed.split(", ")] if listed else []
    if len(numbers) <= SIDE_BY_SIDE:
        return listed or NOTHING
    low, middle, high = np.quantile(numbers, (0.25, 0.5, 0.75), method="nearest")
    return f"{middle} ({low} to {high})"


def _groups(frames: Frames, how: str) -> Table:
    groups = [(group, name) for group in ("minority", "majority") for name in PRF]
    columns = ("method", *(f"{group} {PRF[name]}" for group, name in groups))
    rows = [(row["method"], *(_mean(row, f"{group}_{name}") for group, name in groups)) for row in _shown(frames)]
    caption = (
        "Precision P, recall R and F-measure F on the test photos, averaged over the minority and over the majority "
        f"classes (those that are revised), mean ± standard deviation over the folds. The round is chosen {how}."
    )
    return Table("groups", caption, columns, tuple(rows), lines=(1,))


def _ordinal(frames: Frames, how: str) -> Table:
    rows = [(row["method"], *(_mean(row, name) for name in ORDINAL)) for row in _shown(frames)]
    caption = (
        "How near the assigned scores are to those of the test photos: Cohen's kappa with quadratic weights (1: all "
        "right, 0: as by chance), mean absolute error over the photos (MAE) and over the classes (macro MAE), both in "
        "units of the score and best low, Spearman's rank correlation; mean ± standard deviation over the folds. The "
        f"round is chosen {how}."
    )
    return Table("ordinal", caption, ("method", *ORDINAL.values()), tuple(rows), lines=(1,))


def _criteria(sweep: Sweep, frames: Frames) -> Table:
    criteria = usable_criteria(sweep)
    summary = {(row["method"], row["criterion"]): row for row in _records(frames.summary)}
    rows = [(LARGEST_CLASS, *[_mean(summary[LARGEST_CLASS, ""], "macro_f1")] * len(criteria), NOTHING)]
    for method in _begun(frames):
        cells = (_mean(summary[method, criterion], "macro_f1") for criterion in criteria)
        rows.append((method, *cells, signed(summary[method, "oracle"]["optimism"])))
    caption = (
        "Macro F on the test photos, mean ± standard deviation over the folds, by the criterion that chooses the "
        "round. Optimism: what choosing on the test photos (oracle) seems to gain over choosing on validation photos."
    )
    columns = ("method", *(criterion.replace("_", " ") for criterion in criteria), "optimism")
    return Table("criteria", caption, columns, tuple(rows), lines=(1,))


def _folds(sweep: Sweep, frames: Frames) -> Table:
    found = {(row["method"], row["criterion"], row["fold"]): row for row in _records(frames.folds)}
    shown = [(LARGEST_CLASS, ""), *((method, frames.criterion) for method in _begun(frames))]
    rows = []
    for method, criterion in shown:
        cells = []
        for fold in sweep.folds:
            row = found.get((method, criterion, fold))
            chosen = "" if row is None or pd.isna(row["round"]) else f" ({row['round']})"
            cells.append(NOTHING if row is None else number(row["macro_f1"]) + chosen)
        rows.append((method, *cells))
    caption = (
        "Macro F on the test photos of every fold, and in brackets the round, chosen by the criterion "
        f"{frames.criterion}."
    )
    return Table("folds", caption, ("method", *(f"fold {fold}" for fold in sweep.folds)), tuple(rows), lines=(1,))


def _quartiles(sweep: Sweep, frames: Frames) -> Table:
    shown = frames.folds[frames.folds["criterion"].isin(["", frames.criterion])]
    rows = []
    for (method, _), part in shown.groupby(["method", "criterion"], sort=False):
        values = np.quantile(part["macro_f1"], (0, 0.25, 0.5, 0.75, 1))
        rows.append((str(method), *(number(float(value)) for value in values)))
    caption = (
        f"Macro F on the test photos over the {len(sweep.folds)} folds, rounds chosen by the criterion "
        f"{frames.criterion}. Each fold's value and round are in folds.csv."
    )
    columns = ("method", "lowest", "lower quartile", "median", "upper quartile", "highest")
    return Table("folds", caption, columns, tuple(rows), lines=(1,))


def _classes(frames: Frames, method: str, name: str, how: str) -> Table:
    """The classes of a method, network 1 beside the chosen one."""
    part = frames.classes[frames.classes["method"] == method]
    sides = [_records(part[part["network"] == network]) for network in ("first", "chosen")]
    rows = []
    for first, chosen in zip(*sides, strict=True):
        label = f"{first['group']} mean" if pd.isna(first["score"]) else str(first["score"])
        cells = (_mean(row, measure) for row in (first, chosen) for measure in PRF)
        rows.append((label, f"{first['support']:,}", *cells))
    caption = (
        f"Method {method}: precision P, recall R and F-measure F on the test photos of each score, mean ± standard "
        "deviation over the folds that have such photos, of network 1 and of the chosen network. The round is chosen "
        f"{how}."
    )
    heads = (f"{short}, {network}" for network in ("network 1", "chosen") for short in PRF.values())
    columns = ("score", "photos", *heads)
    return Table(name, caption, columns, tuple(rows), lines=(len(rows) - 2,), method=method)


def _shown(frames: Frames) -> list[Row]:
    """The summary's rows of the criterion that the tables show, after the largest class's."""
    return _records(frames.summary[frames.summary["criterion"].isin(["", frames.criterion])])


def _begun(frames: Frames) -> list[str]:
    return list(frames.classes["method"].unique())


def _records(frame: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _mean(row: Row, name: str, digits: int = 3) -> str:
    """``0.250 ± 0.071``; the mean alone where there is one fold."""
    return spread(row[f"{name}_mean"], row[f"{name}_sd"], digits)
