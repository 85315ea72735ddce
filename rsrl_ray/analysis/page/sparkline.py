"""A photo's self-confidence by round as a small line, and a mark for each round that dropped it: paths of an SVG."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SPARK_WIDTH, SPARK_HEIGHT = 100, 32  # of the drawing
TOP, BOTTOM = 2, 22  # where a self-confidence of 1 and of 0 lies
MARK = 8  # height of a mark if all folds dropped the photo


@dataclass(frozen=True)
class Sparkline:
    """The paths of the drawing.

    line, tested : the mean of the folds that train on the photo, and of those that test on it. marks : of the rounds
    that dropped it. step : how wide a mark is. words : the numbers, for those who cannot see the drawing.
    """

    line: str
    tested: str
    marks: str
    step: float
    words: str


def sparkline(
    confidence: NDArray[np.float64], dropped: NDArray[np.float64], tested: NDArray[np.float64] | None = None
) -> Sparkline:
    """Draw a photo's rounds.

    confidence, tested : [R], 0 to 1. dropped : [R], share of folds. NaN if there is none.
    """
    middles = np.arange(len(confidence)) + 0.5  # of each round's column
    places = [round(middle * SPARK_WIDTH / len(confidence)) for middle in middles]
    shares = np.rint(np.nan_to_num(dropped) * MARK).astype(int)
    shares[np.nan_to_num(dropped) > 0] = shares[np.nan_to_num(dropped) > 0].clip(1)
    marks = "".join(f"M{x} {SPARK_HEIGHT}v-{share}" for x, share in zip(places, shares, strict=True) if share)
    values = ", ".join("none" if np.isnan(value) else f"{value:.2f}" for value in confidence)
    gone = ", ".join(str(number) for number, share in enumerate(shares, 1) if share)
    words = f"self-confidence by round: {values}" + (f"; dropped in round {gone}" if gone else "")
    step = round(SPARK_WIDTH / len(confidence) * 0.7, 1)
    return Sparkline(_path(places, confidence), "" if tested is None else _path(places, tested), marks, step, words)


def _path(places: list[int], values: NDArray[np.float64]) -> str:
    """A line through the values that are there; a single value is a dot."""
    path, is_down = "", False
    for x, value in zip(places, values, strict=True):
        if np.isnan(value):
            is_down = False
            continue
        path += f"{'L' if is_down else 'M'}{x} {round(BOTTOM - value * (BOTTOM - TOP))}"
        path += "" if is_down else "h0"
        is_down = True
    return path
