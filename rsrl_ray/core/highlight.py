"""Highlight maps: where the first convolution of two rounds differs most in pattern (section IV, eqs. 4 and 5)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

# What is below this share of the largest value of all maps is the rounding of a convolution in float64, no pattern.
ROUNDING = 1e-12

# From this rank correlation on, either way, two maps count as alike: they share a quarter (0.5 squared) of the variance
# of their ranks, which Cohen (1988) calls a large effect.
ALIKE = 0.5

IDENTICAL = "the two rounds have identical conv1 maps"
NO_VARIANCE = "every conv1 map has zero variance"


@dataclass(frozen=True)
class Highlight:
    """The highlight map of one photo; if there is none, ``reason`` says why, and all else is None.

    J : index of the least correlated map. correlation : -1 to 1. map : [h, w], signed.
    """

    J: int | None = None
    correlation: float | None = None
    map: NDArray[np.float64] | None = None
    reason: str = ""


def correlations(maps: NDArray[Any], against: NDArray[Any]) -> NDArray[np.float64]:
    """Pearson correlation of map j of one round with map j of the other, flattened, [K]; NaN if one is flat.

    A few epochs hardly move conv1, so correlations crowd at 1 (1 - 1e-8 is common): the maps have to come from a
    convolution in float64. A map is flat (of zero variance) where its standard deviation is at most
    ``ROUNDING`` of the largest value of all K maps.

    maps, against : [K, h, w], conv1 of rounds I and I - k of one photo.
    """
    assert maps.shape == against.shape, (maps.shape, against.shape)
    first, second = _centred(maps), _centred(against)
    norms = np.sqrt(np.einsum("kp,kp->k", first, first) * np.einsum("kp,kp->k", second, second))
    products = np.einsum("kp,kp->k", first, second)
    defined = ~(_flat(maps, first) | _flat(against, second))
    values = np.divide(products, norms, out=np.full(len(maps), np.nan), where=defined)
    return np.asarray(values.clip(-1, 1))


def least_correlated(values: NDArray[np.float64]) -> int | None:
    """J = argmin_j corr_j (eq. 4) over the maps that have a correlation; ties go to the lower index.

    values : [K], NaN if there is none. None if no map has one.
    """
    return None if np.isnan(values).all() else int(np.nanargmin(values))


def highlight(maps: NDArray[Any], against: NDArray[Any], index: int | None = None) -> Highlight:
    """The highlight map of one photo, from maps [K, h, w], or why there is none.

    index : the J to take, such as one for a whole data set; None takes the photo's own (eq. 4).
    """
    values = correlations(maps, against)
    chosen = least_correlated(values) if index is None else index
    if chosen is None or np.isnan(values).all():
        return Highlight(reason=NO_VARIANCE)
    if np.isnan(values[chosen]):
        return Highlight(reason=f"conv1 map {chosen} has zero variance on this photo")
    rounding = ROUNDING * max(np.abs(maps).max(), np.abs(against).max())
    if np.abs(maps - against).max() <= rounding:
        return Highlight(reason=IDENTICAL)
    difference = np.asarray(maps[chosen].astype(np.float64) - against[chosen])  # eq. 5
    if np.abs(difference).max() <= rounding:
        return Highlight(reason=f"conv1 map {chosen} is the same in the two rounds")
    return Highlight(chosen, float(values[chosen]), difference)


def agreement(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Spearman's rank correlation of two maps [h, w] over their pixels, ties averaged; NaN if one is constant."""
    assert first.shape == second.shape, (first.shape, second.shape)
    ranks = np.stack([rankdata(first), rankdata(second)])
    if (np.ptp(ranks, axis=1) == 0).any():
        return float("nan")
    return float(np.corrcoef(ranks)[0, 1])


def likeness(first: NDArray[Any], second: NDArray[Any]) -> float:
    """`agreement` of two maps [h, w], or of their sizes without signs, whichever is farther from 0; NaN as there.

    By sizes too, because what answers edges does so with either sign.
    """
    found = [agreement(first, second), agreement(np.abs(first), np.abs(second))]
    return max((value for value in found if not np.isnan(value)), key=abs, default=float("nan"))


def differs(control: float, edges: float) -> bool | None:
    """Whether a map is like neither its control (`agreement`) nor the photo's edges (`likeness`); None: not known."""
    if np.isnan([control, edges]).any():
        return None
    return abs(control) < ALIKE and abs(edges) < ALIKE


def _centred(maps: NDArray[Any]) -> NDArray[np.float64]:
    flattened = maps.reshape(len(maps), -1).astype(np.float64)
    return np.asarray(flattened - flattened.mean(axis=1, keepdims=True))


def _flat(maps: NDArray[Any], centred: NDArray[np.float64]) -> NDArray[np.bool_]:
    deviation = np.sqrt(np.einsum("kp,kp->k", centred, centred) / centred.shape[1])
    return np.asarray(deviation <= ROUNDING * np.abs(maps).max())
