"""Reads the rows of tables of photos: CSV, Parquet, AVA.txt, or a folder for each score."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from rsrl_ray.photos.formats import picture_suffixes

INTEGER = re.compile(r"[+-]?\d{1,18}(\.0*)?", re.ASCII)
GROUP = "group"
TABLE_COLUMNS = ("image", "score")
_AVA_VOTES = 10
_LITTER = ("Thumbs.db", "desktop.ini", "@eaDir", "__MACOSX")  # what systems put into folders of pictures

Unit = Literal["line", "row"]


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with the photos.

    line : of a CSV (its header is line 1) or of AVA.txt, or row of a Parquet file (from 1), see ``unit``; None for a
    folder's photos and for problems of the whole table.
    image : its name in the table.
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
class TableRows:
    """N rows of a table, as texts.

    images : N names. texts : N scores. lines : N numbers, or None for a folder.
    problems : what cannot be read as a row. notes : what is unusual, but allowed.
    groups : N names of groups ("": the photo is alone), or None if the table has no such column.
    """

    images: Sequence[str]
    texts: Sequence[str]
    lines: Sequence[int] | None
    unit: Unit = "line"
    problems: Sequence[Problem] = ()
    notes: Sequence[str] = ()
    groups: Sequence[str] | None = None


def read_rows(path: Path) -> TableRows:
    """Read a table or a folder. Raises ValueError, OSError and UnicodeDecodeError if it cannot be read."""
    if path.is_dir():
        return _read_folder(path)
    if path.name.lower() == "ava.txt":
        return _read_ava(path)
    if path.suffix.lower() == ".csv":
        return _read_csv(path)
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    raise ValueError(
        f"{path}: not a known kind of table; give a .csv or .parquet file with the columns image and score, AVA's "
        "AVA.txt, or a folder with one sub-folder of pictures for each score"
    )


def _read_csv(path: Path) -> TableRows:
    cells_of: dict[str, list[str]] = {name: [] for name in (*TABLE_COLUMNS, GROUP)}
    lines = []
    rows = csv.reader(io.StringIO(path.read_text("utf-8-sig")), strict=True)
    columns: dict[str, int] = {}
    line = 1
    try:
        for cells in rows:
            cells = [cell.strip() for cell in cells]
            if any(cells) and not columns:
                columns = _columns(path, cells)
            elif any(cells):
                for name, column in columns.items():
                    cells_of[name].append(cells[column] if column < len(cells) else "")
                lines.append(line)
            line = rows.line_num + 1  # not a count of rows, because a quoted cell may have line breaks
    except csv.Error as error:
        raise ValueError(f"{path}, line {line}: this is not CSV ({error})") from error
    if not columns:
        raise ValueError(f"{path}: empty; its first line must name the columns image and score")
    return TableRows(cells_of["image"], cells_of["score"], lines, groups=cells_of[GROUP] if GROUP in columns else None)


def _read_parquet(path: Path) -> TableRows:
    try:
        file = pq.ParquetFile(path)
        columns = _columns(path, file.schema_arrow.names)
        content = file.read(columns=list(columns))
    except pa.ArrowException as error:
        raise ValueError(f"{path}: cannot be read as a Parquet file ({error})") from error
    texts: dict[str, list[str]] = {}
    for name in columns:
        try:
            texts[name] = [(text or "").strip() for text in content[name].cast(pa.string()).to_pylist()]
        except pa.ArrowException as error:
            kind = content[name].type
            raise ValueError(f"{path}: column {name} has {kind}, not names or numbers ({error})") from error
    lines = range(1, len(content) + 1)
    return TableRows(texts["image"], texts["score"], lines, "row", groups=texts.get(GROUP))


def _columns(path: Path, found: Sequence[str]) -> dict[str, int]:
    """The places of the columns image, score and, if there is one, group."""
    names = ", ".join(repr(name) for name in found)
    if any(found.count(name) != 1 for name in TABLE_COLUMNS):
        raise ValueError(f"{path}: needs the columns 'image' and 'score', once each; it has: {names}")
    if found.count(GROUP) > 1:
        raise ValueError(f"{path}: has the column 'group' more than once; it has: {names}")
    return {name: found.index(name) for name in (*TABLE_COLUMNS, GROUP) if name in found}


def _read_ava(path: Path) -> TableRows:
    prefix = "images/" if (path.parent / "images").is_dir() else ""
    images, scores, lines, problems = [], [], [], []
    for line, text in enumerate(path.read_text("utf-8-sig").splitlines(), start=1):
        cells = text.split()
        if not cells:
            continue
        head = cells[1 : 2 + _AVA_VOTES]
        if len(head) < 1 + _AVA_VOTES or not all(re.fullmatch(r"[0-9]{1,15}", cell) for cell in head):
            problems.append(Problem(line, None, "the line needs an index, an image's id and ten counts of votes"))
            continue
        votes = [int(cell) for cell in head[1:]]
        images.append(f"{prefix}{head[0]}.jpg")
        scores.append(str(_mean_vote(votes)) if any(votes) else "")
        lines.append(line)
    return TableRows(images, scores, lines, problems=problems)


def _mean_vote(votes: Sequence[int]) -> int:
    """The mean of the votes for 1, 2, ..., rounded half up. It is exact, because it is computed in whole numbers."""
    total = sum(votes)
    return (2 * sum(vote * count for vote, count in enumerate(votes, start=1)) + total) // (2 * total)


def _read_folder(path: Path) -> TableRows:
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith(".") and entry.name not in _LITTER)
    folders = [entry for entry in entries if entry.is_dir()]
    graded = [folder for folder in folders if INTEGER.fullmatch(folder.name)]
    problems = [
        Problem(None, folder.name, "the folder's name is not an integer score")
        for folder in folders
        if not INTEGER.fullmatch(folder.name)
    ]
    images, scores = [], []
    left_out = Counter[str]()
    for folder in sorted(graded, key=lambda folder: int(float(folder.name))):
        for entry in sorted(folder.iterdir()):
            kind = _other_kind(entry)
            if kind:
                left_out[kind] += 1
            else:
                images.append(f"{folder.name}/{entry.name}")
                scores.append(folder.name)
    loose = len(entries) - len(folders)
    notes = [f"not read: {loose} files that lie beside the folders of scores"] if loose else []
    if left_out:
        most_first = sorted(left_out.items(), key=lambda one: (-one[1], one[0]))
        listed = ", ".join(f"{count:,} {kind}" for kind, count in most_first)
        notes.append(f"not read, because they are no pictures: {listed}")
    return TableRows(images, scores, None, problems=problems, notes=notes)


def _other_kind(entry: Path) -> str:
    """What an entry of a folder of pictures is, in a word, if it is no picture; "" for a picture.

    A file without a suffix and a folder count as pictures here. Whoever reads them refuses them.
    """
    if entry.name.startswith(".") or entry.name in _LITTER:
        return entry.name if entry.name in (".DS_Store", *_LITTER) else "hidden files"
    suffix = entry.suffix.lower()
    return "" if not suffix or suffix in picture_suffixes() or entry.is_dir() else suffix
