"""A sweep's folder: tables, figures, highlight maps and one page of them all."""

from dataclasses import dataclass
from pathlib import Path

from rsrl_ray.analysis.figures.confusions import write_confusions
from rsrl_ray.analysis.figures.drawings import write_figures
from rsrl_ray.analysis.numbers.frames import Frames, summarise
from rsrl_ray.analysis.page.gallery import Gallery, find_examples, make_cards
from rsrl_ray.analysis.page.page import Content, write_page
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.analysis.sweep.read import read_sweep
from rsrl_ray.analysis.tables.build import write_tables
from rsrl_ray.config import Experiment
from rsrl_ray.display import Display
from rsrl_ray.store.location import Location
from rsrl_ray.tracking.read import open_results


@dataclass(frozen=True)
class Wanted:
    """What to write: out : the folder, `default_folder` if None. baseline, rope : of the comparisons.

    pictures : whether every round gets a picture of its confusion matrix, in ``confusion/``.
    """

    out: Path | None
    baseline: str
    rope: float
    pictures: bool = False


@dataclass(frozen=True)
class Written:
    """What was written; notes : sentences on what is lacking."""

    folder: Path
    frames: Frames
    notes: tuple[str, ...]

    @property
    def page(self) -> Path:
        """The page of everything."""
        return self.folder / "index.html"


def analyze(experiment: Experiment, wanted: Wanted, display: Display) -> Written:
    """Write the folder of what is logged so far, and log it to the sweep's run.

    Raises
    ------
    ValueError
        If there is nothing to analyse yet, baseline or rope are wrong, or the folder cannot be written to.
    """
    folder = wanted.out or default_folder(experiment)
    with display.started("reading the rounds"):
        sweep = read_sweep(experiment)
    with display.started("writing tables and figures"):
        frames = summarise(sweep, wanted.baseline, wanted.rope)
        tables = write_tables(sweep, frames, folder)
        pictures = write_figures(sweep, frames, folder / "figures", experiment.photos)
    drawn = []
    if wanted.pictures:
        place = folder / "confusion"
        with display.started("drawing confusion matrices"):
            drawn = [f"{write_confusions(sweep, place):,} pictures of confusion matrices: {place}"]
    with display.started("making highlight maps and the page"):
        gallery = make_gallery(sweep, experiment, folder)
        write_page(Content(sweep, experiment, frames, tables, pictures, gallery, folder))
        open_results(experiment).log_folder(sweep.run_id, folder, "analysis")
    no_maps = [f"no highlight maps: {gallery.reason}"] if gallery.reason else []
    return Written(folder, frames, (*sweep.missing, *frames.notes, *no_maps, *drawn))


def make_gallery(sweep: Sweep, experiment: Experiment, folder: Path) -> Gallery:
    """Make maps of some photos; `rsrl_ray.maps.highlights.highlight` writes them into ``folder``."""
    from rsrl_ray.maps.highlights import highlight  # late: torch takes half a GB
    from rsrl_ray.maps.sanity import random_words, verdict
    from rsrl_ray.maps.subject import Question

    try:
        asked = find_examples(sweep)
        question = Question(asked.photos, fold=asked.fold, method=asked.method, number=asked.number)
        rows = highlight(experiment, question, folder)
    except ValueError as error:
        return Gallery(reason=str(error))
    return Gallery(make_cards(sweep, rows, folder), asked, verdict=verdict(rows), random=random_words(rows))


def default_folder(experiment: Experiment) -> Path:
    """``analysis/NAME`` in storage, or in the working directory if storage is a bucket."""
    storage = Location(experiment.storage)
    return (Path() if storage.is_uri else storage.path) / "analysis" / experiment.name
