"""Digests: 128 bits of BLAKE2b as 32 hex digits. Equal digests mean equal content."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIGEST_BYTES = 16


def digest(content: Any) -> str:
    """The digest of anything that JSON can write; the order of keys does not count."""
    return bytes_digest(json.dumps(content, sort_keys=True).encode())


def bytes_digest(content: bytes | memoryview) -> str:
    """The digest of bytes."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest()


def file_digest(file: Path) -> str:
    """The digest of a file's bytes. The file may be larger than the memory."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def array_digest(arrays: Mapping[str, "NDArray[Any]"]) -> str:
    """The digest of named arrays: of their names, types, shapes and bytes."""
    import numpy as np  # here, because --help needs digests of text and does not wait for NumPy

    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        state.update(f"{name} {array.dtype.str} {array.shape};".encode())
        state.update(array.reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def short_digest(text: str) -> str:
    """8 hex digits, to be part of a name that people read."""
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
