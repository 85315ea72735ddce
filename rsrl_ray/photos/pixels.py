"""Decoded photos on disk. If a table has changed, photos that an older file has are copied from it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import Pixels
from rsrl_ray.core.digest import DIGEST_BYTES, bytes_digest
from rsrl_ray.photos.decoding import Decoder, RowsOf
from rsrl_ray.photos.row_file import RowFile
from rsrl_ray.store.files import read_arrays, write_arrays

BESIDE = ".photos"  # suffix of the file that says of which pictures the rows are


class PixelFile(RowFile):
    """uint8 [count, S, S, 3]."""

    def __init__(self, path: Path, count: int, image_size: int) -> None:
        super().__init__(path, count, (image_size, image_size, 3), "|u1", "decoded photos", "decoding")

    @property
    def image_size(self) -> int:
        """S."""
        return self.shape[0]

    @classmethod
    def of(cls, digests: Pixels, decoder: Decoder, cache: Path) -> "PixelFile":
        """The file for pictures with these bytes in this order, as ``decoder`` decodes them. digests : [count, 16]."""
        key = bytes_digest(digests.tobytes() + f"{len(digests)} {decoder.made}".encode())
        return cls(cache.absolute() / f"{key}.npy", len(digests), decoder.image_size)

    def tell(self, digests: Pixels, decoder: Decoder) -> None:
        """Note beside the file of which pictures its rows are, so that later files can copy rows from it."""
        beside = self.path.with_suffix(BESIDE)
        if not beside.exists():  # on a full disk nothing is noted, and photos are decoded again later
            write_arrays(beside, digests=digests, made=np.array(decoder.made))

    def rows_of(self, digests: Pixels, decoder: Decoder, sources: Sequence[str]) -> RowsOf:
        """A function that gives the pixels of photos: it copies those that another file has, and decodes the others.

        The other file has half of these photos or more; of several files, the one that has most. It is verified first.
        digests : [count, 16], of the photos' bytes.
        """
        best, most = None, len(digests) / 2
        for beside in sorted(self.path.parent.glob(f"*{BESIDE}")):
            told = _told(beside, decoder.made)
            if told is None or beside.stem == self.path.stem:
                continue
            file = PixelFile(beside.with_suffix(".npy"), len(told), self.image_size)
            record = file.record()
            if record is None or file.open() is None:
                continue
            found = _places(told, list(record.causes), digests)
            if (found >= 0).sum() >= most:
                best, places, most = file, found, int((found >= 0).sum()) + 1
        there = None if best is None else best.verified()
        if there is None:
            return decoder.rows_of(sources)

        def take(rows: range) -> list[Pixels | str]:
            new = [row for row in rows if places[row] < 0]
            decoded = iter(decoder.rows_of([sources[row] for row in new])(range(len(new))))
            return [next(decoded) if places[row] < 0 else there[places[row]] for row in rows]

        return take


def _told(beside: Path, made: str) -> Pixels | None:
    """The digests that `PixelFile.tell` has noted, [count, 16]; None if it was made in another way or is damaged."""
    found = read_arrays(beside, "digests", "made")
    if found is None or str(found[1]) != made:
        return None
    digests = found[0]
    return digests if digests.dtype == np.uint8 and digests.shape[1:] == (DIGEST_BYTES,) else None


def _places(there: Pixels, without: Sequence[int], wanted: Pixels) -> NDArray[np.int64]:
    """The row of each wanted digest in ``there``, [N]; -1 if it is not there. Rows in ``without`` are not used."""
    usable = np.setdiff1d(np.arange(len(there)), without)
    rows = {there[row].tobytes(): row for row in usable[::-1]}  # the first row of equal ones
    return np.array([rows.get(digest.tobytes(), -1) for digest in wanted], dtype=np.int64)
