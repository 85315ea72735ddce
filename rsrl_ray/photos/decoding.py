"""Reads and decodes many pictures at once: in threads, here or on other machines."""

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
from rsrl_ray.photos.picture import Interpolation, decode_photo, quiet_pillow
from rsrl_ray.photos.source import Unreadable, read_bytes

Progress = Callable[[str, int, int], None]
"""Is called with a word ("reading", "decoding"), the number that is done, and the total."""

T = TypeVar("T")

RowsOf = Callable[[range], Sequence[NDArray[Any] | str]]
"""Rows -> for each photo what is made of it, such as its pixels [S, S, 3], or why its picture is bad."""


class Run:
    """Calls a function here. A subclass calls it on another machine."""

    threads: int | None = None
    """The number of threads that may call it at once; None: Python's default."""

    def __call__(self, function: Callable[..., list[Pixels | str]], *arguments: Any) -> list[Pixels | str]:
        """The function's result."""
        return function(*arguments)


HERE = Run()
_FORMAT = 2  # part of each key: count it up if the same bytes give other pixels or another file
_PHOTOS_A_TASK = 32  # one photo per task would make a quarter of a million tasks for AVA


def digest_row(data: bytes | memoryview) -> Pixels:
    """A photo's digest, [16] uint8."""
    return np.frombuffer(bytes.fromhex(bytes_digest(data)), dtype=np.uint8)


def no_digests(count: int) -> Pixels:
    """An array for the digests of ``count`` photos, [count, 16]."""
    return np.zeros((count, DIGEST_BYTES), dtype=np.uint8)


def chunks(count: int) -> list[range]:
    """All rows, a few at a time."""
    return [range(start, min(start + _PHOTOS_A_TASK, count)) for start in range(0, count, _PHOTOS_A_TASK)]


@dataclass(frozen=True)
class Threads:
    """The number of threads (None: Python's default), and who is told their progress in ``what``."""

    what: str
    progress: Progress | None = None
    count: int | None = None


def in_threads(
    parts: Sequence[range],
    work: Callable[[range], Sequence[T | str]],
    take: Callable[[int, T], None],
    threads: Threads,
) -> dict[int, str]:
    """Call ``work(rows)`` for all parts, in threads, and ``take(row, one)`` with what it gives for each row.

    Returns row -> cause, for each bad picture.
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
        executor.shutdown(cancel_futures=True)  # else an interrupt would wait for all queued tasks
    return causes


def read_digests(sources: Sequence[str]) -> list[Pixels | str]:
    """The digest of each picture's bytes, or why the picture cannot be read."""
    return each(lambda source: digest_row(read_bytes(source)), sources)


def decode_photos(
    sources: Sequence[str], image_size: int, memory: float, pillow: str, interpolation: Interpolation = "bilinear"
) -> list[Pixels | str]:
    """The pixels of each picture, [S, S, 3], or why the picture is bad.

    memory : GiB that decoding one picture may take. pillow : the version that all machines must have.
    Raises Unreadable, and ValueError if this machine has another version of Pillow.
    """
    if pillow != PIL.__version__:
        raise ValueError(
            f"Pillow is {pillow} on one machine and {PIL.__version__} on another; install the same version on all"
        )

    def decode(source: str) -> Pixels:
        try:
            data = read_bytes(source)
        except ValueError as error:
            everywhere = "every machine of a sweep must be able to read the photos, from the same paths or a bucket"
            raise Unreadable(f"{source}: {error}; {everywhere}") from error
        try:
            return decode_photo(data, image_size, memory, interpolation)
        except Unreadable as error:
            raise Unreadable(f"{source}: {error}; try again later, when more of it is free") from error

    return each(decode, sources)


def each(function: Callable[[str], T], sources: Sequence[str]) -> list[T | str]:
    """The result of the function for each source, or the text of its ValueError.

    Unreadable is raised, because the cause may pass.
    """
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
    """Decodes photos to S x S pixels, here or on other machines. memory : GiB that decoding one photo may take."""

    image_size: int
    memory: float = PHOTO_MEMORY
    run: Run = HERE
    interpolation: Interpolation = "bilinear"

    @property
    def made(self) -> str:
        """All that pixels depend on besides the bytes of the picture, as it enters the key of decoded photos."""
        limit = "" if self.memory == PHOTO_MEMORY else f" {self.memory:g}"
        way = "" if self.interpolation == "bilinear" else f" {self.interpolation}"
        return f"{self.image_size} {PIL.__version__} {_FORMAT}{limit}{way}"

    def rows_of(self, sources: Sequence[str]) -> RowsOf:
        """A function that decodes the photos at these absolute paths or URIs. It raises Unreadable."""
        how = (self.image_size, self.memory, PIL.__version__, self.interpolation)
        return lambda rows: self.run(decode_photos, sources[rows.start : rows.stop], *how)
