"""Decodes one picture from its bytes to 8-bit RGB."""

import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from rsrl_ray.config import PHOTO_MEMORY
from rsrl_ray.core.errors import one_line
from rsrl_ray.photos.bare import bare_picture
from rsrl_ray.photos.cost import UNLIMITED, bytes_needed, turning_needs
from rsrl_ray.photos.formats import formats, stranger
from rsrl_ray.photos.grey import Refused, bits, levels
from rsrl_ray.photos.source import Unreadable

GIB = 2**30

_DRAFT = 2  # JPEGs are opened at this many times the size or more: within 5 of 255 levels of a full decode
_STRIP = 1 << 20  # pixels that are converted at once
_PASSING = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EAGAIN)
_LOW = 15  # of 255: the brightest pixel of a picture of 16 bits that uses only the lower 12


Interpolation = Literal["bilinear", "bicubic"]


def decode_photo(
    data: bytes, size: int | None, memory: float = PHOTO_MEMORY, interpolation: Interpolation = "bilinear"
) -> NDArray[np.uint8]:
    """Decode a picture to 8-bit RGB. It is turned as its EXIF orientation says, and transparent parts become white.

    data : the bytes of a picture in one of the `formats`; the first frame of an animation is taken.
    size : S to warp the picture to S x S (by ``interpolation``, antialiased), None for its own size.
    memory : GiB that decoding may take; a large JPEG is opened reduced and takes less.

    Returns [H, W, 3].

    Raises
    ------
    ValueError
        With a short cause, if the bytes are not a whole picture with defined colours.
    Unreadable
        If the machine has too little memory or too few open files now.
    """
    with _opened(data, size, memory) as picture:
        rgb = _rgb(picture)
        if size is not None and rgb.size != (size, size):
            rgb = rgb.resize((size, size), Image.Resampling[interpolation.upper()])
        return np.array(rgb, dtype=np.uint8)


def small_photo(data: bytes, side: int) -> Image.Image:
    """The picture of `decode_photo` in its own shape; its longer side is ``side`` pixels at most."""
    with _opened(data, side, PHOTO_MEMORY) as picture:
        small = _rgb(picture).copy()
        small.thumbnail((side, side))
        return small


def oddity_of(data: bytes, size: int, memory: float = PHOTO_MEMORY) -> str:
    """What is unusual about a picture; "" if nothing is. Raises what `decode_photo` raises."""
    with _opened(data, size, memory) as picture:
        deep = data[24:25] == b"\x10" if picture.format == "PNG" else bits(picture) == 16
        extrema: Any = _rgb(picture).getextrema()
        if all(low == high for low, high in extrema):
            return f"all of one colour, {tuple(low for low, _ in extrema)}"
        if deep and max(high for _, high in extrema) <= _LOW:
            return "16 bits, but only the lower 12 are used: the photo is nearly black"
        return ""


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Switch off Pillow's warnings (large pictures, unusual EXIF) and its limit of pixels.

    Enter it around threads that decode, because warning filters and the limit belong to the whole process.
    """
    with warnings.catch_warnings(), UNLIMITED:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@contextmanager
def _opened(data: bytes, size: int | None, memory: float) -> Iterator[Image.Image]:
    """The picture, decoded and upright. Errors of the body too become those of `decode_photo`."""
    try:
        with quiet_pillow():
            yield _loaded(data, size, memory)
    except Refused as error:
        raise ValueError(str(error)) from error
    except MemoryError as error:
        raise Unreadable("cannot be decoded now (out of memory)") from error
    except Exception as error:  # Pillow's readers raise nearly anything on bytes that are broken
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise Unreadable(f"cannot be decoded now ({error.strerror})") from error
        kind = "truncated" if "truncated" in str(error).lower() else "broken"
        raise ValueError(f"{kind} ({one_line(error)})") from error


def _loaded(data: bytes, size: int | None, memory: float) -> Image.Image:
    if not data:
        raise Refused("zero bytes")
    _refuse_short_webp(data)
    try:
        return _load(data, size, memory)
    except (Refused, MemoryError):
        raise
    except Exception:
        bare = bare_picture(data)  # a picture is not refused for parts that have no effect on its pixels
        if len(bare) == len(data):
            raise
        return _load(bare, size, memory)


def _load(data: bytes, size: int | None, memory: float) -> Image.Image:
    try:
        picture = Image.open(BytesIO(data), formats=list(formats()))
    except UnidentifiedImageError as error:
        if bare_picture(data) != data:
            raise
        raise Refused(stranger(data)) from error
    if size is not None:
        picture.draft(None, (_DRAFT * size, _DRAFT * size))
    _refuse_large(picture, bytes_needed(picture), memory)
    picture.load()
    _refuse_large(picture, turning_needs(picture), memory)
    with suppress(Exception):  # EXIF that cannot be parsed says nothing about the pixels, which are there by now
        ImageOps.exif_transpose(picture, in_place=True)
    return picture


def _refuse_large(picture: Image.Image, need: float, memory: float) -> None:
    if need > memory * GIB:
        width, height = picture.size
        raise Refused(
            f"{width} x {height} pixels take {need / GIB:.2f} GiB to decode, more than the {memory:g} GiB of "
            "resources.photo_memory"
        )


def _rgb(picture: Image.Image) -> Image.Image:
    """The picture as 8-bit RGB. It is converted in strips, because a conversion makes several copies."""
    grey = levels(picture)
    if grey is None and picture.mode == "RGB" and not picture.has_transparency_data:
        return picture
    if picture.mode == "LAB":
        raise Refused("CIELAB colours; save it as RGB")
    width, height = picture.size
    rows = max(1, _STRIP // width)
    rgb = Image.new("RGB", picture.size)
    for top in range(0, height, rows):
        strip = picture.crop((0, top, width, min(top + rows, height)))
        rgb.paste(_strip_rgb(strip if grey is None else grey.to_8_bit(strip)), (0, top))
    return rgb


def _strip_rgb(strip: Image.Image) -> Image.Image:
    if strip.has_transparency_data:
        strip = strip.convert("RGBA")
        strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
    return strip.convert("RGB")


def _refuse_short_webp(data: bytes) -> None:
    """Refuse a WebP that is cut short: Pillow only says that it "could not create decoder object"."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        expected = 8 + int.from_bytes(data[4:8], "little")
        if len(data) < expected:
            raise Refused(f"truncated ({len(data)} of {expected} bytes)")
