"""A sweep's folder: tables, figures, highlight maps and one page of them all."""

from dataclasses import dataclass
from pathlib import Path

from rsrl_ray.analysis import measures
from rsrl_ray.analysis.data import read_sweep
from rsrl_ray.analysis.figures import write_figures
from rsrl_ray.analysis.frame_figures import frame_drawings
from rsrl_ray.analysis.gallery import make_gallery
from rsrl_ray.analysis.page import Content, write_page
from rsrl_ray.analysis.summary import Frames
from rsrl_ray.analysis.tables import tables, write_tables
from rsrl_ray.config import Experiment
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.display import Display
from rsrl_ray.store.location import Location
from rsrl_ray.tracking.read import open_results


@dataclass(frozen=True)
class Written:
    """What was written; notes : sentences on what is missing."""

    folder: Path
    frames: Frames
    notes: tuple[str, ...]

    @property
    def page(self) -> Path:
        """One page of all."""
        return self.folder / "index.html"


def analyze(experiment: Experiment, out: Path | None, baseline: str, rope: float, display: Display) -> Written:
    """Write the folder of what is logged so far, and log it to the sweep's run.

    Raises
    ------
    ValueError
        Where there is nothing to analyse yet, baseline or rope make no sense, or the folder cannot be written to.
    """
    folder = out or default_folder(experiment)
    with display.started("reading the rounds"):
        sweep = read_sweep(experiment)
    with display.started("writing tables and figures"):
        frames = write_tables(sweep, folder, baseline, rope)
        criterion = measures.default_criterion(sweep)
        methods = measures.begun(sweep)
        chosen = {
            TrialKey(fold, method): number
            for method in methods
            for fold, number in measures.chosen_rounds(sweep, method, criterion).items()
        }
        pictures = write_figures(sweep, chosen, folder / "figures", experiment.photos, frame_drawings(frames))
    with display.started("making highlight maps and the page"):
        gallery = make_gallery(sweep, experiment, folder)
        shown = tables(sweep, frames)
        write_page(Content(sweep, experiment, frames, shown, pictures, gallery, folder))
        open_results(experiment).log_folder(sweep.run_id, folder, "analysis")
    no_maps = [f"no highlight maps: {gallery.reason}"] if gallery.reason else []
    return Written(folder, frames, (*sweep.missing, *frames.notes, *no_maps))


def default_folder(experiment: Experiment) -> Path:
    """``analysis/NAME`` in storage, or in the working directory where storage is a bucket."""
    storage = Location(experiment.storage)
    return (Path() if storage.is_uri else storage.path) / "analysis" / experiment.name
