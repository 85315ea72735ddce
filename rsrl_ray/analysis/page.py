"""One self-contained page of a sweep: its tables, figures and examples of highlight maps; nothing is fetched."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from rsrl_ray.analysis.album import make_album
from rsrl_ray.analysis.comparisons import ROUNDS
from rsrl_ray.analysis.data import Sweep
from rsrl_ray.analysis.figures import Picture
from rsrl_ray.analysis.gallery import Gallery
from rsrl_ray.analysis.markup import Table, latex, markdown
from rsrl_ray.analysis.measures import begun
from rsrl_ray.analysis.numbers import p_value, signed, spread
from rsrl_ray.analysis.photo_section import map_section, photo_section
from rsrl_ray.analysis.style import TOGETHER
from rsrl_ray.analysis.summary import LARGEST_CLASS, Frames
from rsrl_ray.config import Experiment, recipe
from rsrl_ray.method import method_of

SHEETS = ("dropped", "returned", "assigned")  # figures of photos: as JPEG a fifth of their size
LISTED = ("dropped", "returned")  # what the section of photos shows instead
ELSEWHERE = ("differences", "noise")  # figures that stand in another section than "Round by round"
SURE = 0.05  # p after Holm, below which a difference is said to be one
SCALE = 2 / 3  # a figure's pixel in the page


@dataclass(frozen=True)
class Embedded:
    """A picture that travels in the page. data : URI. width, height : of its place, CSS pixels."""

    data: str
    caption: str
    width: int
    height: int


@dataclass(frozen=True)
class Content:
    """What the page is made of; ``pictures`` lie in the page's folder, in ``figures``, as PNG."""

    sweep: Sweep
    experiment: Experiment
    frames: Frames
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    gallery: Gallery


def write_page(content: Content, folder: Path) -> None:
    """Write ``folder/index.html``."""
    sweep, experiment, frames, tables = content.sweep, content.experiment, content.frames, content.tables
    loader = PackageLoader("rsrl_ray.analysis", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    template = environment.get_template("page.html")
    album = make_album(sweep, experiment.photos, [card.photo for card in content.gallery.cards])
    shown = {
        picture: _figure(picture, folder / "figures" / f"{picture.name}.png")
        for picture in content.pictures
        if not picture.name.startswith(LISTED)
    }
    methods = [
        {
            "name": name,
            "words": str(method_of(experiment, name)),
            "table": next(table for table in tables if table.method == name),
            "figures": [figure for picture, figure in shown.items() if picture.method == name],
        }
        for name in begun(sweep)
    ]
    page = template.render(
        sweep=sweep,
        facts=_facts(sweep, experiment),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        notes=[*sweep.missing, *frames.notes],
        findings=findings(frames),
        tables={table.name: table for table in tables},
        comparisons=next((table for table in tables if table.name == "comparisons"), None),
        noise=next((table for table in tables if table.name == "noise"), None),
        first=[figure for picture, figure in shown.items() if picture.name == "differences"],
        noise_figures=[figure for picture, figure in shown.items() if picture.name == "noise"],
        figures=[figure for picture, figure in shown.items() if not (picture.method or picture.name in ELSEWHERE)],
        methods=methods,
        photos=photo_section(album, environment, sweep.rounds),
        maps=map_section(content.gallery, album, environment),
        style=Markup((Path(__file__).parent / "photos.css").read_text(encoding="utf-8")),
        recipe=list(recipe(experiment).items()),
        markdown=markdown,
        latex=latex,
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def findings(frames: Frames) -> list[str]:
    """The result in words: the method of the highest macro F, and how each differs from the baseline."""
    shown = frames.summary[frames.summary["criterion"] == frames.criterion]
    known = shown[shown["macro_f1_mean"].notna()].sort_values("macro_f1_mean", ascending=False, kind="stable")
    if known.empty:
        return []
    best = known.iloc[0]
    largest = frames.summary[frames.summary["method"] == LARGEST_CLASS].iloc[0]
    sentences = [
        f"The highest macro F on the test photos, {_macro_f(best)} over {best['folds']} folds, is that of the method "
        f"{best['method']}; to assign always the largest class gives {_macro_f(largest)}."
    ]
    tests = frames.comparisons[(frames.comparisons["at"] == ROUNDS) & (frames.comparisons["measure"] == "macro_f1")]
    tests = tests[tests["p"].notna()]
    return sentences + (_each(tests) if len(tests) < TOGETHER else _together(tests))


def _each(tests: pd.DataFrame) -> list[str]:
    """A sentence for every comparison."""
    sentences = []
    for _, test in tests.iterrows():
        difference, low, high = (signed(test[name]) for name in ("difference", "low", "high"))
        p = p_value(test["p_holm"]).replace("<", "below ")
        sentences.append(
            f"{test['method']} less {test['against']}: {difference} (95 % interval {low} to {high}, "
            f"p after Holm {p}, {test['folds']} folds)."
        )
    return sentences


def _together(tests: pd.DataFrame) -> list[str]:
    """A sentence for the better, the worse and the other methods."""
    sure = tests["p_holm"] < SURE
    kinds = {
        "better than": sure & (tests["difference"] > 0),
        "worse than": sure & (tests["difference"] < 0),
        "not shown to differ from": ~sure,
    }
    sentences = []
    for words, among in kinds.items():
        named = [f"{test['method']} ({signed(test['difference'])})" for _, test in tests[among].iterrows()]
        if named:
            sentences.append(f"{words.capitalize()} {tests['against'].iloc[0]}: {', '.join(named)}.")
    return [*sentences, f"Better and worse is said where p after Holm is below {SURE} ({tests['folds'].max()} folds)."]


def _macro_f(row: "pd.Series[Any]") -> str:
    return spread(row["macro_f1_mean"], row["macro_f1_sd"])


def _facts(sweep: Sweep, experiment: Experiment) -> str:
    classes = sweep.classes
    return (
        f"{len(sweep.images):,} photos of {len(classes)} scores ({classes[0]} to {classes[-1]}), "
        f"{len(sweep.folds)} of {experiment.folds.count * experiment.folds.repeats} folds, "
        f"{len(sweep.methods)} method{'s' if len(sweep.methods) > 1 else ''}, "
        f"{sweep.rounds} rounds of {experiment.network.backbone}"
    )


def _figure(picture: Picture, path: Path) -> Embedded:
    with Image.open(path) as image:
        width, height = (round(side * SCALE) for side in image.size)
        if not picture.name.startswith(SHEETS):
            return Embedded(_uri(path.read_bytes(), "png"), picture.caption, width, height)
        return Embedded(_jpeg(image), picture.caption, width, height)


def _jpeg(image: Image.Image) -> str:
    content = BytesIO()
    image.convert("RGB").save(content, "JPEG", quality=85, optimize=True)
    return _uri(content.getvalue(), "jpeg")


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
