"""Digests: 128 bits of BLAKE2b as 32 hex digits, by which what is the same is known to be the same."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 16


def digest(content: Any) -> str:
    """Of anything that JSON can write, independent of the order of keys."""
    return bytes_digest(json.dumps(content, sort_keys=True).encode())


def bytes_digest(content: bytes | memoryview) -> str:
    """Of bytes as they are."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest()


def file_digest(file: Path) -> str:
    """Of a file's bytes, which need not fit into memory."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def array_digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Of named arrays: names, types, shapes and bytes."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        state.update(f"{name} {array.dtype.str} {array.shape};".encode())
        state.update(array.reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def short_digest(text: str) -> str:
    """8 hex digits, for the end of a name that people read too."""
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
