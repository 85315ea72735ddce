"""Highlight maps: where the first convolution of two rounds differs most in pattern (section IV, eqs. 4 and 5)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

# A value below this share of the largest value of all maps is rounding of a convolution in float64, not a pattern.
ROUNDING = 1e-12

# Two maps count as alike from this rank correlation on, positive or negative: they share a quarter (0.5 squared) of the
# variance of their ranks. Cohen (1988) calls this a large effect.
ALIKE = 0.5

IDENTICAL = "the two rounds have identical conv1 maps"
NO_VARIANCE = "every conv1 map has zero variance"


@dataclass(frozen=True)
class Highlight:
    """The highlight map of one photo. If there is none, ``reason`` says why, and all other fields are None.

    J : index of the least correlated conv1 map. correlation : of this map, -1 to 1. map : [h, w], signed.
    """

    J: int | None = None
    correlation: float | None = None
    map: NDArray[np.float64] | None = None
    reason: str = ""


def correlations(maps: NDArray[Any], against: NDArray[Any]) -> NDArray[np.float64]:
    """Pearson correlation of map j of one round with map j of the other, [K]; NaN if one of the two is flat.

    A few epochs change conv1 very little, so many correlations are near 1 (1 - 1e-8 is common). The maps must therefore
    come from a convolution in float64. A map is flat (it has zero variance) if its standard deviation is at most
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
    """J = argmin_j corr_j (eq. 4) over the maps that have a correlation; None if none has one.

    values : [K], NaN if a map has no correlation. Of equal values, the lower index is taken.
    """
    return None if np.isnan(values).all() else int(np.nanargmin(values))


def highlight(maps: NDArray[Any], against: NDArray[Any], index: int | None = None) -> Highlight:
    """The highlight map of one photo, or the reason why there is none.

    maps, against : see `correlations`. index : the J to take, for example one for all photos. None: the photo's own J
    (eq. 4).
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
    """Spearman's rank correlation of the pixels of two maps [h, w], -1 to 1; NaN if one map is constant.

    Equal pixels have their mean rank.
    """
    assert first.shape == second.shape, (first.shape, second.shape)
    ranks = np.stack([rankdata(first), rankdata(second)])
    if (np.ptp(ranks, axis=1) == 0).any():
        return float("nan")
    return float(np.corrcoef(ranks)[0, 1])


def likeness(first: NDArray[Any], second: NDArray[Any]) -> float:
    """`agreement` of two maps [h, w], or of their absolute values: the one that is farther from 0; NaN if both are NaN.

    Absolute values are compared too, because a map may answer to edges with either sign.
    """
    found = [agreement(first, second), agreement(np.abs(first), np.abs(second))]
    return max((value for value in found if not np.isnan(value)), key=abs, default=float("nan"))


def differs(control: float, edges: float) -> bool | None:
    """Whether a map differs from its control and from the photo's edges; None if one of the two values is NaN.

    control : `agreement` with the control. edges : `likeness` to the edges.
    """
    if np.isnan([control, edges]).any():
        return None
    return abs(control) < ALIKE and abs(edges) < ALIKE


def _centred(maps: NDArray[Any]) -> NDArray[np.float64]:
    flattened = maps.reshape(len(maps), -1).astype(np.float64)
    return np.asarray(flattened - flattened.mean(axis=1, keepdims=True))


def _flat(maps: NDArray[Any], centred: NDArray[np.float64]) -> NDArray[np.bool_]:
    deviation = np.sqrt(np.einsum("kp,kp->k", centred, centred) / centred.shape[1])
    return np.asarray(deviation <= ROUNDING * np.abs(maps).max())
