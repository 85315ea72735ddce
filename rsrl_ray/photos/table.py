"""The table of photos as it stands on disk: CSV, Parquet, AVA.txt, or a folder per score."""

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.errors import system_words
from rsrl_ray.photos.readers import INTEGER, Problem, TableRows, read_rows
from rsrl_ray.store.location import URI, redacted


@dataclass(frozen=True, kw_only=True)
class Table(TableRows):
    """N photos as they stand in the table, whether or not they are any good; their names are public, see `public_name`.

    sources : N absolute paths or URIs, "" if no image is named. Whether a file is there nobody has looked yet, see
    `alike`.
    scores : [N], 0 if ``faults`` (row -> what is wrong with its score) has the row.
    root : what paths in it are relative to.
    """

    sources: tuple[str, ...]
    scores: NDArray[np.int64]
    faults: Mapping[int, str]
    root: str

    def problem(self, row: int, message: str) -> Problem:
        """A problem of one row."""
        line = None if self.lines is None else self.lines[row]
        return Problem(line, self.images[row] or None, message, self.unit)

    def alike(self, row: int) -> str | None:
        """In the place of a source that is not there, a file whose name is the same to the eye, if there is one."""
        image = _plain(self.images[row])
        return None if not image or URI.match(image) else _alike(self.root, image)

    def where(self, row: int) -> str:
        """How a message about another row names this one: ``line 3``; in a folder its picture."""
        return self.images[row] if self.lines is None else f"{self.unit} {self.lines[row]}"


def read_table(source: str | Path) -> Table:
    """Read a table of photos without looking at its pictures.

    ``.csv`` and ``.parquet`` have the columns image (a path, relative to the table's folder or absolute, or a URI) and
    score, and may have group: photos with one name there, such as a photographer or a burst, stay together. ``AVA.txt``
    has, per line, an index, an image's id and its votes for 1 to 10; the score is the mean vote, rounded half up. A
    folder has one sub-folder of pictures per score.

    Raises ValueError if the table itself cannot be read; what is wrong with single rows is in the result.
    """
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:/", str(source)):
        raise ValueError(
            f"{source}: the table of photos must be a file or folder of this machine "
            "(the pictures that a CSV or Parquet file names may be s3:// or gs://)"
        )
    path = Path(os.path.abspath(source))
    try:
        table = _table(path, read_rows(path))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({system_words(error)})") from error
    if not table.images and not table.problems:
        raise ValueError(f"{path}: no photos in it")
    return table


def public_name(image: str) -> str:
    """A photo's name in all that is kept and shown of it: a URI's user, password and keys are not in it."""
    return redacted(image) if URI.match(image) else image


def photo_sources(table: str | Path, images: Iterable[str]) -> dict[str, str]:
    """Where photos lie: name -> absolute path or URI.

    table : the table of photos as the experiment names it; it need not be there any more, but for photos whose URIs
    hold keys. images : their names, see `public_name`.
    """
    path = Path(os.path.abspath(table))
    root = _root(path)
    sources = {image: _there(root, image) for image in images}
    if any(URI.match(image) and "***" in image for image in sources):
        sources |= {image: uri for image, uri in _keyed(path).items() if image in sources}
    return sources


def _keyed(table: Path) -> Mapping[str, str]:
    """The table's URIs that hold keys, by public name; none if it cannot be read."""
    try:
        return _keyed_at(table, table.stat().st_mtime_ns)
    except (OSError, ValueError):
        return {}


@lru_cache(maxsize=1)  # it is asked for one photo at a time
def _keyed_at(table: Path, changed_ns: int) -> Mapping[str, str]:
    return {public_name(image): image for image in read_rows(table).images if public_name(image) != image}


def _root(table: Path) -> str:
    """What a table's paths are relative to: the folder it lies in; of a folder per score, that folder."""
    is_file = table.name.lower() == "ava.txt" or table.suffix.lower() in (".csv", ".parquet")
    return str(table.parent if is_file and not table.is_dir() else table)


def _table(path: Path, rows: TableRows) -> Table:
    """A table from its texts: scores made numbers, images made paths."""
    numbers = np.zeros(len(rows.texts), dtype=np.int64)
    faults = {}
    for row, text in enumerate(rows.texts):
        if INTEGER.fullmatch(text):
            numbers[row] = int(text.split(".")[0])
        else:
            faults[row] = f"the score is not an integer: {text[:40]!r}" if text else "the score is empty"
    root = _root(path)
    sources = tuple(_source(root, image) for image in rows.images)
    told = vars(rows) | {"images": tuple(map(public_name, rows.images))}
    return Table(**told, sources=sources, scores=numbers, faults=faults, root=root)


def _source(root: str, image: str) -> str:
    """An image's absolute path or URI, written in one way only, so that two names of one file are seen."""
    image = _plain(image)
    return image if not image or URI.match(image) else os.path.normpath(os.path.join(root, image))


def _plain(image: str) -> str:
    """The path of a file:// URI; all else as it is."""
    return unquote(urlsplit(image, allow_fragments=False).path) if image.lower().startswith("file://") else image


def _there(root: str, image: str) -> str:
    """`_source`, or a file that is there whose name is the same to the eye."""
    source = _source(root, image)
    if not source or URI.match(source) or os.path.lexists(source):
        return source
    return _alike(root, _plain(image)) or source


def _alike(root: str, image: str) -> str | None:
    """A file whose name is the same to the eye: accents composed or not, Windows' backslashes, blanks at its ends."""
    turned = image.replace("\\", "/").lstrip("\ufeff")
    for name in (turned, *(unicodedata.normalize(form, turned) for form in ("NFC", "NFD")), f"{image} ", f" {image}"):
        path = os.path.normpath(os.path.join(root, name))
        if os.path.lexists(path):
            return path
    return None
