"""The ledger: which photos the revisions dropped in which round, and which came back."""

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from rsrl_ray.analysis.data import Sweep
from rsrl_ray.analysis.measures import TRAIN, majority, trained_scores, trials_of
from rsrl_ray.analysis.style import WIDTH, styled

ACROSS = 3  # classes side by side


@dataclass(frozen=True)
class History:
    """What became of every photo under one method, over the folds that train on it; N photos, R rounds.

    dropped : [N, R] share of those folds that dropped it for the round, NaN where there is none.
    times, of : [N], in how many rounds it was dropped, and of how many (round 1, which drops nothing, not counted).
    away : [N], in how many rounds it was dropped by the folds that keep it in their last round.
    is_never_kept : [N], whether every fold that trains on it dropped it in all rounds from the first that drops any on.
    assigned : [N], the score that most of the folds' last networks assign (ties: the lower); -1 where there is none.
    self_confidence : [N], the mean of their self-confidences, NaN where there is none.
    """

    dropped: NDArray[np.float64]
    times: NDArray[np.int64]
    of: NDArray[np.int64]
    away: NDArray[np.int64]
    is_never_kept: NDArray[np.bool_]
    assigned: NDArray[np.int64]
    self_confidence: NDArray[np.float64]


def history(sweep: Sweep, method: str) -> History:
    """Put the folds of a method together; at least one has a round."""
    trials = trials_of(sweep, method)
    photos, rounds = len(sweep.images), max(len(trial.kept) for trial in trials)
    dropped, judged = np.zeros((2, photos, rounds), np.int16)  # folds
    away, due, confidence = np.zeros(photos, np.int64), np.zeros(photos, np.int64), np.zeros(photos)
    votes = np.zeros((photos, len(sweep.classes)), np.int64)
    for trial in trials:
        train = trial.split == TRAIN
        gone = (train & ~trial.kept[:]).T
        dropped[:, : gone.shape[1]] += gone
        judged[:, : gone.shape[1]] += train[:, None]
        due += train * (gone.shape[1] - _first_drop(gone))
        away += np.where(trial.kept[-1], gone.sum(axis=1), 0)
        confidence += np.where(train, trial.self_confidence[-1], 0)
        votes[train, np.searchsorted(sweep.classes, trial.predicted[-1, train])] += 1
    folds = votes.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return History(
            dropped / judged,
            dropped.sum(axis=1),
            judged[:, 1:].sum(axis=1),
            away,
            (due > 0) & (dropped.sum(axis=1) == due),
            np.where(folds > 0, sweep.classes[votes.argmax(axis=1)], -1),
            confidence / folds,
        )


def never_kept(found: History) -> NDArray[np.int64]:
    """The photos that no network after the first revision was trained on, the least confident first."""
    return np.lexsort([found.self_confidence, ~found.is_never_kept])[: found.is_never_kept.sum()]


def dropped_most(found: History) -> NDArray[np.int64]:
    """The photos that were dropped, in most rounds of the folds training on them first; ties: the least confident."""
    order = np.lexsort([found.self_confidence, -found.times / np.maximum(found.of, 1)])
    return np.asarray(order[found.times[order] > 0])


def came_back(found: History) -> NDArray[np.int64]:
    """The photos that were dropped and are kept in the last round, away longest first; ties: the most confident."""
    order = np.lexsort([-found.self_confidence, -found.away / np.maximum(found.of, 1)])
    return np.asarray(order[found.away[order] > 0])


@styled
def ledger(sweep: Sweep, method: str, found: History) -> Figure:
    """Photos x rounds of every class that is revised, dark where dropped; those dropped most often on top.

    Of photos dropped as often, those dropped earlier come first. With several folds, the shade is the share of the
    folds training on the photo that dropped it. Photos that no fold trains on are left out.

    found : the method's `history`.
    """
    dropped = found.dropped
    folds = len(trials_of(sweep, method))
    classes, trained = _revised(sweep, method), trained_scores(sweep)
    across = min(ACROSS, len(classes))
    down = -(-len(classes) // across)
    figure = Figure(figsize=(WIDTH, 0.6 + 3.6 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharex=True).ravel()
    for axes, score in zip(grid, classes, strict=False):
        image = _sorted(dropped[(trained == score) & np.isfinite(dropped[:, 0])])
        shades = colormaps["Blues"].resampled(folds + 1)
        drawn = axes.imshow(image, shades, vmin=0, vmax=1, aspect="auto", interpolation="none")
        drawn.set_extent((0.5, image.shape[1] + 0.5, len(image), 0))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10]))
        axes.tick_params("y", pad=1, rotation=90)
        axes.spines[:].set_visible(True)
        axes.set_title(f"score {score}\n({len(image):,} photos)", fontsize=7)
        axes.set_xlabel("round")
    for axes in grid[len(classes) :]:
        axes.remove()
    grid[0].set_ylabel("photos", labelpad=2)
    half = 0.5 / (folds + 1)  # the middle of the first shade
    bar = figure.colorbar(drawn, ax=grid[: len(classes)].tolist(), location="bottom", shrink=0.5, aspect=12)
    bar.set_ticks([half, 1 - half], labels=["kept", "dropped"] if folds == 1 else ["none", "all"])
    bar.ax.tick_params(length=0)
    if folds > 1:
        bar.set_label("folds that dropped the photo", fontsize=7)
    return figure


def _first_drop(gone: NDArray[np.bool_]) -> int:
    """The place of the first round that drops a photo, of [N, R]; 1, the first that could, where none does."""
    drops = gone.any(axis=0)
    return int(drops.argmax()) if drops.any() else 1


def _revised(sweep: Sweep, method: str) -> NDArray[np.int64]:
    """The scores that some fold revises, ascending."""
    places = np.unique([majority(sweep, trial) for trial in trials_of(sweep, method)])
    return np.asarray(sweep.classes[places])


def _sorted(dropped: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows [n, R] by how often they were dropped, then by how early."""
    filled = np.nan_to_num(dropped)
    return dropped[np.lexsort([*-filled.T[::-1], -np.nanmean(dropped, axis=1)])]
