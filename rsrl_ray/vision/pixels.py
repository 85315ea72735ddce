"""Decoded photos on disk: one array in one file, made once, atomically, memory-mapped by all who read it."""

import hashlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.lib import format as npy

from rsrl_ray.store.files import write_whole
from rsrl_ray.store.locks import locked
from rsrl_ray.vision.decoding import DIGEST, Pixels, PixelsOf, Progress, Unreadable, digest, in_threads, no_digests

_FORMAT = 1  # part of every key: count up when the same bytes are to give other pixels or another file


@dataclass(frozen=True)
class Record:
    """How decoding went: the fingerprint of the pixels, and row -> cause where a picture is no good."""

    fingerprint: str
    causes: Mapping[int, str]


@dataclass(frozen=True)
class PixelFile:
    """``<key>.npy``, uint8 [count, S, S, 3], beside ``<key>.json``, its `Record`."""

    path: Path
    count: int
    image_size: int

    @classmethod
    def of(cls, digests: Pixels, image_size: int, cache: Path) -> "PixelFile":
        """The file for pictures with these bytes (digests : [count, 16]) in this order."""
        key = hashlib.blake2b(digests.tobytes(), digest_size=DIGEST)
        key.update(f"{len(digests)} {image_size} {PIL.__version__} {_FORMAT}".encode())
        return cls(cache.absolute() / f"{key.hexdigest()}.npy", len(digests), image_size)

    def record(self) -> Record | None:
        """How decoding went; None where it has not been done or its record is damaged."""
        try:
            content = json.loads(self._json.read_text("utf-8"))
            causes = {int(row): str(cause) for row, cause in content["problems"].items()}
            return Record(str(content["fingerprint"]), causes)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def open(self) -> Pixels | None:
        """The pixels, a read-only memory map; None where they are not there, cut short or misshapen."""
        header = self._header()
        try:
            with open(self.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if file.read(len(header)) != header or size != len(header) + self._size:
                    return None
                return np.memmap(file, dtype=np.uint8, mode="r", offset=len(header), shape=self._shape)
        except OSError:
            return None

    def write(
        self,
        pixels_of: PixelsOf,
        progress: Progress | None = None,
        expected: str | None = None,
        threads: int | None = None,
    ) -> Record:
        """Make the file, unless another process has just made it.

        pixels_of : called in ``threads``; where a picture is no good its row stays black.
        expected : the fingerprint that must come out. Raises ValueError where it does not, where a picture
        cannot be read and where the disk is full.
        """
        try:
            with _alone(self.path) as part:
                record = self.record()
                if record is None or self.open() is None:
                    record = self._fill(part, pixels_of, progress, threads)
                    _refuse_unexpected(record, expected)
                    os.replace(part, self.path)
                    self._write_record(record)
        except Unreadable as error:
            raise ValueError(
                f"{error}; every machine of a sweep reads the photos, under the same paths or from a bucket"
            ) from error
        except OSError as error:
            cause = error.strerror or error
            raise ValueError(f"the decoded photos cannot be kept in {self.path.parent} ({cause})") from error
        _refuse_unexpected(record, expected)
        return record

    def _fill(self, part: Path, pixels_of: PixelsOf, progress: Progress | None, threads: int | None) -> Record:
        free = shutil.disk_usage(part.parent).free
        if free < self._size:  # a full disk would kill the process in the middle of a memory map
            raise ValueError(
                f"the decoded photos need {self._size / 1e9:.1f} GB in {part.parent}, "
                f"where {free / 1e9:.1f} GB are free; make room, or take a smaller image_size"
            )
        out = npy.open_memmap(part, mode="w+", dtype=np.uint8, shape=self._shape)
        digests = no_digests(self.count)

        def take(row: int, pixels: Pixels) -> None:
            out[row] = pixels
            digests[row] = digest(out[row].data)

        causes = in_threads(self.count, pixels_of, take, "decoding", progress, threads)
        out.flush()
        fingerprint = hashlib.blake2b(f"{self.image_size} ".encode(), digest_size=DIGEST)
        fingerprint.update(digests.tobytes())
        return Record(fingerprint.hexdigest(), causes)

    def _write_record(self, record: Record) -> None:
        content = {"fingerprint": record.fingerprint, "problems": record.causes}
        write_whole(self._json, json.dumps(content))

    def _header(self) -> bytes:
        header = io.BytesIO()
        described = {"descr": "|u1", "fortran_order": False, "shape": self._shape}
        npy.write_array_header_1_0(header, described)
        return header.getvalue()

    @property
    def _json(self) -> Path:
        return self.path.with_suffix(".json")

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        return (self.count, self.image_size, self.image_size, 3)

    @property
    def _size(self) -> int:
        return self.count * self.image_size**2 * 3


def _refuse_unexpected(record: Record, expected: str | None) -> None:
    if expected is not None and record.fingerprint != expected:
        raise ValueError(
            "the photos come out with other pixels on this machine: the pictures were changed since, or "
            f"Pillow differs (here {PIL.__version__})"
        )


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """Let one process at a time make ``path``; gives the name to write to before the file is moved there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock"), wait=True) as unlocked:
        # Some network file systems have no locks: all decode then, each to a file of its own.
        part = path.with_suffix(".part" if unlocked is None else f".{uuid.uuid4().hex}.part")
        part.unlink(missing_ok=True)  # left by a process that was killed
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)
