"""Decoded photos on disk."""

import hashlib
from pathlib import Path

import PIL

from rsrl_ray.config import PHOTO_MEMORY
from rsrl_ray.photos.decoding import DIGEST, Pixels
from rsrl_ray.photos.row_file import RowFile

_FORMAT = 2  # part of every key: count up when the same bytes are to give other pixels or another file


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
        return cls._keyed(digests, image_size, cache, f"{_FORMAT}" + ("" if memory == PHOTO_MEMORY else f" {memory:g}"))

    @classmethod
    def remove_older(cls, digests: Pixels, image_size: int, cache: Path) -> None:
        """Remove what a version before has made of the same pictures: it takes as much room again."""
        for version in range(1, _FORMAT):
            old = cls._keyed(digests, image_size, cache, str(version)).path
            for suffix in (".npy", ".json", ".lock"):
                old.with_suffix(suffix).unlink(missing_ok=True)

    @classmethod
    def _keyed(cls, digests: Pixels, image_size: int, cache: Path, how: str) -> "PixelFile":
        key = hashlib.blake2b(digests.tobytes(), digest_size=DIGEST)
        key.update(f"{len(digests)} {image_size} {PIL.__version__} {how}".encode())
        return cls(cache.absolute() / f"{key.hexdigest()}.npy", len(digests), image_size)
