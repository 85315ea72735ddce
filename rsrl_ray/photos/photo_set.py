"""Checks a table of photos as a whole, decodes it once, and makes a PhotoSet of it.

`check_photos` tells everything that is wrong with the table. `load_photos` refuses such a table with the same report;
with ``skip_bad`` it leaves the bad photos out and records them.
"""

import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.config import PHOTO_MEMORY
from rsrl_ray.core.arrays import Pixels
from rsrl_ray.photos.checks import PhotoProblems, Verdict, judge
from rsrl_ray.photos.decoding import (
    Decoder,
    Progress,
    RowsOf,
    Threads,
    chunks,
    digest_row,
    each,
    in_threads,
    no_digests,
)
from rsrl_ray.photos.groups import groups_of, names_digest
from rsrl_ray.photos.known import digests_of, look
from rsrl_ray.photos.picture import Interpolation, oddity_of
from rsrl_ray.photos.pixels import PixelFile
from rsrl_ray.photos.readers import Problem
from rsrl_ray.photos.row_file import RowRecord
from rsrl_ray.photos.source import Unreadable, read_bytes
from rsrl_ray.photos.table import Table, read_table

_CHECK_SIZE = 64  # for a check; all bytes are read, but fewer pixels are computed


@dataclass(frozen=True)
class Examination:
    """The N good photos of a table.

    images : their public names in the table. scores : [N]. problems : of all other photos, sorted by line.
    notes : what is unusual, but allowed.
    groups : [N], see `rsrl_ray.photos.groups`; None if each photo is alone.
    group_names : a digest of the groups that the table names, "" if it names none.
    """

    images: tuple[str, ...]
    scores: NDArray[np.int64]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    groups: NDArray[np.int64] | None = None
    group_names: str = ""

    @classmethod
    def of(cls, table: Table, digests: Pixels, verdict: Verdict, **more: Any) -> Self:
        """The good photos of a table, by the verdict. digests : [N, 16], of all its photos."""
        images = tuple(table.images[row] for row in verdict.rows)
        return cls(
            images,
            table.scores[verdict.rows],
            verdict.problems,
            verdict.notes,
            groups_of(table, digests, verdict.rows),
            names_digest(table, set(images)),
            **more,
        )


@dataclass(frozen=True, kw_only=True)
class PhotoSet(Examination):
    """N photos to train on. It has paths and no pixels, so it can be sent to other processes and nodes.

    Photos with ``problems`` are left out (``skip_bad``).

    fingerprint : hex digest of the decoded pixels in this order and their size; without names and scores.
    sources : absolute paths or URIs. pixels_path : .npy, uint8 [N, S, S, 3], S = image_size.
    memory : GiB that decoding one photo may take. session : name of one load; a node verifies a file once a session.
    """

    fingerprint: str
    sources: tuple[str, ...]
    pixels_path: Path
    image_size: int
    memory: float = PHOTO_MEMORY
    interpolation: Interpolation = "bilinear"
    session: str = ""

    @property
    def classes(self) -> NDArray[np.int64]:
        """The distinct scores, ascending, [C]."""
        return np.unique(self.scores)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Each photo's index into `classes`, [N]."""
        return np.searchsorted(self.classes, self.scores).astype(np.int64)

    def pixels(self, pixels_of: RowsOf | None = None) -> Pixels:
        """The photos, [N, S, S, 3], as a read-only memory map that all processes of a node share.

        If the file is not on this node, or if it was changed, it is made first: from ``pixels_of``, or by decoding the
        photos again. Raises ValueError if that is not possible or gives other pixels.
        """
        file = PixelFile(self.pixels_path, len(self.images), self.image_size)
        record = file.record()
        pixels = file.verified_once(self.session) if record and record.fingerprint == self.fingerprint else None
        if pixels is None:
            decoder = Decoder(self.image_size, self.memory, interpolation=self.interpolation)
            file.write(pixels_of or decoder.rows_of(self.sources), expected=self.fingerprint)
            file.trust(self.session)
            pixels = file.open()
        assert pixels is not None, file
        return pixels


def load_photos(
    source: str | Path, decoder: Decoder, cache: Path, *, skip_bad: bool = False, progress: Progress | None = None
) -> PhotoSet:
    """Read, check and decode a table of photos. The pixels are kept in ``cache``, so photos are decoded once.

    source : see `rsrl_ray.photos.table.read_table`. decoder : warps the photos to S x S.
    cache : a folder of this machine; N * S * S * 3 bytes are written to it. skip_bad : leaves bad photos out.

    Raises PhotoProblems with everything that is wrong with the photos, and ValueError if the table cannot be read or
    the pixels cannot be written.
    """
    assert decoder.image_size > 0, decoder
    session = uuid.uuid4().hex
    table, seen = look(read_table(source))
    digests, causes = digests_of(table.sources, seen, cache, decoder.run, progress)
    readable = np.array([row for row in range(len(table.images)) if row not in causes], dtype=np.int64)

    def decoded(file: PixelFile, rows: NDArray[np.int64]) -> RowRecord:
        own = digests[rows]
        rows_of = file.rows_of(own, decoder, [table.sources[row] for row in rows])
        made = file.write(rows_of, progress, threads=decoder.run.threads)
        file.trust(session)
        file.tell(own, decoder)
        return made

    everything = PixelFile.of(digests[readable], decoder, cache)
    record = everything.record() or decoded(everything, readable)
    causes |= {int(readable[place]): cause for place, cause in record.causes.items()}
    verdict = judge(table, digests, causes)
    if verdict.problems and not (skip_bad and verdict.enough):
        raise PhotoProblems(str(source), verdict.problems, verdict.enough and not skip_bad)
    file = PixelFile.of(digests[verdict.rows], decoder, cache)
    places = np.searchsorted(readable, verdict.rows).tolist()
    held = None if file.verified_once(session) is None else file.record()
    record = held or file.take_from(everything, places) or decoded(file, verdict.rows)
    if record.causes:
        raise ValueError(f"{source}: some photos were changed while they were read; try again")
    file.tell(digests[verdict.rows], decoder)
    return PhotoSet.of(
        table,
        digests,
        verdict,
        fingerprint=record.fingerprint,
        sources=tuple(table.sources[row] for row in verdict.rows),
        pixels_path=file.path,
        image_size=decoder.image_size,
        memory=decoder.memory,
        interpolation=decoder.interpolation,
        session=session,
    )


def check_photos(source: str | Path, *, memory: float = PHOTO_MEMORY, progress: Progress | None = None) -> Examination:
    """Find everything that is wrong or unusual in a table of photos. Each picture is read whole, and none is kept.

    source : see `rsrl_ray.photos.table.read_table`. memory : GiB that decoding one photo may take.
    Raises ValueError if the table cannot be read.
    """
    table, _ = look(read_table(source))
    digests = no_digests(len(table.images))
    odd: dict[int, str] = {}

    def examine(one: str) -> tuple[Pixels, str]:
        data = read_bytes(one)
        try:
            return digest_row(data), oddity_of(data, _CHECK_SIZE, memory)
        except Unreadable as error:
            raise ValueError(str(error)) from error

    def take(row: int, found: tuple[Pixels, str]) -> None:
        digests[row], oddity = found
        if oddity:
            odd[row] = oddity

    rows = chunks(len(table.images))
    causes = in_threads(
        rows, lambda part: each(examine, table.sources[part.start : part.stop]), take, Threads("decoding", progress)
    )
    verdict = judge(table, digests, causes)
    odd_ones = [str(table.problem(row, odd[row])) for row in verdict.rows if row in odd]
    return Examination.of(table, digests, replace(verdict, notes=(*verdict.notes, *odd_ones)))
