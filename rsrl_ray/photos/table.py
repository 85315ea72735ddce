"""Reads a table of photos: CSV, Parquet, AVA.txt, or a folder for each score."""

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
    """N photos of a table, good or bad. Their names are public, see `public_name`.

    sources : N absolute paths or URIs, "" if no image is named. It is not yet known whether these files exist, see
    `alike`.
    scores : [N], 0 if ``faults`` (row -> what is wrong with its score) has the row.
    root : the folder that paths in the table are relative to.
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
        """A file whose name looks the same as the row's image; None if there is none."""
        image = _plain(self.images[row])
        return None if not image or URI.match(image) else _alike(self.root, image)

    def where(self, row: int) -> str:
        """The name of a row in a message about another row: ``line 3``; in a folder, the picture's name."""
        return self.images[row] if self.lines is None else f"{self.unit} {self.lines[row]}"


def read_table(source: str | Path) -> Table:
    """Read a table of photos without looking at its pictures.

    - ``.csv`` and ``.parquet`` have the columns image (a URI, or a path that is absolute or relative to the table's
      folder) and score. They may have the column group: photos with the same name there, for example a photographer,
      stay together.
    - ``AVA.txt`` has in each line an index, an image's id and its votes for 1 to 10. The score is the mean vote,
      rounded half up.
    - A folder has one sub-folder of pictures for each score.

    Raises ValueError if the table cannot be read. What is wrong with single rows is in the result.
    """
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:/", str(source)):
        raise ValueError(
            f"{source}: the table of photos must be a file or folder of this machine (the pictures in a CSV or Parquet "
            "file may be s3:// or gs://)"
        )
    path = Path(os.path.abspath(source))
    try:
        table = _table(path, read_rows(path))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({system_words(error)})") from error
    if not table.images and not table.problems:
        raise ValueError(f"{path}: there are no photos in it")
    return table


def public_name(image: str) -> str:
    """The name of a photo that is stored and shown. It has no user, password or keys of a URI."""
    return redacted(image) if URI.match(image) else image


def photo_sources(table: str | Path, images: Iterable[str]) -> dict[str, str]:
    """The places of photos: name -> absolute path or URI.

    table : the table of photos in the experiment. The file must exist only if URIs of photos have keys.
    images : names of photos, see `public_name`.
    """
    path = Path(os.path.abspath(table))
    root = _root(path)
    sources = {image: _there(root, image) for image in images}
    if any(URI.match(image) and "***" in image for image in sources):
        sources |= {image: uri for image, uri in _keyed(path).items() if image in sources}
    return sources


def _keyed(table: Path) -> Mapping[str, str]:
    """The table's URIs that have keys, by public name; empty if the table cannot be read."""
    try:
        return _keyed_at(table, table.stat().st_mtime_ns)
    except (OSError, ValueError):
        return {}


@lru_cache(maxsize=1)  # because callers ask for one photo at a time
def _keyed_at(table: Path, changed_ns: int) -> Mapping[str, str]:
    return {public_name(image): image for image in read_rows(table).images if public_name(image) != image}


def _root(table: Path) -> str:
    """The folder that a table's paths are relative to: its own folder; a folder of scores itself."""
    is_file = table.name.lower() == "ava.txt" or table.suffix.lower() in (".csv", ".parquet")
    return str(table.parent if is_file and not table.is_dir() else table)


def _table(path: Path, rows: TableRows) -> Table:
    """Make a table of rows: numbers of the scores, and paths of the images."""
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
    """The absolute path or URI of an image, in a form in which two names of one file are equal."""
    image = _plain(image)
    return image if not image or URI.match(image) else os.path.normpath(os.path.join(root, image))


def _plain(image: str) -> str:
    """The path of a file:// URI; other names as they are."""
    return unquote(urlsplit(image, allow_fragments=False).path) if image.lower().startswith("file://") else image


def _there(root: str, image: str) -> str:
    """The `_source`; if there is no such file, one whose name looks the same, if there is one."""
    source = _source(root, image)
    if not source or URI.match(source) or os.path.lexists(source):
        return source
    return _alike(root, _plain(image)) or source


def _alike(root: str, image: str) -> str | None:
    """A file whose name looks the same: accents composed or not, backslashes of Windows, blanks at the ends."""
    turned = image.replace("\\", "/").lstrip("\ufeff")
    for name in (turned, *(unicodedata.normalize(form, turned) for form in ("NFC", "NFD")), f"{image} ", f" {image}"):
        path = os.path.normpath(os.path.join(root, name))
        if os.path.lexists(path):
            return path
    return None
