"""One picture: its bytes from a disk or a bucket, and its pixels as 8-bit RGB."""

import errno
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from pyarrow import ArrowException, fs

from rsrl_ray.vision.table import URI

T = TypeVar("T")
_DRAFT = 2  # JPEGs are opened at this many times the size at least: within 5 of 255 levels of a full decode


def read_bytes(source: str) -> bytes:
    """The bytes of a picture.

    source : absolute path, or a URI of any of pyarrow's file systems. Raises ValueError with a short cause.
    """
    if not source:
        raise ValueError("no image is named")
    try:
        data = _read_uri(source) if URI.match(source) else _read_file(source)
    except FileNotFoundError as error:
        where = "" if URI.match(source) else f" (there is no {source})"
        raise ValueError(f"missing{where}") from error
    except IsADirectoryError as error:
        raise ValueError("a folder, not a picture") from error
    except (OSError, ArrowException, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else None
        raise ValueError(f"cannot be read ({_one_line(cause or error)})") from error
    if not data:
        raise ValueError("zero bytes")
    return data


def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _read_uri(uri: str) -> bytes:
    parts = urlsplit(uri, allow_fragments=False)  # a # in a bucket is part of the name
    query = f"?{parts.query}" if parts.query else ""
    files, root = _file_system(f"{parts.scheme}://{parts.netloc}/{query}")
    path = f"{root.rstrip('/')}/{unquote(parts.path).lstrip('/')}"
    if files.get_file_info(path).type == fs.FileType.Directory:
        raise IsADirectoryError(errno.EISDIR, "a folder", uri)
    with files.open_input_stream(path, compression=None) as stream:
        return bytes(stream.read())


@lru_cache(maxsize=64)  # connecting costs a request or more, and a bucket holds many photos
def _file_system(root: str) -> tuple[Any, str]:
    files, path = fs.FileSystem.from_uri(root)
    return files, path


def picture_suffixes() -> frozenset[str]:
    """How the names of pictures end that Pillow reads here, in lower case: ``.jpg``, ``.png``, ``.webp`` and more."""
    suffixes = Image.registered_extensions()
    return frozenset(
        suffix
        for suffix, kind in suffixes.items()
        if kind in Image.OPEN and Image.MIME.get(kind, "").startswith("image/")
    )


def decode_photo(data: bytes, size: int | None) -> NDArray[np.uint8]:
    """Decode a picture to 8-bit RGB, upright as its EXIF orientation says; transparency over white.

    data : the bytes of a JPEG, PNG, WebP (the first frame, where it is animated) or what else Pillow reads.
    size : S to warp the picture to S x S (bilinear, antialiased), None for its own size.

    Returns [H, W, 3]. Raises ValueError with a short cause where the bytes are no whole picture.
    """
    return _decoded(data, size, lambda upright: np.array(_warped(upright, size), dtype=np.uint8))


def small_photo(data: bytes, side: int) -> Image.Image:
    """The picture as `decode_photo` has it, in its own shape, its longer side at most ``side`` pixels.

    Raises ValueError with a short cause where the bytes are no whole picture.
    """

    def shrunk(upright: Image.Image) -> Image.Image:
        small = upright.copy()
        small.thumbnail((side, side))
        return small

    return _decoded(data, side, shrunk)


def _decoded(data: bytes, size: int | None, finish: Callable[[Image.Image], T]) -> T:
    """What ``finish`` makes of the upright picture in RGB, of which ``size`` pixels are needed, None for all."""
    if not data:
        raise ValueError("zero bytes")
    _refuse_short_webp(data)
    Image.preinit()  # the common readers first
    Image.init()  # Pillow loads the others when first needed, and two threads at once then miss some
    try:
        with quiet_pillow(), Image.open(BytesIO(data)) as picture:
            if size is not None:
                picture.draft(None, (_DRAFT * size, _DRAFT * size))
            picture.load()
            _turn_upright(picture)
            return finish(_to_rgb(picture))
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\((\d+) pixels\)", str(error))
        size_text = f": {int(pixels[1]) / 1e6:.0f} megapixels" if pixels else ""
        raise ValueError(f"decompression bomb{size_text}") from error
    except UnidentifiedImageError as error:
        raise ValueError("not a picture that Pillow can read") from error
    except Exception as error:  # Pillow's readers raise nearly anything on bytes that are broken
        kind = "truncated" if "truncated" in str(error).lower() else "broken"
        raise ValueError(f"{kind} ({_one_line(error)})") from error


def _warped(upright: Image.Image, size: int | None) -> Image.Image:
    if size is None or upright.size == (size, size):
        return upright
    return upright.resize((size, size), Image.Resampling.BILINEAR)


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Drop Pillow's warnings (large pictures, odd EXIF): a picture is either good or refused.

    Enter it around threads that decode: warning filters belong to the whole process.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _refuse_short_webp(data: bytes) -> None:
    """Pillow itself only says that it "could not create decoder object"."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        expected = 8 + int.from_bytes(data[4:8], "little")
        if len(data) < expected:
            raise ValueError(f"truncated ({len(data)} of {expected} bytes)")


def _turn_upright(picture: Image.Image) -> None:
    try:
        ImageOps.exif_transpose(picture, in_place=True)
    except Exception:  # EXIF that cannot be parsed says nothing about the pixels, which are there by now
        return


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        picture = _to_8_bit(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _to_8_bit(picture: Image.Image) -> Image.Image:
    """Grey of 16 bits (``I;16``; ``I`` where it holds more than 8 bits) shifted to 8; Pillow clips it."""
    values = np.asarray(picture)
    if picture.mode != "I" or values.max() > 255:
        values = values >> 8
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
