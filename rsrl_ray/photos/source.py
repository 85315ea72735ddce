"""Reads the bytes of a photo from a disk or a bucket."""

import errno
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pyarrow import ArrowException, fs

from rsrl_ray.core.errors import one_line, system_words
from rsrl_ray.store.location import URI


class Unreadable(ValueError):
    """A photo cannot be read or decoded now, but perhaps later. Broken bytes are another error."""


def read_bytes(source: str) -> bytes:
    """The bytes of a picture.

    source : absolute path, or a URI of one of pyarrow's file systems. Raises ValueError with a short cause.
    """
    if not source:
        raise ValueError("no image is named")
    try:
        data = _read_uri(source) if URI.match(source) else Path(source).read_bytes()
    except FileNotFoundError as error:
        where = "" if URI.match(source) else f" (there is no {source})"
        raise ValueError(f"missing{where}") from error
    except IsADirectoryError as error:
        raise ValueError("a folder, not a picture") from error
    except (OSError, ArrowException, ValueError) as error:
        cause = system_words(error) if isinstance(error, OSError) else one_line(error)
        raise ValueError(f"cannot be read ({cause})") from error
    if not data:
        raise ValueError("zero bytes")
    return data


def _read_uri(uri: str) -> bytes:
    files, path = located(uri)
    if files.get_file_info(path).type == fs.FileType.Directory:
        raise IsADirectoryError(errno.EISDIR, "a folder", uri)
    with files.open_input_stream(path, compression=None) as stream:
        return bytes(stream.read())


def located(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in this file system."""
    parts = urlsplit(uri, allow_fragments=False)  # a # in a bucket is part of the name
    query = f"?{parts.query}" if parts.query else ""
    files, root = _file_system(f"{parts.scheme}://{parts.netloc}/{query}")
    return files, f"{root.rstrip('/')}/{unquote(parts.path).lstrip('/')}"


@lru_cache(maxsize=64)  # because connecting takes a request or more, and a bucket has many photos
def _file_system(root: str) -> tuple[Any, str]:
    files, path = fs.FileSystem.from_uri(root)
    return files, path
