"""A last layer in closed form: ridge regression whose strength is chosen by leaving out one photo at a time.

The features x of the kept photos i have weights w_i. Minimised is sum_i w_i |y_i - a - B x_i|^2 + strength |B|^2; the
constant a is not penalised. All is computed in float64, on the device of the network.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from rsrl_ray.core.ridge import STRENGTHS, Ridge

SOFT_SIGMA = 1.0  # classes
COLDEST, HOTTEST = 1e-3, 20.0  # temperatures of a regression on shares
SOLVED_AT_ONCE = 65_536  # photos whose own parts in their predictions are computed at once
LEAST_VARIANCE = 1e-6  # of residuals, if all photos are fitted exactly


@dataclass(frozen=True)
class Layer:
    """A linear layer: logits are ``features @ weight.T + bias``; weight [C, D], bias [C], float64.

    left_out : [n, C], the logits of each of its photos by the layer that the other photos have.
    """

    weight: Tensor
    bias: Tensor
    left_out: Tensor


def solved(
    ridge: Ridge,
    features: Tensor,
    labels: NDArray[np.int64],
    classes: int,
    photo_weights: NDArray[np.float32] | None = None,
) -> Layer:
    """The last layer for these photos.

    ``score``: the regression gives a photo's class as a number s; v is the mean squared error of the photos that are
    left out. The logits are those of a normal distribution around s, c s / v - c^2 / 2 v with classes c counted from
    the middle one, so the softmax has its mean near s. ``hard`` and ``soft``: the regression gives shares f_c; the
    logits are f_c / T, with the T of the highest likelihood of the photos that are left out. Soft targets are as in
    `rsrl_ray.vision.losses.Balanced`: exp(-(c - y)^2 / 2), divided by their sum.

    features : [n, D], of the kept photos. labels : [n]. photo_weights : [n], above 0, what each photo
    weighs besides ``balance``, whose n_c is then their sum in the class; None if all weigh the same.
    """
    strengths = STRENGTHS if ridge.ridge == "auto" else (float(ridge.ridge),)
    weights = torch.from_numpy(_weights(labels, classes, ridge.balance, photo_weights)).to(features.device)
    regression = _Regression(features, weights)
    steps = torch.arange(classes, dtype=torch.float64, device=features.device)
    own = torch.from_numpy(labels).to(features.device)
    if ridge.targets == "score":
        return _of_score(regression, strengths, own, steps - (classes - 1) / 2)
    near = (steps[:, None] == steps).double()
    if ridge.targets == "soft":
        near = (-((steps[:, None] - steps) ** 2) / (2 * SOFT_SIGMA**2)).softmax(dim=1)
    return _of_shares(regression, strengths, own, near)


def _of_score(regression: "_Regression", strengths: Sequence[float], own: Tensor, steps: Tensor) -> Layer:
    targets = steps[own][:, None]
    fits = [regression.fit(targets, strength) for strength in strengths]
    errors = [float((fit.weights * (targets - fit.left_out)[:, 0] ** 2).mean()) for fit in fits]
    fit = fits[int(np.argmin(errors))]
    variance = max(min(errors), LEAST_VARIANCE)

    def logits(scores: Tensor) -> Tensor:
        return (steps * scores - steps**2 / 2) / variance

    return Layer(steps[:, None] * fit.slopes.T / variance, logits(fit.constant), logits(fit.left_out))


def _of_shares(regression: "_Regression", strengths: Sequence[float], own: Tensor, near: Tensor) -> Layer:
    fits = [regression.fit(near[own], strength) for strength in strengths]
    found = [_temperature(fit, own) for fit in fits]
    best = int(np.argmin([loss for loss, _ in found]))
    fit, temperature = fits[best], found[best][1]
    return Layer(fit.slopes.T / temperature, fit.constant / temperature, fit.left_out / temperature)


def _temperature(fit: "_Fit", own: Tensor) -> tuple[float, float]:
    """The lowest mean cross-entropy of photos that are left out, and its temperature."""

    def loss(log_temperature: float) -> float:
        logs = (fit.left_out / math.exp(log_temperature)).log_softmax(dim=1)
        return -float((fit.weights * logs.gather(1, own[:, None])[:, 0]).mean())

    found = minimize_scalar(loss, bounds=(math.log(COLDEST), math.log(HOTTEST)), method="bounded")
    return float(found.fun), math.exp(found.x)


def _weights(
    labels: NDArray[np.int64], classes: int, balance: float, own: NDArray[np.float32] | None
) -> NDArray[np.float64]:
    """[n], with mean 1."""
    weights = np.bincount(labels, own, minlength=classes)[labels] ** -balance
    if own is not None:
        weights = weights * own
    return np.asarray(weights / weights.mean())


@dataclass(frozen=True)
class _Fit:
    """slopes : [D, K]. constant : [K]. left_out : [n, K], what is predicted of each photo by all others."""

    weights: Tensor
    slopes: Tensor
    constant: Tensor
    left_out: Tensor


class _Regression:
    """Weighted ridge regressions on the same features, [n, D], for several strengths.

    The photos are Xc = sqrt(w) (x - mean x) = U S V^T. With U S from the eigenvectors of the smaller one of Xc^T Xc and
    Xc Xc^T, a photo's own part in its prediction is h_i = w_i / sum w + sum_k U_ik^2 S_k^2 / (S_k^2 + strength), and
    the error of a photo that is left out is its error divided by 1 - h_i.

    References
    ----------
    R. D. Cook, S. Weisberg, Residuals and influence in regression, 1982 (section 2.2).
    """

    def __init__(self, features: Tensor, weights: Tensor) -> None:
        """Features : in any precision. Two copies in float64 are made, and one of them is kept."""
        centred = features.to(torch.float64, copy=True)
        self._weights, self._mean = weights, weights @ centred / weights.sum()
        centred.sub_(self._mean).mul_(weights.sqrt()[:, None])
        count, width = centred.shape
        if width <= count:
            squares, self._right = torch.linalg.eigh(centred.T @ centred)
            self._scaled = centred @ self._right  # U S
            self._squares = squares.clamp(min=0)
        else:
            squares, left = torch.linalg.eigh(centred @ centred.T)
            self._squares = squares.clamp(min=0)
            self._right = centred.T @ left / self._squares.sqrt().clamp(min=1e-12)
            self._scaled = left * self._squares.sqrt()

    def fit(self, targets: Tensor, strength: float) -> _Fit:
        """Targets : [n, K]."""
        weights, roots = self._weights, self._weights.sqrt()[:, None]
        middle = weights @ targets / weights.sum()
        shrunk = 1 / (self._squares + strength).clamp(min=1e-12)
        turned = shrunk[:, None] * (self._scaled.T @ (roots * (targets - middle)))
        slopes = self._right @ turned
        constant = middle - self._mean @ slopes
        errors = targets - middle - self._scaled @ turned / roots
        parts = self._scaled.split(SOLVED_AT_ONCE)  # the squares of all would be a third copy
        own = weights / weights.sum() + torch.cat([part**2 @ shrunk for part in parts])
        left_out = targets - errors / (1 - own).clamp(min=1e-9)[:, None]
        return _Fit(weights, slopes, constant, left_out)
