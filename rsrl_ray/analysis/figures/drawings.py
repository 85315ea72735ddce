"""Every figure of a sweep, as PDF and PNG: the paper's Figs. 1 and 4 to 9 and more, one function each."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from warnings import catch_warnings, filterwarnings

from matplotlib.figure import Figure

from rsrl_ray.analysis.figures import sheets
from rsrl_ray.analysis.figures.apart import write_apart
from rsrl_ray.analysis.figures.classes import confusion_matrices, score_histogram
from rsrl_ray.analysis.figures.curves import class_measures, f_measure, majority_share, noise_curves, training_size
from rsrl_ray.analysis.figures.differences import differences
from rsrl_ray.analysis.figures.ledger import ledger
from rsrl_ray.analysis.figures.small_photos import SmallPhotos
from rsrl_ray.analysis.figures.style import groups, styled
from rsrl_ray.analysis.numbers.frames import Frames
from rsrl_ray.analysis.numbers.histories import history
from rsrl_ray.analysis.numbers.measures import chosen_rounds
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.core.compared import remark
from rsrl_ray.store.file_names import file_names

OPTIONS: dict[str, Any] = {
    "png": {"pil_kwargs": {"compress_level": 3}},  # nearly as small as 6, and half the time
    "pdf": {"metadata": {"CreationDate": None}},  # the same figure is the same bytes
}
PHOTO_BYTES = 64  # bytes of memory that the figures of one method take for each photo and round


@dataclass(frozen=True)
class FigureFile:
    """A figure's files: their name without ending, what they show, and of which method ("" if of all)."""

    name: str
    caption: str
    method: str = ""


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn, and what to call it."""

    picture: FigureFile
    draw: Callable[[], Figure]


def write_figures(sweep: Sweep, frames: Frames, folder: Path, table: str | Path) -> list[FigureFile]:
    """Write every figure that the sweep has data for into ``folder``, as PNG and PDF.

    table : the experiment's table of photos. If a photo cannot be read, the figure says so in its place.

    Returns what was written, in the order of a page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    common = chain(_frame_drawings(frames), _common_drawings(sweep))
    if not _are_together(sweep):
        size = PHOTO_BYTES * len(sweep.images) * sweep.rounds
        return write_apart(partial(_write_part, folder, table), _parts(sweep), lambda: _write(common, folder), size)
    photos = SmallPhotos(table, sheets.PHOTO_PIXELS)
    return _write(chain(common, *(_part_drawings(part, photos) for part in _parts(sweep))), folder)


def figure(sweep: Sweep, frames: Frames, table: str | Path, name: str, method: str) -> Figure:
    """A figure by name, such as ``total_f`` or ``ledger``, also ``macro_f``, which is in no file.

    table : the experiment's table of photos. method : that of the figures that show only one.

    Raises
    ------
    ValueError
        If there is no figure of this name; it says which there are.
    """
    macro_f = Drawing(FigureFile("macro_f", ""), partial(f_measure, sweep, chosen_rounds(sweep), "macro"))
    common = chain([macro_f], _frame_drawings(frames), _common_drawings(sweep))
    alone, photos = _of(sweep, method), SmallPhotos(table, sheets.PHOTO_PIXELS)
    names = []
    for drawing in chain(common, [_class_measures(alone, "")], _method_drawings(alone, method, photos)):
        if drawing.picture.name == name:
            return drawing.draw()
        names.append(drawing.picture.name)
    raise ValueError(f"figure {name!r}: there is no such figure; there are {', '.join(dict.fromkeys(names))}")


def mean_of(sweep: Sweep) -> str:
    """What curves show, in words."""
    folds = len({key.fold for key in sweep.trials})
    mean = f"mean of {folds} folds, band: one standard deviation" if folds > 1 else "one fold"
    if any(len({len(trial.kept) for trial in sweep.trials_of(method)}) > 1 for method in sweep.begun):
        mean += ", pale where some folds have no such round"
    return mean


@dataclass(frozen=True)
class _Part:
    """A sweep of one method alone: all that the method's own figures need.

    file : its name as a file's. mean : what its curves show, in words; "" if all methods share their axes.
    """

    sweep: Sweep
    method: str
    file: str
    mean: str


def _parts(sweep: Sweep) -> list[_Part]:
    files, mean = file_names(sweep.methods), "" if _are_together(sweep) else mean_of(sweep)
    return [_Part(_of(sweep, method), method, files[method], mean) for method in sweep.begun]


def _of(sweep: Sweep, method: str) -> Sweep:
    """The sweep of one method."""
    return replace(sweep, trials={key: trial for key, trial in sweep.trials.items() if key.method == method})


def _are_together(sweep: Sweep) -> bool:
    """Whether all methods share their axes."""
    return len(groups(sweep.begun)) == 1


def _write_part(folder: Path, table: str | Path, part: _Part) -> list[FigureFile]:
    return _write(_part_drawings(part, SmallPhotos(table, sheets.PHOTO_PIXELS)), folder)


def _write(drawings: Iterable[Drawing], folder: Path) -> list[FigureFile]:
    """Write figures, made one at a time."""
    written = []
    for drawing in drawings:
        with catch_warnings():
            filterwarnings("ignore", "Glyph .* missing")  # letters that the font lacks are drawn as boxes
            _save(drawing.draw(), folder / drawing.picture.name)
        written.append(drawing.picture)
    return written


@styled
def _save(figure: Figure, path: Path) -> None:
    if (layout := figure.get_layout_engine()) is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")  # a layout for every file would take as long as drawing
    for kind, options in OPTIONS.items():
        figure.savefig(path.with_name(f"{path.name}.{kind}"), **options)


def _frame_drawings(frames: Frames) -> Iterator[Drawing]:
    """The figures for which the frames have rows; the one that gives the answer comes first."""
    comparisons = frames.comparisons
    if comparisons["difference"].notna().any():
        text = (
            f"Differences in {frames.leading.words} on the test photos to the method "
            f"{comparisons['against'].iloc[0]}: mean over the folds and its 95 % interval "
            "(corrected resampled t-test); grey: differences up to "
            f"{frames.half_width:g}, which count as none.{remark(frames.measure)}"
        )
        yield Drawing(
            FigureFile("differences", text), partial(differences, comparisons, frames.half_width, frames.measure)
        )
    if (frames.noise["dropped"] > 0).any():
        text = (
            "What was dropped against labels that are wrong on purpose, by round: precision and recall among the "
            "training photos labelled as one of the classes that are revised, mean of the folds; grey: the share of "
            "wrong labels. Methods that drop none of these are left out."
        )
        yield Drawing(FigureFile("noise", text), partial(noise_curves, frames.noise))


def _common_drawings(sweep: Sweep) -> Iterator[Drawing]:
    """The figures of all methods."""
    mean = mean_of(sweep)
    yield Drawing(FigureFile("scores", "Photos of each score (Fig. 1 of the paper)."), partial(score_histogram, sweep))
    text = f"Training photos kept, by round (Fig. 4): {mean}."
    yield Drawing(FigureFile("training_size", text), partial(training_size, sweep))
    text = f"Share of the {sweep.majority} largest classes among the photos kept, by round: {mean}."
    yield Drawing(FigureFile("majority_share", text), partial(majority_share, sweep))
    text = f"Total F-measure of the test photos, by round (Fig. 8): {mean}; marked: each fold's chosen round."
    yield Drawing(FigureFile("total_f", text), partial(f_measure, sweep, chosen_rounds(sweep)))
    if _are_together(sweep):
        yield _class_measures(sweep, mean)


def _class_measures(sweep: Sweep, mean: str) -> Drawing:
    text = f"Precision, recall and F-measure of each score on the test photos, by round (Figs. 5 to 7): {mean}."
    return Drawing(FigureFile("class_measures", text), partial(class_measures, sweep, sweep.begun))


def _part_drawings(part: _Part, photos: SmallPhotos) -> Iterator[Drawing]:
    """The figures of one method alone, named after it."""
    first = [_class_measures(part.sweep, part.mean)] if part.mean else []
    for drawing in chain(first, _method_drawings(part.sweep, part.method, photos)):
        plain = drawing.picture
        picture = FigureFile(f"{plain.name}_{part.file}", f"{part.method}: {plain.caption}", part.method)
        yield replace(drawing, picture=picture)


def _method_drawings(sweep: Sweep, method: str, photos: SmallPhotos) -> Iterator[Drawing]:
    """The figures of one method alone."""
    chosen = chosen_rounds(sweep)
    text = "test photos by score and assigned score, in round 1 and in the chosen round, summed over the folds."
    yield Drawing(FigureFile("confusion", text), partial(confusion_matrices, sweep, method, chosen))
    assigned = sheets.assigned_scores(sweep, method, chosen)
    scores = sheets.low_and_high(assigned)
    text = f"test photos that the chosen networks assign to score {' and '.join(map(str, scores))} (Fig. 9)."
    sheet = partial(sheets.assigned_examples, sweep, assigned, scores, photos)
    yield Drawing(FigureFile("assigned", text), sheet)
    found = history(sweep, method)
    by = "assigned score and self-confidence are those of the last networks"
    if found.times.any():
        text = "training photos by round, dark where dropped; those dropped most often on top."
        yield Drawing(FigureFile("ledger", text), partial(ledger, sweep, method, found))
        text = f"the photos dropped most often; {by}."
        sheet = partial(sheets.history_sheet, sweep, found, found.dropped_most(), "dropped most often", photos)
        yield Drawing(FigureFile("dropped", text), sheet)
    if found.away.any():
        text = f"photos that were dropped and came back, those away longest first; {by}."
        heading = "dropped, and back in the last round"
        sheet = partial(sheets.history_sheet, sweep, found, found.came_back(), heading, photos)
        yield Drawing(FigureFile("returned", text), sheet)
