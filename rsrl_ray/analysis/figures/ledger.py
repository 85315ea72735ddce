"""The ledger: which photos the revisions dropped in which round, and which came back."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from rsrl_ray.analysis.figures.style import WIDTH, styled
from rsrl_ray.analysis.numbers.histories import History
from rsrl_ray.analysis.numbers.measures import majority
from rsrl_ray.analysis.sweep.arrays import Sweep

CLASSES_ACROSS = 3  # classes side by side


@styled
def ledger(sweep: Sweep, method: str, found: History) -> Figure:
    """Photos x rounds of every class that is revised, dark where dropped; those dropped most often on top.

    Of photos that were dropped equally often, those dropped earlier come first. With several folds the shade is the
    share, among the folds that train on the photo, of those that dropped it. Photos without such folds are left out.

    found : the history of all photos under the method.
    """
    dropped, folds = found.dropped, len(sweep.trials_of(method))
    classes, trained = _revised(sweep, method), sweep.trained_scores()
    across = min(CLASSES_ACROSS, len(classes))
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
    half = 0.5 / (folds + 1)  # of the first shade: its middle
    bar = figure.colorbar(drawn, ax=grid[: len(classes)].tolist(), location="bottom", shrink=0.5, aspect=12)
    bar.set_ticks([half, 1 - half], labels=["kept", "dropped"] if folds == 1 else ["none", "all"])
    bar.ax.tick_params(length=0)
    if folds > 1:
        bar.set_label("folds that dropped the photo", fontsize=7)
    return figure


def _revised(sweep: Sweep, method: str) -> NDArray[np.int64]:
    """The scores that some fold revises, ascending."""
    places = np.unique([majority(sweep, trial) for trial in sweep.trials_of(method)])
    return np.asarray(sweep.classes[places])


def _sorted(dropped: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rows [n, R] by how often they were dropped, then by how early."""
    filled = np.nan_to_num(dropped)
    return dropped[np.lexsort([*-filled.T[::-1], -np.nanmean(dropped, axis=1)])]
