"""Writes files that are whole or do not exist, also if the process that writes them ends."""

import contextlib
import os
import time
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STALE_S = 3600.0  # seconds; a temporary file that is older was left by a killed writer
TEMPORARY = ".tmp"  # suffix of files that are being written


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to. The file is moved to ``path`` when the body ends, and deleted if it fails.

    Files of killed writers beside it are deleted after an hour. If several processes write at once, the last file
    stays. The file is not flushed to the disk, so it may be lost if the machine loses its power.
    """
    part = _part(path)
    try:
        yield part
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    for left in path.parent.glob(f"*.{'[0-9a-f]' * 32}{TEMPORARY}"):  # not files of other programs
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < time.time() - STALE_S:
                left.unlink()


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file by `whole`, text as UTF-8. Raises OSError."""
    with whole(path) as part:
        part.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write arrays under their names, by `whole`. If the disk refuses, nothing is written and nothing is raised."""
    with contextlib.suppress(OSError), whole(path) as part, part.open("wb") as out:  # savez would add .npz to a name
        np.savez(out, **arrays)


def read_arrays(path: Path, *names: str) -> list[NDArray[Any]] | None:
    """The arrays of `write_arrays` with these names; None if one is missing or cannot be read."""
    try:
        with np.load(path) as content:
            return [content[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def write_first(path: Path, content: bytes) -> bool:
    """Write a file if there is none; returns whether it was written. Raises OSError.

    If several processes write at once, one of them is the first. Without hard links, the file of the last one stays.
    """
    part = _part(path)
    try:
        part.write_bytes(content)
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        except OSError:
            if path.exists():
                return False
            os.replace(part, path)
        return True
    finally:
        part.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    """A temporary name beside ``path``. Makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
