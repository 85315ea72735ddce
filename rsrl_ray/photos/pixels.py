"""Decoded photos on disk; those of a table that has changed are taken from the file of before, where they are in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from rsrl_ray.config import PHOTO_MEMORY
from rsrl_ray.core.arrays import Pixels
from rsrl_ray.core.digest import DIGEST_BYTES, bytes_digest
from rsrl_ray.photos.decoding import Decoder, RowsOf
from rsrl_ray.photos.row_file import RowFile
from rsrl_ray.store.files import read_arrays, write_arrays

_FORMAT = 2  # part of every key: count up when the same bytes are to give other pixels or another file
BESIDE = ".photos"  # the end of the file that says which pictures the rows are of


class PixelFile(RowFile):
    """uint8 [count, S, S, 3]."""

    def __init__(self, path: Path, count: int, image_size: int) -> None:
        super().__init__(path, count, (image_size, image_size, 3), "|u1", "decoded photos", "decoding")

    @property
    def image_size(self) -> int:
        """S."""
        return self.shape[0]

    @classmethod
    def of(cls, digests: Pixels, image_size: int, cache: Path, memory: float = PHOTO_MEMORY) -> "PixelFile":
        """The file for pictures with these bytes (digests : [count, 16]) in this order.

        memory : GiB that decoding one may take, which decides which of them are no good.
        """
        return cls._keyed(digests, image_size, cache, _how(memory))

    def tell(self, digests: Pixels, memory: float = PHOTO_MEMORY) -> None:
        """Note beside the file which pictures its rows are of, so that later files can take rows from it."""
        beside = self.path.with_suffix(BESIDE)
        if not beside.exists():  # on a full disk they are decoded again
            write_arrays(beside, digests=digests, made=np.array(_made(self.image_size, _how(memory))))

    def older(self, digests: Pixels, memory: float = PHOTO_MEMORY) -> "Older | None":
        """Of the other files the one with most of these pictures, if it has half of them; every byte of it is read."""
        best, most = None, len(digests) / 2
        for beside in sorted(self.path.parent.glob(f"*{BESIDE}")):
            told = _told(beside, _made(self.image_size, _how(memory)))
            if told is None or beside.stem == self.path.stem:
                continue
            file = PixelFile(beside.with_suffix(".npy"), len(told), self.image_size)
            record = file.record()
            if record is None or file.open() is None:
                continue
            places = _places(told, list(record.causes), digests)
            if (places >= 0).sum() >= most:
                best, most = Older(file, places), int((places >= 0).sum()) + 1
        return None if best is None or best.file.verified() is None else best

    @classmethod
    def remove_older(cls, digests: Pixels, image_size: int, cache: Path) -> None:
        """Remove what a version before has made of the same pictures: it takes as much room again."""
        for version in range(1, _FORMAT):
            old = cls._keyed(digests, image_size, cache, str(version)).path
            for suffix in (".npy", ".json", ".lock", BESIDE):
                old.with_suffix(suffix).unlink(missing_ok=True)

    @classmethod
    def _keyed(cls, digests: Pixels, image_size: int, cache: Path, how: str) -> "PixelFile":
        key = bytes_digest(digests.tobytes() + f"{len(digests)} {_made(image_size, how)}".encode())
        return cls(cache.absolute() / f"{key}.npy", len(digests), image_size)


@dataclass(frozen=True)
class Older:
    """An older file of decoded photos. places : of each photo its row there, [N], -1 where it has none."""

    file: PixelFile
    places: NDArray[np.int64]

    def rows_of(self, decoder: Decoder, sources: Sequence[str]) -> RowsOf:
        """What takes the photos from there, and decodes the others."""
        there = self.file.open()
        assert there is not None, self.file

        def take(rows: range) -> list[Pixels | str]:
            new = [row for row in rows if self.places[row] < 0]
            decoded = iter(decoder.rows_of([sources[row] for row in new])(range(len(new))))
            return [next(decoded) if self.places[row] < 0 else there[self.places[row]] for row in rows]

        return take


def _how(memory: float) -> str:
    return f"{_FORMAT}" + ("" if memory == PHOTO_MEMORY else f" {memory:g}")


def _made(image_size: int, how: str) -> str:
    """All that pixels depend on besides the bytes of the picture."""
    return f"{image_size} {PIL.__version__} {how}"


def _told(beside: Path, made: str) -> Pixels | None:
    """What `PixelFile.tell` has noted, [count, 16]; None where it was made otherwise, or cannot be read."""
    found = read_arrays(beside, "digests", "made")
    if found is None or str(found[1]) != made:
        return None
    digests = found[0]
    return digests if digests.dtype == np.uint8 and digests.shape[1:] == (DIGEST_BYTES,) else None


def _places(there: Pixels, without: Sequence[int], wanted: Pixels) -> NDArray[np.int64]:
    """The row of each wanted digest among those that are ``there``, but for some, or -1, [N]."""
    rows = {
        there[row].tobytes(): row for row in np.setdiff1d(np.arange(len(there)), without)[::-1]
    }  # the first of equal
    return np.array([rows.get(digest.tobytes(), -1) for digest in wanted], dtype=np.int64)
