"""What lies in a storage, who needs it, and what nobody needs any more.

Sweeps, trials and models leave a note at data and weights that they use (`rsrl_ray.store.holders`). A note of the given
experiment is void if its file no longer names the sweep or the trial. A note of its registered model is void if no
version of the model is left. Things with a note of another experiment stay, and so do things without any note.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rsrl_ray.config import Experiment
from rsrl_ray.photos.row_file import RowRecord
from rsrl_ray.store.archive import Archive, Damaged
from rsrl_ray.store.files import STALE_S, TEMPORARY
from rsrl_ray.store.holders import data_holder, file_holders, release_file
from rsrl_ray.store.kept import NOTES_AT_ONCE, Kept, Shelf, look_at, read_words
from rsrl_ray.store.location import FEATURES, PHOTOS, Location, cache_folder
from rsrl_ray.store.locks import Taken, locked
from rsrl_ray.store.storage import Storage
from rsrl_ray.tracking.named import Named, NamedSweep, named, refuse_while_swept, sweeps_of_pixels
from rsrl_ray.tracking.needs import NOT_KNOWN, OWN, Needs

NOBODY = "nobody"
DECODED = "decoded photos"
_UNFINISHED = (".part", ".copy", TEMPORARY)  # suffixes of files that are being made


@dataclass(frozen=True)
class Item:
    """Something that takes room in storage.

    kind : decoded photos, features, weights, ... what : its name. size : in bytes. time : Unix time of its last change.
    who : who needs it, in words. is_free : whether nobody needs it. release : deletes void notes, and the thing if it
    is free; None if there is nothing to delete.
    """

    kind: str
    what: str
    size: int
    time: float
    who: str
    is_free: bool = False
    release: Callable[[], None] | None = None


@dataclass(frozen=True)
class _Member:
    """A round in the archive. void : its notes that are void."""

    round: Kept
    void: Sequence[str]


_Groups = Mapping[tuple[str, bool], Sequence[_Member]]


@contextmanager
def undisturbed(experiment: Experiment) -> Iterator[None]:
    """Keep sweeps out of this storage while the body runs. Raises ValueError if locks or MLflow say that one runs."""
    refuse_while_swept(experiment)
    storage = Location(experiment.storage)
    names = [] if storage.is_uri else [path.stem for path in storage.path.glob("*.lock") if path.name[0] != "."]
    with ExitStack() as stack:
        for name in names:
            try:
                stack.enter_context(locked(storage.path / f"{name}.lock"))
            except Taken as holder:
                raise ValueError(f"{name} in {storage} is being swept ({holder}); wait for its end") from holder
        yield


def inventory(experiment: Experiment) -> list[Item]:
    """What is in the experiment's storage, and in this machine's folder for things that can be made again.

    Raises
    ------
    ValueError
        If the file was changed after its sweep, or if storage or MLflow cannot be read.
    """
    names = named(experiment)
    storage, cache = Storage(experiment.storage), cache_folder(Location(experiment.storage))
    shelf = look_at(storage)
    groups = _by_need(experiment, names, storage, shelf)
    return [
        *_data(experiment, names, cache / PHOTOS, DECODED),
        *_data(experiment, names, cache / FEATURES, "features"),
        *_weights(experiment, groups),
        *_frozen(experiment, storage, shelf, groups),
        *_tables(storage, shelf),
        *_left(storage, shelf, cache),
    ]


def _data(experiment: Experiment, names: Named, folder: Path, kind: str) -> Iterator[Item]:
    """The files of decoded photos or features."""
    needed = {data_holder(experiment, sweep).id for sweep in names.sweeps}
    own = data_holder(experiment, "").experiment
    notes = {file: file_holders(file) for file in sorted(folder.glob("*.npy"))}
    before = _before_notes(experiment, [file for file in notes if not notes[file]], kind)
    for file, noted in notes.items():
        users = [(words.get("experiment", NOT_KNOWN), note in needed) for note, words in noted.items()]
        users += [(own if name == experiment.name else name, sweep in names.sweeps) for name, sweep in before(file)]
        who = {OWN if needs else f"experiment {name}" for name, needs in users if needs or name != own}
        void = [note for note, words in noted.items() if words.get("experiment") == own and note not in needed]
        is_free = bool(users) and not who
        together = [path for path in folder.glob(f"{file.stem}.*") if path.suffix != ".lock"]
        yield Item(
            kind,
            file.name,
            sum(path.stat().st_size for path in together),
            file.stat().st_mtime,
            _words(who) or (f"{NOBODY}: an older sweep of this file had it" if users else NOT_KNOWN),
            is_free,
            partial(_release_file, file, void, is_free) if void or is_free else None,
        )


def _before_notes(experiment: Experiment, files: Sequence[Path], kind: str) -> Callable[[Path], Collection[NamedSweep]]:
    """The sweeps in MLflow that used files without notes, of an older version. Those of features are not known."""
    records = {file: RowRecord.beside(file) for file in files if kind == DECODED}
    prints = {file: record.fingerprint for file, record in records.items() if record is not None}
    found = sweeps_of_pixels(experiment, set(prints.values())) if prints else {}
    return lambda file: found.get(prints.get(file, ""), ())


def _release_file(file: Path, void: Sequence[str], is_free: bool) -> None:
    for note in void:
        release_file(file, note)
    if is_free and not file_holders(file):
        for path in file.parent.glob(f"{file.stem}.*"):
            path.unlink(missing_ok=True)


def _by_need(experiment: Experiment, names: Named, storage: Storage, shelf: Shelf) -> _Groups:
    """The rounds with weights or notes, grouped by who needs them (in words) and whether nobody does."""
    archive, rounds = Archive(experiment.storage), [one for one in shelf.rounds if one.weights or one.holders]
    words = read_words(storage, rounds)
    needs = Needs(experiment, names)
    groups: defaultdict[tuple[str, bool], list[_Member]] = defaultdict(list)
    for one in rounds:
        users = {holder: needs.user(one.key, holder, words[one.key, holder]) for holder in one.holders}
        void = [holder for holder, user in users.items() if user.is_void]
        who = {user.name for user in users.values() if not user.is_void}
        once = {user.name for user in users.values() if user.is_void}
        is_known = bool(who) or archive.is_droppable(one.key) or not one.weights
        label = _words(who) or (f"{NOBODY}{f': once {_words(once)}' if once else ''}" if is_known else NOT_KNOWN)
        groups[label, not who and is_known].append(_Member(one, void))
    return groups


def _weights(experiment: Experiment, groups: _Groups) -> Iterator[Item]:
    """The weights of rounds, one item for each group."""
    archive = Archive(experiment.storage)
    for (label, is_free), members in sorted(groups.items()):
        kept = [member.round for member in members if member.round.weights]
        void = [member for member in members if member.void or (is_free and member.round.weights)]
        if not kept and not void:
            continue
        yield Item(
            "weights",
            _rounds(len(kept)) if kept else "notes alone",
            sum(one.weights for one in kept),
            max(member.round.time for member in members),
            label,
            is_free,
            partial(_release_rounds, archive, void) if void else None,
        )


def _release_rounds(archive: Archive, members: Sequence[_Member]) -> None:
    for member in members:
        archive.release(member.round.key, *member.void)


def _frozen(experiment: Experiment, storage: Storage, shelf: Shelf, groups: _Groups) -> Iterator[Item]:
    """The frozen weights of sweeps. They are needed as long as a round with weights of its own names them."""
    archive = Archive(experiment.storage)
    stay = [member.round for (_, is_free), members in groups.items() if not is_free for member in members]
    whole = [one for one in stay if one.weights]

    def read(one: Kept) -> str | None:
        try:
            return archive.frozen_of(one.key)
        except Damaged:
            return None

    with ThreadPoolExecutor(NOTES_AT_ONCE) as threads:
        used = Counter(threads.map(read, whole if shelf.frozen else ()))
    is_known = not used[None]
    for digest, entry in shelf.frozen.items():
        is_free = is_known and not used[digest]
        who = _rounds(used[digest]) if used[digest] else NOBODY if is_known else NOT_KNOWN
        drop = partial(storage.delete, f"frozen/{entry.name}") if is_free else None
        yield Item("frozen weights", entry.name, entry.size, entry.time, who, is_free, drop)


def _tables(storage: Storage, shelf: Shelf) -> Iterator[Item]:
    """The things that are never deleted here."""
    rounds, size = shelf.rounds, sum(one.rest for one in shelf.rounds)
    if rounds:
        newest = max(one.time for one in rounds)
        who = "sweeps that go on, and MLflow where it lacks them"
        yield Item("logits", _rounds(len(rounds)), size, newest, who)
    for folder, kind, who in (
        ("artifacts", "tables of rounds, models", "MLflow: `mlflow gc` frees what was deleted there"),
        ("analysis", "pages, tables, figures", "you: `rsrl analyze` makes them again"),
    ):
        entries = storage.entries(folder)
        if entries:
            size, newest = sum(one.size for one in entries), max(one.time for one in entries)
            yield Item(kind, f"{folder}/", size, newest, who)


def _left(storage: Storage, shelf: Shelf, cache: Path) -> Iterator[Item]:
    """The half-written files of processes that were killed."""
    folders = (cache / PHOTOS, cache / FEATURES)
    files = [path for folder in folders for end in _UNFINISHED for path in folder.glob(f"*{end}")]
    found = [(path.name, path.stat().st_size, path.stat().st_mtime, path.unlink) for path in files]
    found += [(one.name, one.size, one.time, partial(storage.delete, one.name)) for one in shelf.left]
    for name, size, changed, drop in found:
        is_free = changed < time.time() - STALE_S  # by time, because a disk may have no locks
        who = NOBODY if is_free else f"{NOT_KNOWN}: it was changed in the last hour"
        yield Item("half a file", name, size, changed, who, is_free, drop if is_free else None)


def _rounds(count: int) -> str:
    return f"{count:,} round{'s' if count > 1 else ''}"


def _words(who: set[str]) -> str:
    return ", ".join(sorted(who, key=lambda name: (name != OWN, name)))
