"""What `rsrl analyze` ends with at the terminal: every method's macro F, and how far it is from the baseline's."""

import math
from collections.abc import Hashable, Mapping
from typing import Any

from rich import table as rich
from rich.console import Group

from rsrl_ray.analysis.numbers.comparisons import ROUNDS
from rsrl_ray.analysis.numbers.frames import Frames
from rsrl_ray.analysis.numbers.words import NOTHING, p_value, signed, spread
from rsrl_ray.terminal import cell


def closing(frames: Frames) -> Group:
    """Rows of the summary's criterion, the largest class's first; differences only where there is a baseline."""
    compared = frames.comparisons[(frames.comparisons["measure"] == "macro_f1") & (frames.comparisons["at"] == ROUNDS)]
    differences = {row["method"]: row for row in compared.to_dict("records")}
    against = compared["against"].iloc[0] if differences else ""
    heads = ("difference", "95 % interval", "p (Holm)") if differences else ()
    shown = rich.Table(box=None, pad_edge=False, title="Macro F on the test photos", title_justify="left")
    for column in ("method", "macro F", *heads):
        left = column == "method"
        shown.add_column(cell(column), justify="left" if left else "right", no_wrap=not left, overflow="fold")
    for row in frames.summary[frames.summary["criterion"].isin(["", frames.criterion])].to_dict("records"):
        difference = _difference(differences[row["method"]]) if row["method"] in differences else ()
        so_far = " so far" if row["method"] in frames.incomplete else ""
        shown.add_row(cell(row["method"]), spread(row["macro_f1_mean"], row["macro_f1_sd"]) + so_far, *difference)
    chosen = "test photos (oracle)" if frames.criterion == "oracle" else "validation photos"
    said = f"Mean ± standard deviation over the folds, each at its round chosen on {chosen}."
    if differences:
        said += f" difference: to {against}, mean over the folds; p (Holm): adjusted for so many methods."
    return Group(shown, cell(said))


def _difference(row: Mapping[Hashable, Any]) -> tuple[str, str, str]:
    interval = NOTHING if math.isnan(row["low"]) else f"{signed(row['low'])} to {signed(row['high'])}"
    return signed(row["difference"]), interval, p_value(row["p_holm"])
