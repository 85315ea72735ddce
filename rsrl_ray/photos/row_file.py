"""A file with a row for each photo: one array that is made once, as a whole, and memory-mapped by all readers."""

import io
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.lib import format as npy
from numpy.typing import NDArray

from rsrl_ray.core.digest import bytes_digest
from rsrl_ray.core.errors import system_words
from rsrl_ray.photos.decoding import Progress, RowsOf, Threads, chunks, digest_row, in_threads, no_digests
from rsrl_ray.store.files import write_whole
from rsrl_ray.store.locks import is_shared, locked, share

Array = NDArray[Any]


@dataclass(frozen=True)
class RowRecord:
    """What is known of a file of rows: their fingerprint, and row -> cause for each bad picture."""

    fingerprint: str
    causes: Mapping[int, str]

    @classmethod
    def beside(cls, rows: Path) -> "RowRecord | None":
        """The record of a file of rows; None if there is no record or if it is damaged."""
        try:
            content = json.loads(rows.with_suffix(".json").read_text("utf-8"))
            causes = {int(row): str(cause) for row, cause in content["problems"].items()}
            return cls(str(content["fingerprint"]), causes)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


@dataclass(frozen=True)
class RowFile:
    """``<name>.npy``, [count, *shape] of ``dtype``. Beside it is ``<name>.json``, its `RowRecord`.

    what : what is in it, in words. making : what is done with the photos to make it, in words.
    """

    path: Path
    count: int
    shape: tuple[int, ...]
    dtype: str
    what: str
    making: str

    def record(self) -> RowRecord | None:
        """The record; None if there is no record or if it is damaged."""
        return RowRecord.beside(self.path)

    def open(self) -> Array | None:
        """The rows, a read-only memory map; None if the file is not there, or has another size or header."""
        header = self._header()
        try:
            with open(self.path, "rb") as file:
                share(file)
                size = os.fstat(file.fileno()).st_size
                if file.read(len(header)) != header or size != len(header) + self._size:
                    return None
                return np.memmap(file, dtype=self.dtype, mode="r", offset=len(header), shape=self._whole)
        except OSError:
            return None

    def write(
        self,
        rows_of: RowsOf,
        progress: Progress | None = None,
        expected: str | None = None,
        threads: int | None = None,
        parts: Sequence[range] | None = None,
    ) -> RowRecord:
        """Make the file, unless another process has just made it.

        rows_of : is called in ``threads``, for each of ``parts``; the row of a bad picture stays black.
        expected : the fingerprint that the rows must have. Raises ValueError if they have another one, if a picture
        cannot be read, or if the disk is full.
        """
        with _disk_errors(self), _alone(self.path) as part:
            record = self.record()
            if record is None or self.open() is None:
                record = self._fill(part, rows_of, Threads(self.making, progress, threads), parts)
                _refuse_unexpected(record, expected)
                os.replace(part, self.path)
                self._write_record(record)
        _refuse_unexpected(record, expected)
        return record

    def verified(self) -> Array | None:
        """The rows, as `open` gives them; also None if they do not have the record's fingerprint. Reads all rows."""
        rows, record = self.open(), self.record()
        if rows is None or record is None:
            return None
        digests = no_digests(self.count)
        for row, content in enumerate(rows):
            if row not in record.causes:
                digests[row] = digest_row(_bytes(content))
        return rows if self._fingerprint(digests) == record.fingerprint else None

    def verified_once(self, session: str) -> Array | None:
        """The rows, as `verified` gives them; but a node reads a file once in a ``session``, such as a sweep.

        A damaged file is deleted, so that it is made again.
        """
        with locked(self.path.with_suffix(".lock"), wait=True) if self.path.exists() else nullcontext():
            rows = self.open()
            if rows is None or self._is_seen(session):
                return rows
            if self.verified() is None:
                self._json.unlink(missing_ok=True)
                self.path.unlink(missing_ok=True)
                return None
            self.trust(session)
        return rows

    def trust(self, session: str) -> None:
        """Note that the file is verified in this session, because it was just made or read."""
        with suppress(OSError):  # on a full disk nothing is noted, and the file is read again
            write_whole(self.path.with_suffix(".seen"), self._seen(session))

    def take_from(self, larger: "RowFile", places: Sequence[int]) -> RowRecord | None:
        """Make the file from some rows of a larger file, which is then gone; None if that is not there or is damaged.

        It takes no more disk than the larger file. But if another process reads the larger file, it is copied, and the
        reader keeps it. places : of the rows, ascending. Raises ValueError as `write` does.
        """
        with _disk_errors(self), _alone(self.path) as part:
            if larger.record() is None or larger.verified() is None:
                return None
            os.replace(larger.path, part)
            if is_shared(part):
                copy = part.with_suffix(".copy")
                shutil.copyfile(part, copy)
                os.replace(copy, part)
            record = self._shrink(part, larger, places)
            os.replace(part, self.path)
            self._write_record(record)
        return record

    def _shrink(self, part: Path, larger: "RowFile", places: Sequence[int]) -> RowRecord:
        """Move the rows at these places to the start, in order, so that no row is overwritten before it is moved."""
        size, before, header = self._size // max(1, self.count), len(larger._header()), self._header()  # noqa: SLF001
        digests = no_digests(self.count)
        content = np.memmap(part, dtype=np.uint8, mode="r+")
        for row, place in enumerate(places):
            moved = content[before + place * size : before + (place + 1) * size].copy()
            content[len(header) + row * size : len(header) + (row + 1) * size] = moved
            digests[row] = digest_row(moved.data)
        content[: len(header)] = np.frombuffer(header, dtype=np.uint8)
        content.flush()
        os.truncate(part, len(header) + self._size)
        return RowRecord(self._fingerprint(digests), {})

    def _seen(self, session: str) -> str:
        """The note that a session has read this file; it does not fit the file if the file is changed."""
        found = self.path.stat()
        return json.dumps([session, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns])

    def _is_seen(self, session: str) -> bool:
        with suppress(OSError, ValueError):
            return self.path.with_suffix(".seen").read_text("utf-8") == self._seen(session)
        return False

    def _fill(self, part: Path, rows_of: RowsOf, threads: Threads, parts: Sequence[range] | None) -> RowRecord:
        free = shutil.disk_usage(part.parent).free
        if free < self._size:  # writing to a memory map on a full disk would end the process
            raise ValueError(
                f"the {self.what} need {self._size / 1e9:.1f} GB in {part.parent}, but {free / 1e9:.1f} GB are free; "
                "make room, or take a smaller image_size"
            )
        out = npy.open_memmap(part, mode="w+", dtype=self.dtype, shape=self._whole)
        digests = no_digests(self.count)

        def take(row: int, content: Array) -> None:
            out[row] = content
            digests[row] = digest_row(_bytes(out[row]))

        causes = in_threads(parts or chunks(self.count), rows_of, take, threads)
        out.flush()
        return RowRecord(self._fingerprint(digests), causes)

    def _fingerprint(self, digests: Array) -> str:
        return bytes_digest(f"{self.shape[0]} ".encode() + digests.tobytes())

    def _write_record(self, record: RowRecord) -> None:
        made = {"fingerprint": record.fingerprint, "problems": record.causes}
        content = made | {"shape": self.shape, "dtype": self.dtype}
        write_whole(self._json, json.dumps(content))

    def _header(self) -> bytes:
        header = io.BytesIO()
        described = {"descr": self.dtype, "fortran_order": False, "shape": self._whole}
        npy.write_array_header_1_0(header, described)
        return header.getvalue()

    @property
    def _json(self) -> Path:
        return self.path.with_suffix(".json")

    @property
    def _whole(self) -> tuple[int, ...]:
        return (self.count, *self.shape)

    @property
    def _size(self) -> int:
        return math.prod(self._whole) * np.dtype(self.dtype).itemsize


def _bytes(row: Array) -> memoryview:
    return np.ascontiguousarray(row).reshape(-1).view(np.uint8).data


def _refuse_unexpected(record: RowRecord, expected: str | None) -> None:
    if expected is not None and record.fingerprint != expected:
        raise ValueError(
            "the photos have other pixels on this machine: the pictures were changed, or the version of Pillow differs "
            f"(here {PIL.__version__}); restore the pictures, or install the same Pillow"
        )


@contextmanager
def _disk_errors(file: RowFile) -> Iterator[None]:
    """Make a ValueError of an error of the disk."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"the {file.what} cannot be written to {file.path.parent} ({system_words(error)})") from error


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """Let one process at a time make ``path``. Gives the name of a file to write to, before it is moved to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock"), wait=True) as unlocked:
        # Some network file systems have no locks. Then all processes decode, each to its own file.
        part = path.with_suffix(".part" if unlocked is None else f".{uuid.uuid4().hex}.part")
        part.unlink(missing_ok=True)  # a process that was killed may have left it
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)
