"""Decoded photos on disk."""

import hashlib
from pathlib import Path

import PIL

from rsrl_ray.photos.decoding import DIGEST, Pixels
from rsrl_ray.photos.row_file import RowFile

_FORMAT = 1  # part of every key: count up when the same bytes are to give other pixels or another file


class PixelFile(RowFile):
    """uint8 [count, S, S, 3]."""

    def __init__(self, path: Path, count: int, image_size: int) -> None:
        super().__init__(path, count, (image_size, image_size, 3), "|u1", "decoded photos", "decoding")

    @property
    def image_size(self) -> int:
        """S."""
        return self.shape[0]

    @classmethod
    def of(cls, digests: Pixels, image_size: int, cache: Path) -> "PixelFile":
        """The file for pictures with these bytes (digests : [count, 16]) in this order."""
        key = hashlib.blake2b(digests.tobytes(), digest_size=DIGEST)
        key.update(f"{len(digests)} {image_size} {PIL.__version__} {_FORMAT}".encode())
        return cls(cache.absolute() / f"{key.hexdigest()}.npy", len(digests), image_size)
