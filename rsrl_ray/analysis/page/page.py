"""One self-contained page of a sweep: the answer, then curves, tables, photos and maps; nothing is fetched."""

import base64
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from rsrl_ray.analysis.figures.drawings import FigureFile, mean_of
from rsrl_ray.analysis.numbers.frames import Frames
from rsrl_ray.analysis.numbers.words import interval, p_value, signed
from rsrl_ray.analysis.page.album import Album, longest, make_album
from rsrl_ray.analysis.page.answer import findings, forest
from rsrl_ray.analysis.page.charts import Chart, charts, library, looks, noise_charts, score_charts
from rsrl_ray.analysis.page.gallery import Gallery
from rsrl_ray.analysis.page.pictures import Embedded, drawing_uri, photo_uri
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.analysis.tables.markup import TextTable, latex, markdown
from rsrl_ray.config import Experiment
from rsrl_ray.identity import recipe
from rsrl_ray.method import method_of

SHEETS = ("dropped", "returned", "assigned")  # figures of photos
LISTED = ("dropped", "returned")  # figures of what the section of photos shows in its own way
STYLE_SHEETS = ("page.css", "photos.css")
CURVES = ("training_size", "majority_share", "total_f")  # figures in place of the charts, if scripts do not run
SCALE = 2 / 3  # a figure's pixel in the page
TABLES = {  # the tables that stand together, by their heading
    "Performance": ("methods", "groups", "ordinal"),
    "Choosing the round": ("criteria", "folds"),
    "Comparisons": ("comparisons",),
    "Known noise": ("noise",),
}


@dataclass(frozen=True)
class Section:
    """A section of the page.

    id : its anchor. heading : its title (h2), also in the table of contents. html : what stands under it, as markup.
    parts : by anchor, those of its headings (h3) that the table of contents names too.
    """

    id: str
    heading: str
    html: Markup
    parts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Content:
    """What the page is made of. folder : the page's; its ``figures`` hold ``pictures`` as PNG."""

    sweep: Sweep
    experiment: Experiment
    frames: Frames
    tables: Sequence[TextTable]
    pictures: Sequence[FigureFile]
    gallery: Gallery
    folder: Path

    @cached_property
    def charts(self) -> dict[str, list[Chart]]:
        """The charts that a reader's browser draws, by group."""
        return {
            "common": charts(self.sweep),
            "scores": score_charts(self.sweep),
            "noise": noise_charts(self.sweep, self.frames.noise),
        }

    def figures(self, names: Sequence[str] = (), method: str = "") -> list[Embedded]:
        """The pictures of a method ("" : of all methods) whose names begin with one of ``names``."""
        shown = [one for one in self.pictures if one.method == method and one.name.startswith(tuple(names))]
        with ThreadPoolExecutor() as threads:
            return list(threads.map(partial(_figure, self.folder / "figures"), shown))


def write_page(content: Content) -> None:
    """Write ``index.html`` into the page's folder."""
    loader = PackageLoader("rsrl_ray.analysis.page", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.globals |= {written.__name__: written for written in (markdown, latex, signed, interval, p_value)}
    drawn = [asdict(chart) for group in content.charts.values() for chart in group]
    by_hand = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
    scripts = [library(), by_hand] if drawn else [by_hand]
    page = environment.get_template("page.html").render(
        sweep=content.sweep,
        facts=_facts(content.sweep, content.experiment),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        style=Markup("".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in STYLE_SHEETS)),
        sections=sections(content, environment),
        data={"methods": looks(content.sweep.methods), "charts": drawn} if drawn else None,
        scripts=[Markup(script) for script in scripts],
        policy=Markup(" ".join(map(_digest, scripts))),  # only these scripts may run
    )
    (content.folder / "index.html").write_text(page, encoding="utf-8")


def sections(content: Content, environment: Environment) -> list[Section]:
    """The page's sections in their order: the answer comes first."""
    write: Any = environment.get_template("sections.html").module
    sweep, frames = content.sweep, content.frames
    answer = write.answer(findings(frames), forest(frames), [*sweep.missing, *frames.notes])
    groups = content.charts
    curves = write.curves(
        looks(sweep.methods), *groups.values(), mean_of(sweep), content.figures(CURVES), content.figures(["noise"])
    )
    named = {"scores": "Each score", "noise": "Known noise"}
    parts = tuple((f"curves-{group}", heading) for group, heading in named.items() if groups[group])
    album = make_album(sweep, content.experiment.photos, [card.photo for card in content.gallery.cards])
    recipe_of = write.recipe(list(recipe(content.experiment).items()), content.figures(["scores"]))
    return [
        Section("answer", "The answer", answer),
        Section("curves", "Curves, round by round", curves, parts),
        _tables(content, write),
        _methods(content, write),
        *photo_sections(album, content.gallery, environment, sweep.rounds),
        Section("recipe", "Data and recipe", recipe_of),
    ]


def photo_sections(album: Album, gallery: Gallery, environment: Environment, rounds: int) -> list[Section]:
    """What each method never kept, dropped most and took back; and the maps, beside what they have to differ from.

    album : holds the photos of the gallery too. rounds : that the sweep asks for.
    """
    write: Any = environment.get_template("photos.html").module
    parts = tuple((f"photos-{place}", method) for place, method in enumerate(album.lists, 1))
    photos = write.photos(album, longest(len(album.lists)), rounds)
    return [Section("photos", "Photos", photos, parts), Section("maps", "Highlight maps", write.maps(gallery, album))]


def _tables(content: Content, write: Any) -> Section:
    """The tables of `TABLES` that there are."""
    named = {table.name: table for table in content.tables}
    groups = {heading: [named[name] for name in names if name in named] for heading, names in TABLES.items()}
    shown = [(heading, f"tables-{place}", tables) for place, (heading, tables) in enumerate(groups.items()) if tables]
    parts = tuple((anchor, heading) for heading, anchor, _ in shown)
    return Section("tables", "Tables", write.tables(shown), parts)


def _methods(content: Content, write: Any) -> Section:
    """What each method is, with its own table and figures."""
    alone = sorted({picture.name for picture in content.pictures if not picture.name.startswith(LISTED)})
    methods = [
        {
            "name": table.method,
            "words": str(method_of(content.experiment, table.method)),
            "table": table,
            "figures": content.figures(alone, table.method),
        }
        for table in content.tables
        if table.method
    ]
    parts = tuple((f"method-{place}", name) for place, name in enumerate(content.sweep.begun, 1))
    return Section("methods", "Method by method", write.methods(methods, content.figures(["class_measures"])), parts)


def _facts(sweep: Sweep, experiment: Experiment) -> str:
    classes = sweep.classes
    return (
        f"{len(sweep.images):,} photos of {len(classes)} scores ({classes[0]} to {classes[-1]}), "
        f"{len(sweep.folds)} of {experiment.folds.count * experiment.folds.repeats} folds, "
        f"{len(sweep.methods)} method{'s' if len(sweep.methods) > 1 else ''}, "
        f"{sweep.rounds} rounds of {experiment.network.backbone}"
    )


def _figure(folder: Path, picture: FigureFile) -> Embedded:
    with Image.open(folder / f"{picture.name}.png") as image:
        width, height = (round(side * SCALE) for side in image.size)
        data = (photo_uri if picture.name.startswith(SHEETS) else drawing_uri)(image)
        return Embedded(data, picture.caption, width, height)


def _digest(script: str) -> str:
    """The script's hash, as a Content-Security-Policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
