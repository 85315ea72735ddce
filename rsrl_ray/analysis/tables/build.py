"""The tables of a page or a paper, and the files that hold them."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rsrl_ray.analysis.numbers.frames import LARGEST_CLASS, Frames, records
from rsrl_ray.analysis.numbers.histories import ledger_parts
from rsrl_ray.analysis.numbers.measures import FrameRow
from rsrl_ray.analysis.numbers.words import NOTHING, number, signed, spread
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.analysis.tables.comparison_tables import LARGE_NOTE, comparisons_table, noise_table
from rsrl_ray.analysis.tables.markup import TextTable, latex
from rsrl_ray.core.compared import remark
from rsrl_ray.store.file_names import file_names

CSV = ("rounds", "summary", "folds", "classes", "comparisons", "noise")
PRF = {"precision": "P", "recall": "R", "f1": "F"}
MEANS = {  # tables of means over the folds: the heading of each measure, and what their caption begins with
    "groups": (
        {f"{group}_{name}": f"{group} {short}" for group in ("minority", "majority") for name, short in PRF.items()},
        "Precision P, recall R and F-measure F on the test photos, averaged over the minority and over the majority "
        "classes (those that are revised),",
    ),
    "ordinal": (
        {"quadratic_kappa": "quadratic kappa", "mae": "MAE", "macro_mae": "macro MAE", "spearman": "Spearman's rho"},
        "How near the assigned scores are to those of the test photos: Cohen's kappa with quadratic weights (1: all "
        "right, 0: as good as chance), mean absolute error over the photos (MAE) and over the classes (macro MAE), "
        "both in units of the score (the lower, the better), Spearman's rank correlation;",
    ),
}
NUMBERS = "%.6g"
SIDE_BY_SIDE = 10  # folds; if there are more, tables show quartiles


def write_tables(sweep: Sweep, frames: Frames, folder: Path) -> list[TextTable]:
    """Write ``folder/*.csv`` and ``folder/tables/*.tex``; returns the tables, see `tables`.

    Raises
    ------
    ValueError
        If the folder cannot be written to.
    """
    made = tables(sweep, frames)
    said = "".join(f"% {' '.join(sentence.split())}\n" for sentence in (*sweep.missing, *frames.notes))
    try:
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        for name in CSV if sweep.is_noisy else CSV[:-1]:
            getattr(frames, name).to_csv(folder / f"{name}.csv", index=False, float_format=NUMBERS)
        _write_ledger(sweep, folder / "ledger.csv")
        for table in made:
            (folder / "tables" / f"{table.name}.tex").write_text(said + latex(table), encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{folder} cannot be written to: {error}") from error
    return made


def _write_ledger(sweep: Sweep, file: Path) -> None:
    """Write one trial at a time, because the ledger of a large sweep does not fit into memory."""
    with file.open("w", encoding="utf-8", newline="") as out:
        for place, part in enumerate(ledger_parts(sweep)):
            part.to_csv(out, index=False, header=place == 0, float_format=NUMBERS)


def tables(sweep: Sweep, frames: Frames) -> list[TextTable]:
    """In the order of a page: methods, groups, ordinal, criteria, folds, comparisons, noise, every method's classes.

    Comparisons and noise are there if their frames have rows.
    """
    how = "in each fold as the best on its validation photos"
    if frames.criterion == "oracle":
        how = "as the best on the test photos themselves (oracle), which is optimistic"
    shown = [_methods(frames, how), *(_means(name, frames, how) for name in MEANS), _criteria(sweep, frames)]
    shown.append(_folds(sweep, frames) if len(sweep.folds) <= SIDE_BY_SIDE else _quartiles(sweep, frames))
    if len(frames.comparisons):
        shown.append(comparisons_table(frames.comparisons, frames.rope))
    if (frames.noise["round"] > 1).any():
        shown.append(noise_table(frames.noise))
    files = file_names(sweep.methods)
    return shown + [_classes(frames, method, f"classes_{files[method]}", how) for method in frames.begun()]


def _methods(frames: Frames, how: str) -> TextTable:
    shown = frames.shown()
    has_large = any(not math.isnan(row["macro_f1_50_mean"]) for row in shown)
    columns: list[tuple[str, Callable[[FrameRow], str]]] = [
        ("method", lambda row: str(row["method"])),
        ("folds", lambda row: str(row["folds"])),
        ("round", lambda row: _rounds(row["rounds"])),
        ("photos", lambda row: _mean(row, "train_size", 0)),
        ("macro F", lambda row: _mean(row, "macro_f1")),
        ("pooled", lambda row: number(row["macro_f1_pooled"])),
        ("macro F 50+", lambda row: _mean(row, "macro_f1_50")),
        ("total F", lambda row: _mean(row, "total_f1")),
        ("pooled", lambda row: number(row["total_f1_pooled"])),
        ("accuracy", lambda row: _mean(row, "accuracy")),
    ]
    columns = [column for column in columns if has_large or column[0] != "macro F 50+"]
    rows = [tuple(cell(row) for _, cell in columns) for row in shown]
    are_many = any(row["folds"] > SIDE_BY_SIDE for row in shown)
    many = f" (of more than {SIDE_BY_SIDE} folds the median and quartiles)" if are_many else ""
    caption = (
        f"Performance on the test photos, mean ± standard deviation over the folds. round: chosen {how}{many}; photos: "
        "those that the chosen networks were trained on; pooled: F from confusion matrices summed over the folds."
    )
    if has_large:
        caption += f" {LARGE_NOTE}"
    if lacking := [method for method in frames.begun() if method in frames.incomplete]:
        caption += f" These methods lack rounds or folds, so their means cannot be compared: {', '.join(lacking)}."
    return TextTable("methods", caption, tuple(heading for heading, _ in columns), tuple(rows), lines=(1,))


def _rounds(listed: str) -> str:
    """The chosen rounds, ``3, 14, 7``; if there are many folds, their median and quartiles, ``12 (9 to 15)``."""
    numbers = [int(number) for number in listed.split(", ")] if listed else []
    if len(numbers) <= SIDE_BY_SIDE:
        return listed or NOTHING
    low, middle, high = np.quantile(numbers, (0.25, 0.5, 0.75), method="nearest")
    return f"{middle} ({low} to {high})"


def _means(name: str, frames: Frames, how: str) -> TextTable:
    """One of `MEANS`, a row a method."""
    columns, caption = MEANS[name]
    rows = [(row["method"], *(_mean(row, measure) for measure in columns)) for row in frames.shown()]
    said = f"{caption} mean ± standard deviation over the folds. The round is chosen {how}."
    return TextTable(name, said, ("method", *columns.values()), tuple(rows), lines=(1,))


def _criteria(sweep: Sweep, frames: Frames) -> TextTable:
    criteria, measure = sweep.criteria, frames.measure
    summary = {(row["method"], row["criterion"]): row for row in records(frames.summary)}
    rows = [(LARGEST_CLASS, *[_mean(summary[LARGEST_CLASS, ""], measure)] * len(criteria), NOTHING)]
    for method in frames.begun():
        cells = (_mean(summary[method, criterion], measure) for criterion in criteria)
        rows.append((method, *cells, _optimism([summary[method, name] for name in criteria], measure)))
    caption = (
        f"{_capital(frames)} on the test photos, mean ± standard deviation over the folds, by the criterion that "
        "chooses the round. Optimism: what choosing on the test photos (oracle) seems to gain over choosing on "
        f"validation photos.{remark(measure)}"
    )
    columns = ("method", *(criterion.replace("_", " ") for criterion in criteria), "optimism")
    return TextTable("criteria", caption, columns, tuple(rows), lines=(1,))


def _optimism(rows: Sequence[FrameRow], measure: str) -> str:
    """A method's mean, with rounds chosen by the oracle, less that of ``validation``. rows : one for each criterion."""
    means = {row["criterion"]: row[f"{measure}_mean"] for row in rows}
    return signed(means["oracle"] - means.get("validation", math.nan))


def _capital(frames: Frames) -> str:
    """The leading measure at the beginning of a sentence."""
    return frames.leading.words[:1].upper() + frames.leading.words[1:]


def _folds(sweep: Sweep, frames: Frames) -> TextTable:
    rows = []
    for method, part in _folds_by_method(frames):
        cells: dict[int, str] = {}
        for row in records(part):
            cells[row["fold"]] = number(row[frames.measure])
            if pd.notna(row["round"]):
                cells[row["fold"]] += f" ({row['round']})"
        rows.append((method, *(cells.get(fold, NOTHING) for fold in sweep.folds)))
    caption = (
        f"{_capital(frames)} on the test photos of every fold, and in brackets the round, chosen by the criterion "
        f"{frames.criterion}.{remark(frames.measure)}"
    )
    return TextTable("folds", caption, ("method", *(f"fold {fold}" for fold in sweep.folds)), tuple(rows), lines=(1,))


def _quartiles(sweep: Sweep, frames: Frames) -> TextTable:
    rows = []
    for method, part in _folds_by_method(frames):
        values = np.quantile(part[frames.measure], (0, 0.25, 0.5, 0.75, 1))
        rows.append((method, *(number(float(value)) for value in values)))
    caption = (
        f"{_capital(frames)} on the test photos over the {len(sweep.folds)} folds, rounds chosen by the criterion "
        f"{frames.criterion}. Each fold's value and round are in folds.csv.{remark(frames.measure)}"
    )
    columns = ("method", "lowest", "lower quartile", "median", "upper quartile", "highest")
    return TextTable("folds", caption, columns, tuple(rows), lines=(1,))


def _folds_by_method(frames: Frames) -> list[tuple[str, pd.DataFrame]]:
    """Each method's rows of ``folds``, of the criterion that tables show; the largest class's come first."""
    shown = frames.folds[frames.folds["criterion"].isin(["", frames.criterion])]
    return [(str(method), part) for (method, _), part in shown.groupby(["method", "criterion"], sort=False)]


def _classes(frames: Frames, method: str, name: str, how: str) -> TextTable:
    """The classes of one method: network 1 beside the chosen network."""
    part = frames.classes[frames.classes["method"] == method]
    sides = [records(part[part["network"] == network]) for network in ("first", "chosen")]
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
    return TextTable(name, caption, columns, tuple(rows), lines=(len(rows) - 2,), method=method)


def _mean(row: FrameRow, name: str, digits: int = 3) -> str:
    """``0.250 ± 0.071``; the mean alone if there is one fold."""
    return spread(row[f"{name}_mean"], row[f"{name}_sd"], digits)
