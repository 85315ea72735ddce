"""What a comparison says in words: better, worse or not shown to differ, and how much."""

from typing import Any

import pandas as pd

from rsrl_ray.analysis.numbers.measures import FrameRow
from rsrl_ray.analysis.numbers.words import interval, signed

SIGNIFICANT = 0.05  # p after Holm; below it the page says that methods differ
VERDICTS = {1: "better", -1: "worse", 0: "not shown to differ"}


def direction(row: "pd.Series[Any] | FrameRow", is_error: bool) -> int:
    """1 better, -1 worse, 0 not shown to differ. is_error : the lower, the better."""
    if row["p_holm"] >= SIGNIFICANT:
        return 0
    return 1 if (row["difference"] > 0) != is_error else -1


def verdict(row: "pd.Series[Any] | FrameRow", is_error: bool) -> str:
    """``better than``, ``worse than`` or ``not shown to differ from``."""
    found = direction(row, is_error)
    return f"{VERDICTS[found]} {'than' if found else 'from'}"


def much(row: "pd.Series[Any] | FrameRow") -> str:
    """``+0.100, 95 % interval +0.050 to +0.150``."""
    return f"{signed(row['difference'])}, 95 % interval {interval(row['low'], row['high'])}"
