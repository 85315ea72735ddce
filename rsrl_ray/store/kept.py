"""Lists what lies in an archive, how large it is, and who needs it. The storage is listed once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from rsrl_ray.store.archive import HOLDERS, folder_of, frozen_file
from rsrl_ray.store.files import TEMPORARY
from rsrl_ray.store.holders import is_model, words_of
from rsrl_ray.store.storage import Entry, Storage

_WEIGHTS_PREFIX = "weights."
NOTES_AT_ONCE = 16  # notes of a bucket that are read at once


@dataclass(frozen=True)
class Kept:
    """A round in the archive. weights, rest : bytes of its files. time : Unix time of their last change.

    holders : names of the notes of those who need its weights.
    """

    key: str
    weights: int
    rest: int
    time: float
    holders: tuple[str, ...]


@dataclass(frozen=True)
class Shelf:
    """rounds : sorted by key. frozen : files of frozen weights, by digest. left : files of killed writers, by path."""

    rounds: Sequence[Kept]
    frozen: Mapping[str, Entry]
    left: Sequence[Entry]


def look_at(storage: Storage) -> Shelf:
    """All that the archive of a storage has."""
    left: list[Entry] = []
    files: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in storage.entries("rounds"):
        key, _, name = entry.name.partition("/")[2].partition("/")
        if entry.name.endswith(TEMPORARY):
            left.append(replace(entry, name=f"rounds/{entry.name}"))
        elif name:
            files[key].append(replace(entry, name=name))
    frozen: dict[str, Entry] = {}
    for entry in storage.entries("frozen"):
        digest, path = entry.name.partition(".")[0], f"frozen/{entry.name}"
        if path.endswith(TEMPORARY):
            left.append(replace(entry, name=path))
        elif path == frozen_file(digest):
            frozen[digest] = entry
    return Shelf([_kept(key, entries) for key, entries in sorted(files.items())], frozen, left)


def read_words(storage: Storage, rounds: Sequence[Kept]) -> dict[tuple[str, str], Mapping[str, str]]:
    """The words of the notes at these rounds, by key and holder. A trial or sweep has the same words in all rounds."""
    notes = [(one.key, holder) for one in rounds for holder in one.holders]
    first = {_alike(*note): note for note in reversed(notes)}

    def read(note: tuple[str, str]) -> Mapping[str, str]:
        key, holder = note
        return words_of(storage.read(f"{folder_of(key)}/{HOLDERS}{holder}"))

    with ThreadPoolExecutor(NOTES_AT_ONCE) as threads:
        words = dict(zip(first, threads.map(read, first.values()), strict=True))
    return {note: words[_alike(*note)] for note in notes}


def _kept(key: str, files: Sequence[Entry]) -> Kept:
    return Kept(
        key,
        sum(one.size for one in files if one.name.startswith(_WEIGHTS_PREFIX)),
        sum(one.size for one in files if not one.name.startswith(_WEIGHTS_PREFIX)),
        max(one.time for one in files),
        tuple(one.name.removeprefix(HOLDERS) for one in files if one.name.startswith(HOLDERS)),
    )


def _alike(key: str, holder: str) -> tuple[str, str]:
    return (key, holder) if is_model(holder) else ("", holder)
