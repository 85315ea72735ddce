"""The tables of methods against a baseline, and of dropped photos against labels that are known to be wrong."""

from typing import Any

import pandas as pd

from rsrl_ray.analysis.numbers.comparisons import AT_ROUNDS
from rsrl_ray.analysis.numbers.frames import records
from rsrl_ray.analysis.numbers.measures import FrameRow, mean_and_sd
from rsrl_ray.analysis.numbers.words import interval, number, p_value, signed, spread
from rsrl_ray.analysis.numbers.wrong_labels import RATES, over_rounds
from rsrl_ray.analysis.tables.markup import TextTable
from rsrl_ray.core.compared import COMPARED, LEADING, LOWER_IS_BETTER

_SHORT = {"quadratic_kappa": "kappa", "spearman": "rho"}  # so that the table is no wider than a page of paper
_SHOWN_AT_PHOTOS = ("macro_f1_50", *LEADING)  # measures that the table shows at equal photos seen too
LARGE_NOTE = "macro F 50+: over the classes that have 50 photos or more."


def comparisons_table(comparisons: pd.DataFrame, rope: float) -> TextTable:
    """Every method against the baseline. comparisons : the frame, with one row or more."""
    at_rounds = comparisons["at"] == AT_ROUNDS
    shown = records(comparisons[at_rounds | comparisons["measure"].isin(_SHOWN_AT_PHOTOS)])
    rows = tuple(_comparison(row) for row in shown)
    said = ""
    if not at_rounds.all():
        said = (
            " At equal photos: the round is chosen among those in which a method had trained on no more photos than "
            "the other of the two at its end."
        )
    if any(row["measure"] == "macro_f1_50" for row in shown):
        said += f" {LARGE_NOTE}"
    said += (
        f" Quadratic kappa and Spearman's rho: within twice, MAE within {rope:g} of a step between scores. "
        f"{LOWER_IS_BETTER}"
    )
    caption = (
        f"Differences to the method {shown[0]['against']}, fold by fold (rounds chosen by the criterion "
        f"{shown[0]['criterion']}): mean, 95 % interval and two-sided p of the corrected resampled t-test (Nadeau "
        "and Bengio 2003), and p adjusted by Holm over the methods. Worse, equivalent, better: probabilities of a true "
        f"difference below −{rope:g}, within ±{rope:g}, above {rope:g} (Bayesian correlated t-test, Benavoli and "  # noqa: RUF001
        f"others 2017). Can show: the difference that so many folds can show.{said}"
    )
    columns = (
        *("method", "measure", "difference", "95 % interval", "p", "p (Holm)"),
        *("worse", "equivalent", "better", "can show"),
    )
    ends = tuple(number for number in range(1, len(rows)) if rows[number - 1][1] != rows[number][1])
    return TextTable("comparisons", caption, columns, rows, text=2, lines=ends)


def noise_table(noise: pd.DataFrame) -> TextTable:
    """What was dropped against what is wrong, over the rounds from 2 on. noise : the frame, with such a round."""
    folds = over_rounds(noise)
    rows = []
    for method, part in folds.groupby("method", sort=False):
        cells = (_over_folds(part[name], 0 if name == "dropped" else 3) for name in ("dropped", *RATES[1:]))
        rows.append((str(method), *cells, _over_folds(part["base_rate"], 3)))
    caption = (
        "What was dropped against labels that are wrong on purpose, among the training photos labelled as one of the "
        "classes that are revised: means over the rounds from 2 on (a round that drops nothing has no "
        "precision), then mean ± standard deviation over the folds. Base rate: share of wrong labels, the precision of "
        "a random drop. Average precision: how well the self-confidence of the network that judged ranks the wrong "
        "labels, whatever was dropped."
    )
    columns = ("method", "dropped", "precision", "recall", "average precision", "base rate")
    return TextTable("noise", caption, columns, tuple(rows))


def _comparison(row: FrameRow) -> tuple[str, ...]:
    at = "" if row["at"] == AT_ROUNDS else ", equal photos"
    return (
        row["method"],
        _SHORT.get(row["measure"], COMPARED[row["measure"]].words) + at,
        signed(row["difference"]),
        interval(row["low"], row["high"]),
        p_value(row["p"]),
        p_value(row["p_holm"]),
        *(number(row[name], 2) for name in ("worse", "equivalent", "better")),
        number(row["detectable_difference"]),
    )


def _over_folds(values: "pd.Series[Any]", digits: int) -> str:
    found = mean_and_sd("over", values)
    return spread(found["over_mean"], found["over_sd"], digits)
