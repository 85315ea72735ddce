"""Files that appear whole or not at all, whatever happens to the process that writes them."""

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

STALE_S = 3600.0  # a temporary file this old was left by a killed writer
TEMPORARY = ".tmp"  # the end of the name of what is being written


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to: it becomes ``path`` when the body ends, and is deleted where the body fails.

    What killed writers have left beside it for an hour is deleted too. Writers may race: the last one's file stays.
    Without a flush to the disk: a machine that loses its power may lose the file.
    """
    part = _part(path)
    try:
        yield part
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    for left in path.parent.glob(f"*.{'[0-9a-f]' * 32}{TEMPORARY}"):  # no other program's
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < time.time() - STALE_S:
                left.unlink()


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file, text as UTF-8, as `whole` does. Raises OSError."""
    with whole(path) as part:
        part.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write arrays, by name, as `whole` does; on a full disk nothing is written, and nothing is said."""
    with contextlib.suppress(OSError), whole(path) as part, part.open("wb") as out:  # savez adds .npz to a name
        np.savez(out, **arrays)


def read_arrays(path: Path, *names: str) -> list[NDArray[Any]] | None:
    """The arrays of `write_arrays` by these names; None if one is not there, or cannot be read."""
    try:
        with np.load(path) as content:
            return [content[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def write_first(path: Path, content: bytes) -> bool:
    """Write a file unless it is there; whether it was not. Of writers that race one is the first. Raises OSError.

    If the file system has no hard links, the last one's file stays.
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
    """A name beside ``path``, whose folder is there then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
