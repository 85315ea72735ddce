"""The photos that a page shows. The page holds each of them once, small, and each opens its history."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from PIL import Image

from rsrl_ray.analysis.figures.small_photos import SmallPhotos
from rsrl_ray.analysis.figures.style import shortened
from rsrl_ray.analysis.numbers.histories import Course, History, course, fold_words, history
from rsrl_ray.analysis.page.pictures import Embedded, embedded
from rsrl_ray.analysis.page.sparkline import Sparkline, sparkline
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.photos.picture import quiet_pillow
from rsrl_ray.tracking.histories import THREADS

THUMBNAIL_SIDE = 224  # pixels, the longer side of a photo in the page
PHOTOS_OF_A_LIST = 8  # the most photos of a list
LISTS = 200  # the most photos of all lists together
FEWEST = 2  # photos that a list may always have


@dataclass(frozen=True)
class Listed:
    """A list of photos. count : how many there are of this kind. rows : those to show, as places in the sweep."""

    heading: str
    count: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Shown:
    """A photo of the page.

    number : that of its anchors, and its place in the histories of `Album`. image : its name in the table. name : that
    of its file, short. thumbnail : the picture, or why it cannot be read. score : the one that networks are trained on.
    true_score : if it is another one. folds : what each fold uses it for, in words.
    """

    number: int
    image: str
    name: str
    thumbnail: Embedded | str
    score: int
    true_score: int | None
    folds: str


@dataclass(frozen=True)
class Album:
    """What the page shows of photos.

    lists : by method, of the methods that drop photos. photos : all that are shown, n, by their place in the sweep.
    histories, courses : of these n photos, by method with a logged round.
    """

    lists: dict[str, list[Listed]]
    photos: dict[int, Shown]
    histories: dict[str, History]
    courses: dict[str, Course]

    def named(self, image: str) -> Shown | None:
        """The photo that has this name in the table, if it is shown."""
        return next((photo for photo in self.photos.values() if photo.image == image), None)

    def spark(self, photo: Shown, method: str, with_tests: bool = False) -> Sparkline:
        """A photo's rounds under a method."""
        found, dropped = self.courses[method], self.histories[method].dropped[photo.number]
        return sparkline(found.trained[photo.number], dropped, found.tested[photo.number] if with_tests else None)


def make_album(sweep: Sweep, table: str | Path, others: Sequence[str] = ()) -> Album:
    """The photos of the lists, and ``others``, which are names. table : the experiment's table of photos."""
    chosen = lists(sweep, sweep.begun)
    places = {image: row for row, image in enumerate(sweep.images)}
    listed = [row for each in chosen.values() for one in each for row in one.rows]
    rows = list(dict.fromkeys([*listed, *(places[image] for image in others)]))
    photos = SmallPhotos(table, THUMBNAIL_SIDE)
    with quiet_pillow(), ThreadPoolExecutor(THREADS) as threads:
        thumbnails = list(threads.map(lambda row: _thumbnail(photos.get(sweep.images[row])), rows))
    trained = sweep.trained_scores()
    shown = {
        row: Shown(
            number=place,
            image=sweep.images[row],
            name=shortened(PurePosixPath(sweep.images[row]).name, 24),
            thumbnail=thumbnails[place],
            score=int(trained[row]),
            true_score=int(sweep.scores[row]) if trained[row] != sweep.scores[row] else None,
            folds=fold_words(sweep, row),
        )
        for place, row in enumerate(rows)
    }
    histories = {method: history(sweep, method, rows) for method in sweep.begun}
    return Album(chosen, shown, histories, {method: course(sweep, method, rows) for method in sweep.begun})


def lists(sweep: Sweep, methods: Sequence[str]) -> dict[str, list[Listed]]:
    """By method, what it never kept, what else it dropped most, and what came back; no methods that drop nothing."""
    so_far = dict.fromkeys(sweep.incomplete, " so far")
    # one method's history at a time is held
    found = {method: _lists(history(sweep, method), so_far.get(method, "")) for method in methods}
    dropping = {method: each for method, each in found.items() if any(listed.count for listed in each)}
    most = longest(len(dropping))
    return {method: [replace(each, rows=each.rows[:most]) for each in found] for method, found in dropping.items()}


def longest(methods: int) -> int:
    """How many photos a list holds at most, so that the lists of all these methods fit on one page."""
    return max(FEWEST, min(PHOTOS_OF_A_LIST, LISTS // (3 * max(1, methods))))


def _lists(found: History, so_far: str) -> list[Listed]:
    """so_far : words for a method that lacks rounds or folds, because more of these may change its lists."""
    most = found.dropped_most()
    kinds = {
        f"Never kept once dropping began{so_far}": found.never_kept(),
        f"Dropped most often, but kept at times{so_far}": most[~found.is_never_kept[most]],
        f"Dropped, and back in the last round{so_far}": found.came_back(),
    }
    return [Listed(heading, len(rows), tuple(rows[:PHOTOS_OF_A_LIST].tolist())) for heading, rows in kinds.items()]


def _thumbnail(photo: Image.Image | str) -> Embedded | str:
    return photo if isinstance(photo, str) else embedded(photo)
