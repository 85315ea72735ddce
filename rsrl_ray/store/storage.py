"""A folder or a bucket. A file is whole or does not exist, and a bucket that does not answer is asked again."""

import contextlib
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pyarrow import fs

from rsrl_ray.store.files import TEMPORARY, write_first, write_whole
from rsrl_ray.store.location import Location, redacted

BUCKET_PATIENCE_S = 300.0  # a bucket that does not answer is asked again for so long
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
SETTLE_S = 1.0  # processes that write one file in a bucket at once wait so long for each other

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """A file. size : in bytes. time : Unix time of its last change; 0 if it is not known."""

    name: str
    size: int
    time: float


class StorageError(ValueError):
    """Storage cannot be read or written. The text says what, where, and what to do."""


class Storage:
    """Files under ``root``, a folder or a URI that pyarrow can read (s3://, gs://).

    Several processes may write at once: a file is whole or does not exist. Each method raises `StorageError` if the
    disk or the bucket refuses. Before that, a bucket is asked to read or write again for `BUCKET_PATIENCE_S`.
    """

    def __init__(self, root: str) -> None:
        """Raises ValueError as `open_storage` does."""
        self._fs, self._base = open_storage(root)
        self._is_bucket = not isinstance(self._fs, fs.LocalFileSystem)

    def read(self, path: str) -> bytes | None:
        """The file's content; None if there is no file."""

        def read() -> bytes | None:
            try:
                with self._fs.open_input_stream(self.where(path), compression=None) as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None

        return self._ask("read", path, read)

    def write(self, path: str, content: bytes) -> None:
        """Write a whole file."""

        def write() -> None:  # in a bucket, a file exists only when its upload is complete
            with self._fs.open_output_stream(self.where(path)) as stream:
                stream.write(content)

        self._ask("write", path, write if self._is_bucket else lambda: write_whole(Path(self.where(path)), content))

    def write_first(self, path: str, content: bytes) -> bool:
        """Write a file if there is none; returns whether it was written. Read the file then: it may be another's.

        pyarrow cannot ask a bucket for this. If several processes write within `SETTLE_S`, the last file stays.
        """
        if self.read(path) is not None:  # first, because a full disk does not matter if the file is there
            return False
        if not self._is_bucket:
            return self._ask("write", path, lambda: write_first(Path(self.where(path)), content))
        self.write(path, content)
        time.sleep(SETTLE_S)
        return True

    def delete(self, path: str) -> None:
        """Delete a file if it is there. It is tried once, because a file that stays only takes room."""
        try:
            with contextlib.suppress(FileNotFoundError):
                self._fs.delete_file(self.where(path))
        except OSError as error:
            raise self._refused("delete", path, error) from error

    def list(self, folder: str) -> list[str]:
        """Names of the files below a folder, relative to it, sorted; empty if there is no folder."""
        return [entry.name for entry in self.entries(folder) if not entry.name.endswith(TEMPORARY)]

    def entries(self, folder: str) -> tuple[Entry, ...]:
        """As `list`, with sizes and times, and with files that are being written or that killed writers left."""

        def look() -> tuple[Entry, ...]:
            base = self.where(folder)
            below = fs.FileSelector(base, allow_not_found=True, recursive=True)
            found = [info for info in self._fs.get_file_info(below) if info.type == fs.FileType.File]
            root = base.strip("/")  # in some file systems each path begins with /
            names = [info.path.lstrip("/").removeprefix(root).lstrip("/") for info in found]
            times = [(info.mtime_ns or 0) / 1e9 for info in found]
            sizes = [info.size or 0 for info in found]
            return tuple(sorted(map(Entry, names, sizes, times), key=lambda entry: entry.name))

        return self._ask("read", folder, look)

    def where(self, path: str) -> str:
        """The file's path on the disk or in the bucket."""
        return f"{self._base}/{path}"

    def _ask(self, what: str, path: str, action: Callable[[], T]) -> T:
        """Do it. With a bucket, try again with longer and longer pauses, for `BUCKET_PATIENCE_S`."""
        began, pause = time.monotonic(), FIRST_PAUSE_S
        while True:
            try:
                return action()
            except OSError as error:
                if not self._is_bucket or time.monotonic() - began + pause > BUCKET_PATIENCE_S:
                    raise self._refused(what, path, error) from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _refused(self, what: str, path: str, error: OSError) -> StorageError:
        return StorageError(
            f"storage: cannot {what} {self.where(path)} ({_cause(error)}); mend that, then the same command goes on"
        )


def open_storage(root: str) -> tuple[fs.FileSystem, str]:
    """The file system and base path of a folder or URI.

    Raises
    ------
    ValueError
        If the URI's scheme is not known, or if the settings of its bucket are wrong.
    """
    assert root
    if not Location(root).is_uri:
        return fs.LocalFileSystem(), root.rstrip("/")
    try:
        system, base = fs.FileSystem.from_uri(root)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"storage: {Location(root)}: {redacted(str(error))}; give a folder, s3://... or gs://..."
        ) from error
    return system, base.rstrip("/")


@dataclass(frozen=True)
class Note:
    """A small file in storage with a name of its own. It shows whether two processes use the same storage.

    Each method asks the storage once and does not wait for a bucket.
    """

    root: str
    name: str = field(default_factory=lambda: f"probe-{uuid.uuid4().hex}")

    def leave(self) -> str:
        """Write it, if there is a folder for rounds. Returns why it cannot be written, "" if it was written."""
        try:
            system, path = self._place()
            with system.open_output_stream(path) as stream:
                stream.write(b"probe")
        except (OSError, ValueError) as error:
            return _cause(error) if isinstance(error, OSError) else str(error)
        return ""

    def is_seen(self, seconds: float = 0.0) -> bool:
        """Whether it is there, or comes within so many seconds, because some file systems show new files late.

        Raises `StorageError` if the storage cannot be read.
        """
        system, path = self._place()
        deadline = time.monotonic() + seconds
        try:
            while system.get_file_info(path).type != fs.FileType.File:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.1)
        except OSError as error:
            raise StorageError(f"storage: cannot read {Location(self.root)} ({_cause(error)})") from error
        return True

    def remove(self) -> None:
        """Delete it. If it cannot be deleted, it takes a few bytes."""
        with contextlib.suppress(OSError, ValueError):
            system, path = self._place()
            system.delete_file(path)

    def _place(self) -> tuple[fs.FileSystem, str]:
        system, base = open_storage(self.root)
        return system, f"{base}/rounds/{self.name}"


def probe_storage(root: str) -> None:
    """Write and delete a small file under ``root``, so that a sweep with a wrong storage fails before it trains.

    Raises ValueError if that is not possible.
    """
    system, base = open_storage(root)
    note = Note(root)
    try:
        system.create_dir(f"{base}/rounds", recursive=True)
        why = note.leave()
        if not why:
            system.delete_file(f"{base}/rounds/{note.name}")
    except OSError as error:
        why = _cause(error)
    if why:
        raise ValueError(f"storage: cannot write to {Location(root)} ({why}); mend that, or give another storage")


def _cause(error: OSError) -> str:
    """The system's words, if it has some, because those of pyarrow are about its own code."""
    return os.strerror(error.errno) if error.errno else redacted(error.strerror or str(error)).strip()


def artifact_place(root: str) -> str:
    """The URI of MLflow's artifacts under ``root``, without a bucket's options, user and password."""
    place = Location(root)
    if place.is_uri:
        return f"{place.bare.rstrip('/')}/artifacts"
    return (place.path / "artifacts").absolute().as_uri()
