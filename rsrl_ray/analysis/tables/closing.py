"""The table with which `rsrl analyze` ends: every method's measure, by default macro F, and its difference."""

import pandas as pd
from rich.console import Group

from rsrl_ray.analysis.numbers.comparisons import in_measure
from rsrl_ray.analysis.numbers.frames import Frames
from rsrl_ray.analysis.numbers.solved import against_solved
from rsrl_ray.analysis.numbers.words import interval, p_value, signed, spread
from rsrl_ray.core.compared import remark
from rsrl_ray.terminal import cell, make_table


def closing(frames: Frames) -> Group:
    """The table, what its columns are, and how trained methods compare with one that is solved, for the terminal."""
    table, words = methods_table(frames), frames.leading.words
    title = f"{words[:1].upper()}{words[1:]} on the test photos"
    shown = make_table([str(column) for column in table], left=["method"], title=title)
    for method, *others in table.itertuples(index=False):
        shown.add_row(cell(method), *others)
    return Group(shown, *map(cell, filter(None, (explained(frames), against_solved(frames.solved)))))


def methods_table(frames: Frames) -> pd.DataFrame:
    """The table as a frame of text; the largest class comes first. Differences are there if there is a baseline."""
    compared = in_measure(frames.comparisons, frames.measure)
    differences = {
        row["method"]: (signed(row["difference"]), interval(row["low"], row["high"]), p_value(row["p_holm"]))
        for row in compared.to_dict("records")
    }
    heads = ("difference", "95 % interval", "p (Holm)") if differences else ()
    rows = []
    for row in frames.shown():
        method, mean = row["method"], spread(row[f"{frames.measure}_mean"], row[f"{frames.measure}_sd"])
        so_far = " so far" if method in frames.incomplete else ""
        rows.append((method, mean + so_far, *differences.get(method, [""] * len(heads))))
    return pd.DataFrame(rows, columns=["method", frames.leading.words, *heads])


def explained(frames: Frames) -> str:
    """What the columns are, in words."""
    chosen = "test photos (oracle)" if frames.criterion == "oracle" else "validation photos"
    said = f"Mean ± standard deviation over the folds, each at its round chosen on {chosen}."
    against = in_measure(frames.comparisons, frames.measure)["against"]
    if len(against):
        said += f" difference: to {against.iloc[0]}, mean over the folds; p (Holm): adjusted for the number of methods."
    return said + remark(frames.measure)
