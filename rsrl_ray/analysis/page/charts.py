"""Curves for the page: fold means by round of every method, drawn in the reader's browser by Vega-Lite.

Vega-Lite draws SVG: the charts are as sharp as text in print, they take their colours from the page's style sheet, also
from the dark one, and a browser test can read what is drawn. The Python package vl-convert contains its code (0.9 MB).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd
import vl_convert
from numpy.typing import NDArray

from rsrl_ray.analysis.figures.style import COLOURS, DASHES, TOGETHER
from rsrl_ray.analysis.numbers.curves import ByFold, fold_mean, metric_by_fold
from rsrl_ray.analysis.numbers.wrong_labels import rates_by_fold
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.core.compared import COMPARED

# Formats of an axis, in d3's words: as many decimals as tell its ticks apart; for some metrics another format.
DECIMALS = "f"
OTHER_FORMATS = {"train_size": ",f", "majority_share": "%"}
VEGA_LITE = "6.4"  # the version, of those in vl-convert, that page.js is written for
_TITLES = {
    "test_macro_f1": "Macro F on the test photos",
    "validation_macro_f1": "Macro F on the validation photos",
    "test_total_f1": "Total F on the test photos (Fig. 8)",
    "train_size": "Training photos kept (Fig. 4)",
    "majority_share": "Share of the {majority} largest classes",
}
_NOISE_TITLES = {
    "precision": "Precision of what is dropped",
    "recall": "Recall of the wrong labels",
    "average_precision": "Average precision of the self-confidence",
}


@dataclass(frozen=True)
class Line:
    """A method's line by round, [R] each: mean and standard deviation (None if not known) over n folds.

    method : its place in the experiment, which gives its colour and dashes.
    """

    method: int
    mean: tuple[float | None, ...]
    sd: tuple[float | None, ...]
    n: tuple[int, ...]


@dataclass(frozen=True)
class Chart:
    """Lines that share their axes. format : of the values, in d3's words. domain : smallest and largest value shown."""

    name: str
    title: str
    format: str
    domain: tuple[float, float]
    lines: tuple[Line, ...]


def charts(sweep: Sweep) -> list[Chart]:
    """What MLflow has of every round: fold means by round, the leading measure first.

    A measure that no trial has is left out.
    """
    words = COMPARED[sweep.measure].words
    leading = {f"test_{sweep.measure}": f"{words[:1].upper()}{words[1:]} on the test photos"}
    titles = leading | {name: title.format(majority=sweep.majority) for name, title in _TITLES.items()}
    return _charts(sweep, titles, partial(metric_by_fold, sweep))


def score_charts(sweep: Sweep) -> list[Chart]:
    """F-measure of every score on the test photos (Fig. 7); all charts have one scale."""
    names = {f"f1_{score}": f"F of score {score}" for score in sweep.classes}
    drawn = _charts(sweep, names, partial(metric_by_fold, sweep))
    domain = _domain([line for chart in drawn for line in chart.lines])
    return [replace(chart, domain=domain) for chart in drawn]


def noise_charts(sweep: Sweep, noise: pd.DataFrame) -> list[Chart]:
    """What was dropped against labels that are known to be wrong. noise : the frame of `Frames`."""
    rates = rates_by_fold(noise)
    return _charts(sweep, _NOISE_TITLES, lambda name: {method: found[name] for method, found in rates.items()})


def looks(methods: tuple[str, ...]) -> list[dict[str, Any]]:
    """By method: its name, and the numbers of its colour and dashes, as in `style.look`."""
    return [
        {"name": name, "colour": place % len(COLOURS), "dash": place % len(DASHES)}
        for place, name in enumerate(methods)
    ]


@cache
def library() -> str:
    """The code of Vega, Vega-Lite and Vega-Embed, which sets ``window.vegaEmbed``; it takes two seconds to bundle."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed", vl_version=VEGA_LITE)


def _charts(sweep: Sweep, titles: Mapping[str, str], curves_of: Callable[[str], Mapping[str, ByFold]]) -> list[Chart]:
    """A chart for each title that some method has values of. curves_of : by its name, values [F, R] by method."""
    drawn = []
    for name, title in titles.items():
        means = {method: fold_mean(values) for method, values in curves_of(name).items() if np.isfinite(values).any()}
        lines = tuple(
            Line(sweep.methods.index(method), _known(mean.mean), _known(mean.sd), tuple(map(int, mean.folds)))
            for method, mean in means.items()
        )
        if lines:
            drawn.append(Chart(name, title, OTHER_FORMATS.get(name, DECIMALS), _domain(lines), lines))
    return drawn


def _known(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(float(f"{value:.6g}") if isfinite(value) else None for value in values)


def _domain(lines: Sequence[Line]) -> tuple[float, float]:
    """From the smallest to the largest value, a little wider; with the bands if the page first draws all of them."""
    band = 1 if len(lines) <= TOGETHER else 0
    pairs = [pair for line in lines for pair in zip(line.mean, line.sd, strict=True)]
    known = [mean + side * (sd or 0) for mean, sd in pairs if mean is not None for side in (-band, band)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return 0.0 if 0 <= low <= room else low - room, high + room
