"""The table of photos as it stands on disk: CSV, Parquet, AVA.txt, or a folder per score."""

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_INTEGER = re.compile(r"[+-]?\d{1,18}(\.0*)?", re.ASCII)
_AVA_VOTES = 10

Unit = Literal["line", "row"]


@dataclass(frozen=True)
class Problem:
    """Something wrong with the photos.

    line : of the CSV or AVA.txt (a CSV's header is line 1) or row of the Parquet file (from 1), see ``unit``;
    None for a folder's photos and for problems of the whole table.
    image : as the table names it.
    """

    line: int | None
    image: str | None
    message: str
    unit: Unit = "line"

    def __str__(self) -> str:
        line = None if self.line is None else f"{self.unit} {self.line}"
        where = ", ".join(part for part in (line, self.image) if part)
        return f"{where}: {self.message}" if where else self.message


@dataclass(frozen=True)
class Table:
    """N photos as they stand in the table, whether or not they are any good.

    images : N names; sources : N absolute paths or URIs, "" where no image is named.
    scores : [N], 0 where ``faults`` (row -> what is wrong with its score) has the row.
    lines : [N], or None for a folder. problems : what could not be read as a row at all.
    """

    images: tuple[str, ...]
    sources: tuple[str, ...]
    scores: NDArray[np.int64]
    faults: Mapping[int, str]
    lines: NDArray[np.int64] | None = None
    unit: Unit = "line"
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    def problem(self, row: int, message: str) -> Problem:
        """A problem of one row."""
        line = None if self.lines is None else int(self.lines[row])
        return Problem(line, self.images[row] or None, message, self.unit)

    def where(self, row: int) -> str:
        """How a message about another row names this one: ``line 3``; in a folder its picture."""
        return self.images[row] if self.lines is None else f"{self.unit} {self.lines[row]}"


def read_table(source: str | Path) -> Table:
    """Read a table of photos without looking at its pictures.

    ``.csv`` and ``.parquet`` have the columns image (a path, relative to the table's folder or absolute, or a
    URI) and score. ``AVA.txt`` has, per line, an index, an image's id and its votes for 1 to 10; the score is
    the mean vote, rounded half up. A folder has one sub-folder of pictures per score.

    Raises ValueError where the table itself cannot be read; what is wrong with single rows is in the result.
    """
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:/", str(source)):
        raise ValueError(
            f"{source}: the table of photos must be a file or folder of this machine "
            "(the pictures that a CSV or Parquet file names may be s3:// or gs://)"
        )
    path = Path(os.path.abspath(source))
    try:
        table = _read(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not table.images and not table.problems:
        raise ValueError(f"{path}: no photos in it")
    return table


def photo_sources(table: str | Path, images: Iterable[str]) -> dict[str, str]:
    """Where photos lie: name -> absolute path or URI.

    table : the table of photos as the experiment names it; it need not be there any more. images : as it names them.
    """
    root = _root(Path(os.path.abspath(table)))
    return {image: _source(root, image) for image in images}


def _root(table: Path) -> str:
    """What a table's paths are relative to: the folder it lies in; of a folder per score, that folder."""
    is_file = table.name.lower() == "ava.txt" or table.suffix.lower() in (".csv", ".parquet")
    return str(table.parent if is_file and not table.is_dir() else table)


def _read(path: Path) -> Table:
    if path.is_dir():
        return _read_folder(path)
    if path.name.lower() == "ava.txt":
        return _read_ava(path)
    if path.suffix.lower() == ".csv":
        return _read_csv(path)
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    raise ValueError(
        f"{path}: not a kind of table that is known; give a .csv or .parquet file with the columns image and "
        "score, AVA's AVA.txt, or a folder with one sub-folder of pictures per score"
    )


def _read_csv(path: Path) -> Table:
    images, scores, lines = [], [], []
    rows = csv.reader(io.StringIO(path.read_text("utf-8-sig")), strict=True)
    columns: tuple[int, ...] = ()
    line = 1
    try:
        for cells in rows:
            cells = [cell.strip() for cell in cells]
            if any(cells) and not columns:
                columns = _columns(path, cells)
            elif any(cells):
                image, score = (cells[column] if column < len(cells) else "" for column in columns)
                images.append(image)
                scores.append(score)
                lines.append(line)
            line = rows.line_num + 1  # a quoted cell may hold line breaks: a row starts after the one before
    except csv.Error as error:
        raise ValueError(f"{path}, line {line}: not CSV ({error})") from error
    if not columns:
        raise ValueError(f"{path}: empty; its first line must name the columns image and score")
    return _table(path, images, scores, lines, "line")


def _read_parquet(path: Path) -> Table:
    try:
        file = pq.ParquetFile(path)
        _columns(path, file.schema_arrow.names)
        content = file.read(columns=["image", "score"])
    except pa.ArrowException as error:
        raise ValueError(f"{path}: not a Parquet file that can be read ({error})") from error
    texts: dict[str, list[str]] = {}
    for name in ("image", "score"):
        try:
            texts[name] = [(text or "").strip() for text in content[name].cast(pa.string()).to_pylist()]
        except pa.ArrowException as error:
            kind = content[name].type
            raise ValueError(f"{path}: column {name} holds {kind}, not names or numbers ({error})") from error
    return _table(path, texts["image"], texts["score"], range(1, len(content) + 1), "row")


def _columns(path: Path, found: Sequence[str]) -> tuple[int, ...]:
    """Where image and score stand among the columns."""
    if found.count("image") != 1 or found.count("score") != 1:
        names = ", ".join(repr(name) for name in found)
        raise ValueError(f"{path}: needs the columns 'image' and 'score', once each; found: {names}")
    return found.index("image"), found.index("score")


def _read_ava(path: Path) -> Table:
    prefix = "images/" if (path.parent / "images").is_dir() else ""
    images, scores, lines, problems = [], [], [], []
    for line, text in enumerate(path.read_text("utf-8-sig").splitlines(), start=1):
        cells = text.split()
        if not cells:
            continue
        head = cells[1 : 2 + _AVA_VOTES]
        if len(head) < 1 + _AVA_VOTES or not all(re.fullmatch(r"[0-9]{1,15}", cell) for cell in head):
            problems.append(Problem(line, None, "not an index, an image's id and ten counts of votes"))
            continue
        votes = [int(cell) for cell in head[1:]]
        images.append(f"{prefix}{head[0]}.jpg")
        scores.append(str(_mean_vote(votes)) if any(votes) else "")
        lines.append(line)
    return _table(path, images, scores, lines, "line", problems)


def _mean_vote(votes: Sequence[int]) -> int:
    """The mean of the votes for 1, 2, ..., rounded half up; in whole numbers, so exactly."""
    total = sum(votes)
    return (2 * sum(vote * count for vote, count in enumerate(votes, start=1)) + total) // (2 * total)


def _read_folder(path: Path) -> Table:
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    folders = [entry for entry in entries if entry.is_dir()]
    graded = [folder for folder in folders if _INTEGER.fullmatch(folder.name)]
    problems = [
        Problem(None, folder.name, "the folder's name is not an integer score")
        for folder in folders
        if not _INTEGER.fullmatch(folder.name)
    ]
    images, scores = [], []
    for folder in sorted(graded, key=lambda folder: int(float(folder.name))):
        for name in sorted(os.listdir(folder)):
            if not name.startswith("."):
                images.append(f"{folder.name}/{name}")
                scores.append(folder.name)
    loose = len(entries) - len(folders)
    notes = [f"not read: {loose} files that lie beside the folders of scores"] if loose else []
    return _table(path, images, scores, None, "line", problems, notes)


def _table(
    path: Path,
    images: Sequence[str],
    scores: Sequence[str],
    lines: Sequence[int] | None,
    unit: Unit,
    problems: Sequence[Problem] = (),
    notes: Sequence[str] = (),
) -> Table:
    """A table from its texts: scores made numbers, images made paths."""
    numbers = np.zeros(len(scores), dtype=np.int64)
    faults = {}
    for row, text in enumerate(scores):
        if _INTEGER.fullmatch(text):
            numbers[row] = int(text.split(".")[0])
        else:
            faults[row] = f"the score is not an integer: {text[:40]!r}" if text else "the score is empty"
    places = photo_sources(path, images)
    sources = tuple(places[image] for image in images)
    where = None if lines is None else np.array(lines, dtype=np.int64)
    return Table(tuple(images), sources, numbers, faults, where, unit, tuple(problems), tuple(notes))


def _source(root: str, image: str) -> str:
    """An image's absolute path or URI, written in one way only, so that two names of one file are seen."""
    if not image:
        return ""
    if image.lower().startswith("file://"):
        image = unquote(urlsplit(image, allow_fragments=False).path)
    if URI.match(image):
        return image
    return os.path.normpath(os.path.join(root, image))
