"""Many pictures at once: read and decoded in threads, here or on other machines."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import PIL
from numpy.typing import NDArray

from rsrl_ray.config import PHOTO_MEMORY
from rsrl_ray.core.arrays import Pixels
from rsrl_ray.core.digest import DIGEST_BYTES, bytes_digest
from rsrl_ray.photos.picture import decode_photo, quiet_pillow
from rsrl_ray.photos.source import Unreadable, read_bytes

Progress = Callable[[str, int, int], None]
"""What is done ("reading", "decoding"), done so far, total."""

T = TypeVar("T")

RowsOf = Callable[[range], Sequence[NDArray[Any] | str]]
"""Rows -> what is made of each photo, such as its pixels [S, S, 3], or why its picture is no good."""


class Run:
    """Calls a function, here, or in a class made of it on another machine; to be called from so many ``threads``."""

    threads: int | None = None
    """None: as Python likes."""

    def __call__(self, function: Callable[..., list[Pixels | str]], *arguments: Any) -> list[Pixels | str]:
        """Call it."""
        return function(*arguments)


HERE = Run()
_PHOTOS_A_TASK = 32  # photos per task: a task each would be a quarter of a million objects for AVA


def digest_row(data: bytes | memoryview) -> Pixels:
    """A photo's digest, [16] uint8."""
    return np.frombuffer(bytes.fromhex(bytes_digest(data)), dtype=np.uint8)


def no_digests(count: int) -> Pixels:
    """Room for the digests of ``count`` photos, [count, 16]."""
    return np.zeros((count, DIGEST_BYTES), dtype=np.uint8)


def chunks(count: int) -> list[range]:
    """All rows, a few at a time."""
    return [range(start, min(start + _PHOTOS_A_TASK, count)) for start in range(0, count, _PHOTOS_A_TASK)]


@dataclass(frozen=True)
class Threads:
    """How many (None: as Python likes), and whom they tell their progress with ``what``."""

    what: str
    progress: Progress | None = None
    count: int | None = None


def in_threads(
    parts: Sequence[range],
    work: Callable[[range], Sequence[T | str]],
    take: Callable[[int, T], None],
    threads: Threads,
) -> dict[int, str]:
    """Do ``work(rows)`` for all parts, in threads, and ``take(row, one)`` what comes out.

    Returns row -> the cause where a picture is no good.
    """
    causes: dict[int, str] = {}

    def do(rows: range) -> None:
        for row, one in zip(rows, work(rows), strict=True):
            if isinstance(one, str):
                causes[row] = one
            else:
                take(row, one)

    executor = ThreadPoolExecutor(threads.count)
    try:
        with quiet_pillow():
            for rows, _ in zip(parts, executor.map(do, parts), strict=True):
                if threads.progress is not None:
                    threads.progress(threads.what, rows.stop, parts[-1].stop)
    finally:
        executor.shutdown(cancel_futures=True)  # or an interrupt would wait for all that is still queued
    return causes


def read_digests(sources: Sequence[str]) -> list[Pixels | str]:
    """The digest of each picture's bytes, or why it cannot be read."""
    return each(lambda source: digest_row(read_bytes(source)), sources)


def decode_photos(sources: Sequence[str], image_size: int, memory: float, pillow: str) -> list[Pixels | str]:
    """The pixels of each picture, [S, S, 3], or why it is no good.

    memory : GiB that decoding one may take. pillow : the version that all machines are to have.
    Raises Unreadable, and ValueError if Pillow is another version here.
    """
    if pillow != PIL.__version__:
        raise ValueError(f"Pillow is {pillow} on one machine and {PIL.__version__} on another; install the same")

    def decode(source: str) -> Pixels:
        try:
            data = read_bytes(source)
        except ValueError as error:
            everywhere = "every machine of a sweep reads the photos, under the same paths or from a bucket"
            raise Unreadable(f"{source}: {error}; {everywhere}") from error
        try:
            return decode_photo(data, image_size, memory)
        except Unreadable as error:
            raise Unreadable(f"{source}: {error}; try again when more is free") from error

    return each(decode, sources)


def each(function: Callable[[str], T], sources: Sequence[str]) -> list[T | str]:
    """The function of every source, or why it raises ValueError; Unreadable is raised, because it may pass."""
    found: list[T | str] = []
    for source in sources:
        try:
            found.append(function(source))
        except Unreadable:
            raise
        except ValueError as error:
            found.append(str(error))
    return found


@dataclass(frozen=True)
class Decoder:
    """Decodes photos to S x S pixels, here or elsewhere, each in so many GiB at most."""

    image_size: int
    memory: float = PHOTO_MEMORY
    run: Run = HERE

    def rows_of(self, sources: Sequence[str]) -> RowsOf:
        """What decodes the photos with these absolute paths or URIs. It raises Unreadable."""
        return lambda rows: self.run(
            decode_photos, sources[rows.start : rows.stop], self.image_size, self.memory, PIL.__version__
        )
