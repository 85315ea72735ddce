"""The photos that a page shows: each stands in it once, small, and wherever it is shown it opens its history."""

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from rsrl_ray.analysis.data import Sweep
from rsrl_ray.analysis.measures import begun, trained_scores
from rsrl_ray.analysis.photo_histories import Course, Listed, courses, fold_words, lists
from rsrl_ray.analysis.sparkline import Sparkline, sparkline
from rsrl_ray.analysis.style import shortened
from rsrl_ray.photos.picture import quiet_pillow, small_photo
from rsrl_ray.photos.source import read_bytes
from rsrl_ray.photos.table import photo_sources
from rsrl_ray.tracking.histories import THREADS

SIDE = 224  # pixels, the longer side of a photo in the page
QUALITY = 78


@dataclass(frozen=True)
class Thumbnail:
    """A photo as it travels in the page. data : URI, "" where it cannot be read, and ``reason`` says why."""

    data: str = ""
    width: int = 1
    height: int = 1
    reason: str = ""


@dataclass(frozen=True)
class Shown:
    """A photo of the page.

    number : of its anchors. image : as the table names it. name : of its file. score : it is trained on as.
    true_score : where that is another one. folds : in words. courses : under every method with a logged round.
    """

    number: int
    image: str
    name: str
    thumbnail: Thumbnail
    score: int
    true_score: int | None
    folds: str
    courses: dict[str, Course]

    def spark(self, method: str, with_tests: bool = False) -> Sparkline:
        """Its rounds under a method."""
        course = self.courses[method]
        return sparkline(course.self_confidence, course.dropped, course.tested if with_tests else None)


@dataclass(frozen=True)
class Album:
    """lists : by method, those of the methods that drop photos. photos : by row in the sweep, all that are shown."""

    methods: tuple[str, ...]
    lists: dict[str, list[Listed]]
    photos: dict[int, Shown]

    def named(self, image: str) -> Shown | None:
        """The photo that the table names so, if it is shown."""
        return next((photo for photo in self.photos.values() if photo.image == image), None)


def make_album(sweep: Sweep, table: str | Path, others: Sequence[str] = ()) -> Album:
    """The photos of the lists, and ``others`` by name. table : the experiment's table of photos."""
    methods = begun(sweep)
    chosen = lists(sweep, methods)
    places = {image: row for row, image in enumerate(sweep.images)}
    listed = [row for each in chosen.values() for one in each for row in one.rows]
    rows = list(dict.fromkeys([*listed, *(places[image] for image in others)]))
    images = [sweep.images[row] for row in rows]
    sources = photo_sources(table, images)
    with quiet_pillow(), ThreadPoolExecutor(THREADS) as threads:
        thumbnails = list(threads.map(lambda image: _thumbnail(sources[image]), images))
    by_method = {method: courses(sweep, method, rows) for method in methods}
    trained = trained_scores(sweep)
    photos = {
        row: Shown(
            number=place,
            image=sweep.images[row],
            name=shortened(PurePosixPath(sweep.images[row]).name, 24),
            thumbnail=thumbnails[place],
            score=int(trained[row]),
            true_score=int(sweep.scores[row]) if trained[row] != sweep.scores[row] else None,
            folds=fold_words(sweep, row),
            courses={method: found[place] for method, found in by_method.items()},
        )
        for place, row in enumerate(rows)
    }
    return Album(tuple(methods), chosen, photos)


def _thumbnail(source: str) -> Thumbnail:
    try:
        small = small_photo(read_bytes(source), SIDE)
    except ValueError as error:
        return Thumbnail(reason=str(error))
    content = BytesIO()
    small.save(content, "JPEG", quality=QUALITY, optimize=True)
    return Thumbnail(f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}", *small.size)
