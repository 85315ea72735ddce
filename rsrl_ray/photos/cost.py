"""The memory that decoding a picture needs, computed before it is decoded."""

import threading
from typing import Any

from PIL import Image, JpegImagePlugin

_DECODERS = {"WEBP": 17, "AVIF": 12, "JPEG2000": 20, "HEIF": 12}  # bytes per pixel, measured; others: Pillow's image
_ORIENTATION = 0x0112


def bytes_needed(picture: Image.Image) -> float:
    """The bytes that decoding a picture to RGB needs at most, from its header; of a JPEG at the size of its draft."""
    pixels = picture.size[0] * picture.size[1]
    kind = picture.mode
    own = 1 if kind in ("1", "L", "P") else 2 if kind.startswith("I;16") else 4
    decoder = _DECODERS.get(picture.format or "", own)
    plain = kind == "RGB" and "transparency" not in picture.info
    need: float = pixels * max(decoder, own + (0 if plain else 4))
    if isinstance(picture, JpegImagePlugin.JpegImageFile) and picture.info.get("progressive"):
        need += _coefficients(picture)
    return need


def _coefficients(picture: Any) -> float:
    """The bytes of a progressive JPEG's coefficients: two for each sample, also if the JPEG is opened reduced."""
    across, down = (max(layer[place] for layer in picture.layer) for place in (1, 2))
    samples = sum(layer[1] * layer[2] for layer in picture.layer) / (across * down)
    reduced = picture.decoderconfig[0] if picture.decoderconfig else 1
    return float(2 * samples * picture.size[0] * picture.size[1] * max(1, reduced) ** 2)


def turning_needs(picture: Image.Image) -> float:
    """The bytes that turning a decoded picture upright needs too; EXIF may stand at the end of a file."""
    try:
        turned = int(picture.getexif().get(_ORIENTATION, 1)) > 1
    except Exception:  # EXIF that cannot be parsed turns nothing
        turned = False
    return float(2 * 4 * picture.size[0] * picture.size[1]) if turned else 0.0


class _Unlimited:
    """Switches off Pillow's limit of pixels, as long as any thread is inside."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, Image.MAX_IMAGE_PIXELS

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                Image.MAX_IMAGE_PIXELS = self._before


UNLIMITED = _Unlimited()
