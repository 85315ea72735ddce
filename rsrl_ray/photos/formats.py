"""The formats of pictures that are read. Pillow has 43 readers; the others never get a picture's bytes."""

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache

from PIL import Image

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF")
_HEIF = "HEIF"
_HEIF_SUFFIXES = (".heic", ".heif", ".hif")
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")

HEIC = "HEIC, which needs `pip install 'rsrl_ray[heif]'`"


@lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read."""
    Image.init()  # else Pillow loads its readers at the first picture, and two threads at once miss some of them
    known = [name for name in _FORMATS if name in Image.OPEN]
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        known.append(_HEIF)
    return tuple(known)


@lru_cache(maxsize=1)
def picture_suffixes() -> frozenset[str]:
    """The suffixes of pictures in lower case: ``.jpg``, ``.png``, ``.webp`` and more; also HEIC if it is not read."""
    known = formats()
    return frozenset({suffix for suffix, name in Image.EXTENSION.items() if name in known} | {*_HEIF_SUFFIXES})


def stranger(data: bytes) -> str:
    """What bytes are if no reader takes them, as a cause for messages."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and _HEIF not in formats():
        return HEIC
    if data[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return "a kind of TIFF that Pillow does not read; save it with 8 or 16 bits, as grey, RGB or CMYK"
    other = next((name for name, (_, accept) in Image.OPEN.items() if accept and accept(data[:16]) is True), None)
    if other is not None and other not in formats():
        return f"{other}, a format that is not read; save it as JPEG or PNG"
    return "not a picture that Pillow can read"


def heic_hint(photos: Mapping[str, str]) -> str:
    """One line on all HEIC photos, if HEIC is not read; "" if there are none.

    photos : name -> what is wrong with the photo.
    """
    names = [name for name, cause in photos.items() if cause == HEIC]
    if not names:
        return ""
    listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names):,} HEIC photos ({listed}) are not read; `pip install 'rsrl_ray[heif]'` makes them readable"
