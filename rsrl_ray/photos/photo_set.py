"""Photos in: a table of photos is checked as a whole, decoded once, and becomes a PhotoSet.

`check_photos` tells everything that is wrong with the table; `load_photos` refuses with the same report, or,
with ``skip_bad``, leaves those photos out and records which.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.photos.checks import PhotoProblems, judge
from rsrl_ray.photos.decoding import (
    HERE,
    Pixels,
    Progress,
    RowsOf,
    Run,
    chunks,
    decoder,
    examine_photos,
    in_threads,
    no_digests,
    read_digests,
)
from rsrl_ray.photos.pixels import PixelFile
from rsrl_ray.photos.table import Problem, read_table


@dataclass(frozen=True)
class Examination:
    """What is in a table of photos.

    images, scores : [N], the photos without a problem. problems : sorted by line.
    notes : what is odd, but allowed.
    """

    images: tuple[str, ...]
    scores: NDArray[np.int64]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PhotoSet:
    """N photos to train on; carries paths, not pixels, and so travels to other processes and nodes.

    images : as the table names them. scores : [N].
    fingerprint : hex, of the decoded pixels in this order and their size; names and scores are not in it.
    sources : absolute paths or URIs. pixels_path : .npy, uint8 [N, S, S, 3], S = image_size.
    left_out : what ``skip_bad`` left out, and why. notes : what is odd, but allowed.
    """

    images: tuple[str, ...]
    scores: NDArray[np.int64]
    fingerprint: str
    sources: tuple[str, ...]
    pixels_path: Path
    left_out: tuple[Problem, ...]
    notes: tuple[str, ...]
    image_size: int

    @property
    def classes(self) -> NDArray[np.int64]:
        """The distinct scores, ascending, [C]."""
        return np.unique(self.scores)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Each photo's index into `classes`, [N]."""
        return np.searchsorted(self.classes, self.scores).astype(np.int64)

    def pixels(self, pixels_of: RowsOf | None = None) -> Pixels:
        """The photos, [N, S, S, 3], a read-only memory map that all processes of a node share.

        Where the file is not on this node, or is damaged, it is made first, of ``pixels_of`` (default: the photos
        are decoded again). Raises ValueError where that is not possible or gives other pixels.
        """
        file = PixelFile(self.pixels_path, len(self.images), self.image_size)
        record = file.record()
        pixels = file.open() if record is not None and record.fingerprint == self.fingerprint else None
        return pixels if pixels is not None else self._made_here(file, pixels_of)

    def _made_here(self, file: PixelFile, pixels_of: RowsOf | None) -> Pixels:
        file.write(pixels_of or decoder(self.sources, self.image_size, HERE), expected=self.fingerprint)
        pixels = file.open()
        assert pixels is not None, file
        return pixels


def load_photos(
    source: str | Path,
    image_size: int,
    cache: Path,
    *,
    skip_bad: bool = False,
    progress: Progress | None = None,
    run: Run = HERE,
) -> PhotoSet:
    """Read, check and decode a table of photos, once: the pixels are kept in ``cache`` by content.

    source : see `rsrl_ray.photos.table.read_table`. image_size : S, the photos are warped to S x S.
    cache : a folder of this machine; takes N * S * S * 3 bytes. skip_bad : leave photos with problems out.
    run : calls what reads and decodes photos, here or on other machines.

    Raises PhotoProblems with everything that is wrong with the photos, and ValueError where the table itself
    cannot be read or the pixels cannot be written.
    """
    assert image_size > 0, image_size
    table = read_table(source)
    digests = no_digests(len(table.images))

    def read(rows: range) -> list[Pixels | str]:
        return run(read_digests, table.sources[rows.start : rows.stop])

    causes = in_threads(chunks(len(table.images)), read, digests.__setitem__, "reading", progress, run.threads)
    readable = np.array([row for row in range(len(table.images)) if row not in causes], dtype=np.int64)
    sources = [table.sources[row] for row in readable]
    everything = PixelFile.of(digests[readable], image_size, cache)
    decode = decoder(sources, image_size, run)
    record = everything.record() or everything.write(decode, progress, threads=run.threads)
    causes |= {int(readable[place]): cause for place, cause in record.causes.items()}
    verdict = judge(table, digests, causes)
    if verdict.problems and not (skip_bad and verdict.enough):
        raise PhotoProblems(str(source), verdict.problems, verdict.enough and not skip_bad)
    file = PixelFile.of(digests[verdict.rows], image_size, cache)
    kept = tuple(table.sources[row] for row in verdict.rows)
    return PhotoSet(
        images=tuple(table.images[row] for row in verdict.rows),
        scores=table.scores[verdict.rows],
        fingerprint=_make(file, kept, everything, np.searchsorted(readable, verdict.rows), run, progress),
        sources=kept,
        pixels_path=file.path,
        left_out=verdict.problems,
        notes=verdict.notes,
        image_size=image_size,
    )


def _make(
    file: PixelFile,
    sources: tuple[str, ...],
    everything: PixelFile,
    places: NDArray[np.int64],
    run: Run,
    progress: Progress | None,
) -> str:
    """Make the file of the photos that were kept, if need be; its fingerprint.

    places : where they stand among all that could be read, whose pixels are taken if they are there.
    """
    record = file.record()
    if record is None or file.open() is None:
        decoded = everything.open()
        if decoded is None:
            record = file.write(decoder(sources, file.image_size, run), progress, threads=run.threads)
        else:
            record = file.write(lambda rows: list(decoded[places[rows.start : rows.stop]]), progress)
            everything.path.unlink(missing_ok=True)  # its record stays, so nothing is decoded twice
    if record.causes:
        raise ValueError("some photos were changed while they were read; try again")
    return record.fingerprint


def check_photos(source: str | Path, *, progress: Progress | None = None) -> Examination:
    """Find everything that is wrong with a table of photos; every picture is read and decoded, none is kept.

    source : see `rsrl_ray.photos.table.read_table`. Raises ValueError where the table itself cannot be read.
    """
    table = read_table(source)
    digests = no_digests(len(table.images))

    def examine(rows: range) -> list[Pixels | str]:
        return examine_photos(table.sources[rows.start : rows.stop])

    causes = in_threads(chunks(len(table.images)), examine, digests.__setitem__, "decoding", progress)
    verdict = judge(table, digests, causes)
    images = tuple(table.images[row] for row in verdict.rows)
    return Examination(images, table.scores[verdict.rows], verdict.problems, verdict.notes)
