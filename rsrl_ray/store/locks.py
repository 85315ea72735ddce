"""Locks between processes: who holds one is said, and where a file system has none that is no refusal."""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import psutil

_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # any other error says that there are no locks here


class Held(Exception):
    """Another process holds the lock; its text says which one: host:pid."""


@contextlib.contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[OSError | None]:
    """Hold the lock file ``path`` while the body runs, and write into it who does.

    Yields None, or why the body runs without the lock: the file cannot be opened, or its file system has no locks (some
    of NFS and Lustre). wait : until another process lets it go; else `Held` is raised where one has it.
    """
    try:
        file = path.open("a+", encoding="utf-8", errors="replace")
    except OSError as error:
        yield error
        return
    with file:
        yield _take(file, wait)


def _take(file: IO[str], wait: bool) -> OSError | None:
    """Lock the file; why that cannot be done here."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in _TAKEN:
            file.seek(0)
            raise Held(file.read(200).strip() or "unknown") from error
        return error
    with contextlib.suppress(OSError):  # a full disk
        file.truncate(0)
        file.write(process())
        file.flush()
    return None


def share(file: IO[Any]) -> None:
    """Tell others that an open file is read: for as long as it is open, or a memory map of it lives."""
    with contextlib.suppress(OSError):  # some network file systems have no locks
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def is_shared(path: Path) -> bool:
    """Whether somebody has told by `share` to read a file; also where the file system cannot tell."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def process() -> str:
    """The name of this process in locks: host:pid."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_alive(name: str) -> bool:
    """Whether a process may still run, by its name: it does here, or it is another machine's, which cannot be seen."""
    host = name.rpartition(":")[0]
    return is_here(name) if host == socket.gethostname() else host != ""


def is_here(name: str) -> bool:
    """Whether a process runs on this machine, by its name; one that has ended and that nobody has waited for does not.

    In a container whose first process waits for no others, a process that was killed stays in the table for ever.
    """
    host, _, number = name.rpartition(":")
    if host != socket.gethostname() or not number.isdigit():
        return False
    try:
        return psutil.Process(int(number)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
