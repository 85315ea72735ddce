"""A sweep's folder: tables, figures, highlight maps and one page of them all."""

from pathlib import Path

from rich.console import Console

from rsrl_ray.analysis.figures.drawings import write_figures
from rsrl_ray.analysis.figures.frame_figures import frame_drawings
from rsrl_ray.analysis.numbers import measures
from rsrl_ray.analysis.page.gallery import make_gallery
from rsrl_ray.analysis.page.page import Content, write_page
from rsrl_ray.analysis.sweep.read import read_sweep
from rsrl_ray.analysis.tables.build import tables, write_tables
from rsrl_ray.analysis.tables.closing import closing
from rsrl_ray.config import Experiment
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.store.location import Location
from rsrl_ray.terminal import say
from rsrl_ray.tracking.read import open_results


def analyze(experiment: Experiment, out: Path | None, baseline: str, rope: float, console: Console) -> None:
    """Write the folder of what is logged so far, log it to the sweep's run, and print what came out.

    Raises
    ------
    ValueError
        Where there is nothing to analyse yet, baseline or rope make no sense, or the folder cannot be written to.
    """
    folder = out or default_folder(experiment)
    with console.status("reading the rounds"):
        sweep = read_sweep(experiment)
    with console.status("writing tables and figures"):
        frames = write_tables(sweep, folder, baseline, rope)
        criterion = measures.default_criterion(sweep)
        methods = measures.begun(sweep)
        chosen = {
            TrialKey(fold, method): number
            for method in methods
            for fold, number in measures.chosen_rounds(sweep, method, criterion).items()
        }
        pictures = write_figures(sweep, chosen, folder / "figures", experiment.photos, frame_drawings(frames))
    with console.status("making highlight maps and the page"):
        gallery = make_gallery(sweep, experiment, folder)
        shown = tables(sweep, frames)
        write_page(Content(sweep, experiment, frames, shown, pictures, gallery, folder))
        open_results(experiment).log_folder(sweep.run_id, folder, "analysis")
    console.print(closing(frames))
    no_maps = [f"no highlight maps: {gallery.reason}"] if gallery.reason else []
    for sentence in (*sweep.missing, *frames.notes, *no_maps):
        say(console, f"note: {sentence}")
    say(console, f"page: {folder / 'index.html'}")
    say(console, "written there, and to the sweep's run in MLflow")


def default_folder(experiment: Experiment) -> Path:
    """``analysis/NAME`` in storage, or in the working directory where storage is a bucket."""
    storage = Location(experiment.storage)
    return (Path() if storage.is_uri else storage.path) / "analysis" / experiment.name
