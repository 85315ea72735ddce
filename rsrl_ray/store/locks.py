"""Locks between processes. They say who holds them. A file system without locks refuses nothing."""

import contextlib
import errno
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from rsrl_ray.store.processes import in_words, process

_REFUSED = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # any other error means that there are no locks here


class Taken(Exception):
    """Another process has the lock. The text says which one: host:pid."""


@contextlib.contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[OSError | None]:
    """Hold the lock file ``path`` while the body runs, and write this process's name into it.

    Yields None, or the error if the body runs without the lock: the file cannot be opened, or its file system has no
    locks (some kinds of NFS and Lustre). wait : whether to wait for another process; else `Taken` is raised.
    """
    try:
        file = path.open("a+", encoding="utf-8", errors="replace")
    except OSError as error:
        yield error
        return
    with file:
        yield _take(file, wait)


def _take(file: IO[str], wait: bool) -> OSError | None:
    """Lock the file. Returns the error if the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in _REFUSED:
            file.seek(0)
            raise Taken(in_words(file.read(200).strip()) or "unknown") from error
        return error
    with contextlib.suppress(OSError):  # a full disk
        file.truncate(0)
        file.write(process())
        file.flush()
    return None


def share(file: IO[Any]) -> None:
    """Tell other processes that this file is read, as long as it is open or a memory map of it exists."""
    with contextlib.suppress(OSError):  # some network file systems have no locks
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def is_shared(path: Path) -> bool:
    """Whether a process reads the file, as told by `share`; True too if the file system has no locks."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
