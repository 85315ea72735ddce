"""The digests of photos' bytes. A photo is not read again if its size and times have not changed."""

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyarrow import ArrowException, fs

from rsrl_ray.core.arrays import Pixels
from rsrl_ray.photos.decoding import HERE, Progress, Run, Threads, chunks, in_threads, no_digests, read_digests
from rsrl_ray.photos.source import located
from rsrl_ray.photos.table import Table
from rsrl_ray.store.files import read_arrays, write_arrays
from rsrl_ray.store.location import URI

_SETTLED_NS = 3 * 10**9  # a file changed so shortly before it is read may change again within one tick of its clock

PhotoKeys = NDArray[np.uint64]


@dataclass(frozen=True)
class _Known:
    """M photos. keys : [M], of their sources, ascending. states : [M]. digests : [M, 16]."""

    keys: PhotoKeys
    states: PhotoKeys
    digests: Pixels


@dataclass(frozen=True)
class Look:
    """What was seen of N photos, without reading them. began_ns : when the look began, Unix time in ns.

    states : [N], a number that changes if the photo changes; 0 if it is not known. changed : [N], the time of the last
    change, in ns.
    """

    states: PhotoKeys
    changed: NDArray[np.int64]
    began_ns: int


def look(table: Table) -> tuple[Table, Look]:
    """Look for each photo once. Returns the table with the files that are there, and what was seen of them."""
    began = time.time_ns()
    states, changed = _states(table.sources)
    sources = list(table.sources)
    others = {int(row): other for row in np.flatnonzero(states == 0) if (other := table.alike(int(row)))}
    for row, other in others.items():
        sources[row] = other
    states[list(others)], changed[list(others)] = _states(list(others.values()))
    return replace(table, sources=tuple(sources)), Look(states, changed, began)


def digests_of(
    sources: Sequence[str], seen: Look, cache: Path, run: Run = HERE, progress: Progress | None = None
) -> tuple[Pixels, dict[int, str]]:
    """The digest of each photo's bytes, [N, 16], and row -> why a photo cannot be read.

    A file counts as unchanged if its size, its time of change and its inode's time of change are the same; an object of
    a bucket, if its size and time are. `rsrl check` reads every byte.

    sources : N absolute paths or URIs, ``seen`` just now. cache : the folder that keeps the digests.
    """
    known, keys = _read(cache / "digests.npz"), np.array([_key(source) for source in sources], dtype=np.uint64)
    states, changed = seen.states, seen.changed
    places = np.searchsorted(known.keys, keys).clip(max=max(0, len(known.keys) - 1))
    same = np.zeros(len(sources), dtype=bool)
    digests = no_digests(len(sources))
    if len(known.keys):
        same = (known.keys[places] == keys) & (known.states[places] == states) & (states != 0)
        digests[same] = known.digests[places[same]]
    unknown = np.flatnonzero(~same)
    fresh = [sources[int(row)] for row in unknown]

    def read(rows: range) -> list[Pixels | str]:
        return run(read_digests, fresh[rows.start : rows.stop])

    def take(place: int, digest: Pixels) -> None:
        digests[unknown[place]] = digest

    causes = in_threads(chunks(len(fresh)), read, take, Threads("reading", progress, run.threads))
    if fresh:
        lasting = (states != 0) & (changed < seen.began_ns - _SETTLED_NS)
        lasting[unknown[list(causes)]] = False
        _write(cache / "digests.npz", known, _Known(keys[lasting], states[lasting], digests[lasting]))
    return digests, {int(unknown[place]): cause for place, cause in causes.items()}


def _key(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode("utf-8", "surrogateescape"), digest_size=8).digest()) or 1


def _states(sources: Sequence[str]) -> tuple[PhotoKeys, NDArray[np.int64]]:
    """`Look.states` and `Look.changed`."""
    states, changed = np.zeros(len(sources), dtype=np.uint64), np.zeros(len(sources), dtype=np.int64)
    away = defaultdict(list)
    for row, source in enumerate(sources):
        if URI.match(source):
            away[source.rpartition("/")[0]].append(row)
            continue
        with suppress(OSError, ValueError):
            found = os.stat(source)
            states[row] = _key(found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            changed[row] = max(found.st_mtime_ns, found.st_ctime_ns)
    for rows in away.values():
        listed = _listed(sources[rows[0]])
        for row in rows:
            size, time_ns = listed.get(sources[row].rpartition("/")[2], (0, 0))
            if time_ns:
                states[row], changed[row] = _key(size, time_ns), time_ns
    return states, changed


def _listed(uri: str) -> dict[str, tuple[int, int]]:
    """Name -> size and time in ns of all objects beside this one: one request per thousand objects, not one each."""
    try:
        files, path = located(uri)
        found = files.get_file_info(fs.FileSelector(path.rpartition("/")[0]))
    except (OSError, ArrowException, ValueError):
        return {}
    return {one.base_name: (one.size or 0, one.mtime_ns or 0) for one in found if one.type == fs.FileType.File}


def _read(file: Path) -> _Known:
    found = read_arrays(file, "keys", "states", "digests")
    if found is not None:
        known = _Known(*found)
        if known.keys.shape == known.states.shape == known.digests.shape[:1] and known.digests.shape[1:] == (16,):
            return known
    return _Known(np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint64), no_digests(0))


def _write(file: Path, before: _Known, now: _Known) -> None:
    """Keep what was known and what is known now; the latter if a photo is in both."""
    keys, first = np.unique(np.concatenate([now.keys, before.keys]), return_index=True)
    states, digests = (
        np.concatenate([getattr(now, name), getattr(before, name)])[first] for name in ("states", "digests")
    )
    write_arrays(file, keys=keys, states=states, digests=digests)  # on a full disk, the photos are read again next time
