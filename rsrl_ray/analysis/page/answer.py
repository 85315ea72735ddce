"""The answer of a sweep: which methods differ from the baseline, how much, and how sure this is."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.ticker import MaxNLocator

from rsrl_ray.analysis.figures.style import TOGETHER
from rsrl_ray.analysis.numbers.comparisons import AT_PHOTOS, in_measure
from rsrl_ray.analysis.numbers.frames import LARGEST_CLASS, Frames, records
from rsrl_ray.analysis.numbers.measures import FrameRow
from rsrl_ray.analysis.numbers.solved import against_solved
from rsrl_ray.analysis.numbers.verdicts import SIGNIFICANT, VERDICTS, direction, much, verdict
from rsrl_ray.analysis.numbers.words import number, signed, spread
from rsrl_ray.core.compared import Measure, remark


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high`` on a line from 0 to 100 percent. ticks : round values among them, as text."""

    low: float
    high: float
    ticks: dict[float, str]

    @classmethod
    def over(cls, values: Iterable[float]) -> "Scale":
        """The scale that holds these values and 0."""
        values = [*values, 0.0]
        low, high = min(values), max(values)
        room = 0.08 * (high - low) or 0.01
        ticks = MaxNLocator(nbins=4, steps=[1, 2, 5, 10]).tick_values(low, high)
        step = ticks[1] - ticks[0]
        digits = next(digits for digits in range(1, 9) if round(step, digits) >= step * 0.999)
        inside = [float(tick) for tick in ticks if low - room / 2 <= tick <= high + room / 2]
        return cls(low - room, high + room, {tick: number(tick, digits) for tick in inside})

    def place(self, value: float) -> float:
        """Where a value lies, in percent."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)


@dataclass(frozen=True)
class Forest:
    """Differences in a measure, ``words``, to the method ``against``, the best first.

    rows : those of the frame ``comparisons`` at equal rounds, and in each ``verdict``, one of `VERDICTS`, and
    ``photos``, the row at equal photos seen, or None.
    """

    against: str
    rows: list[FrameRow]
    scale: Scale
    rope: float
    words: str
    remark: str = ""


def findings(frames: Frames) -> list[str]:
    """The result in plain sentences: which methods differ from the baseline, and which is best by the measure.

    The first one says too how trained methods compare with one that is solved, if there is one.
    """
    mean, is_error = f"{frames.measure}_mean", frames.leading.is_error
    shown = frames.summary[frames.summary["criterion"] == frames.criterion]
    known = shown[shown[mean].notna() & ~shown["method"].isin(list(frames.incomplete))]
    known = known.sort_values(mean, ascending=is_error, kind="stable")
    if known.empty:
        return []
    best = known.iloc[0]
    largest = frames.summary[frames.summary["method"] == LARGEST_CLASS].iloc[0]
    highest = (
        f"The method {best['method']} has the {'lowest' if is_error else 'highest'} {frames.leading.words} on the test "
        f"photos, {_spread(best, frames.measure)} over "
        f"{best['folds']} folds; always assigning the largest class gives {_spread(largest, frames.measure)}."
    )
    tests = _tests(frames)
    differing = "" if tests.empty else _differing(tests, frames.leading)
    return list(filter(None, (" ".join(filter(None, (differing, against_solved(frames.solved)))), highest)))


def forest(frames: Frames) -> Forest | None:
    """The intervals of the comparisons, the highest difference first; None if there are none."""
    tests = _tests(frames)
    if tests.empty:
        return None
    photos = in_measure(frames.comparisons, frames.measure, AT_PHOTOS)
    photos = photos[photos["low"].notna()]
    others = {row["method"]: row for row in records(photos)}
    is_error = frames.leading.is_error
    shown = records(tests.sort_values("difference", ascending=is_error, kind="stable"))
    rows = [row | {"verdict": VERDICTS[direction(row, is_error)], "photos": others.get(row["method"])} for row in shown]
    scale = Scale.over(
        [*tests["low"], *tests["high"], *photos["low"], *photos["high"], frames.half_width, -frames.half_width]
    )
    return Forest(rows[0]["against"], rows, scale, frames.half_width, frames.leading.words, remark(frames.measure))


def _tests(frames: Frames) -> pd.DataFrame:
    """The comparisons by the leading measure at equal rounds that have an interval."""
    rows = in_measure(frames.comparisons, frames.measure)
    return rows[rows["p"].notna()]


def _differing(tests: pd.DataFrame, measure: Measure) -> str:
    """Which methods are better and worse, and how much; and how many are not shown to differ."""
    against, many = f"the control {tests['against'].iloc[0]}", len(tests)
    how = f"{measure.words} on the test photos, {tests['folds'].max()} folds, p after Holm below {SIGNIFICANT}"
    tests = tests.sort_values("difference", ascending=measure.is_error, kind="stable")
    signs = tests.apply(direction, axis=1, is_error=measure.is_error)
    if many == 1:
        row = tests.iloc[0]
        return f"{row['method']} is {verdict(row, measure.is_error)} {against}: {much(row)} ({how})."
    if not signs.any():
        row = tests.iloc[int(tests["difference"].abs().to_numpy().argmax())]
        largest = f"The largest difference is that of {row['method']}: {much(row)}."
        return f"None of the {many} other methods is shown to differ from {against} ({how}). {largest}"
    said = []
    for sign in (1, -1):
        found = tests[signs == sign]
        if len(found):
            short = len(found) > TOGETHER  # the intervals stand in the table below
            named = ", ".join(
                f"{row['method']} ({signed(row['difference']) if short else much(row)})" for _, row in found.iterrows()
            )
            verb = "is" if len(found) == 1 else "are"
            said.append(f"{len(found)} of {many} methods {verb} {VERDICTS[sign]} than {against}: {named}.")
    rest = int((signs == 0).sum())
    if rest:
        said.append(f"{rest} {'is' if rest == 1 else 'are'} not shown to differ.")
    return f"{' '.join(said)} ({how[0].upper()}{how[1:]}.)"


def _spread(row: "pd.Series[Any]", measure: str) -> str:
    return spread(row[f"{measure}_mean"], row[f"{measure}_sd"])
