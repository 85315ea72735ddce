"""Converts grey of more than 8 bits to 8 bits, from what is black and white in it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT

_WHITE_TAGS = (50717, 341, 281)  # WhiteLevel of DNG, SMaxSampleValue, MaxSampleValue
_SIGNED = 2  # of SampleFormat
_SHIFTED = 65535  # white of 16 bits; these are shifted to 8 bits


class Refused(Exception):
    """A picture is bad; the text is the cause for messages."""


@dataclass(frozen=True)
class Levels:
    """Black is 0 and ``white`` is white. If ``inverted``, 0 is white and ``white`` is black."""

    white: float
    inverted: bool = False

    def to_8_bit(self, picture: Image.Image) -> Image.Image:
        """The picture (of mode ``I;16``, ``I`` or ``F``) in mode ``L``. Raises Refused if a value is not a number."""
        values: Any = np.asarray(picture)
        if self.white == _SHIFTED and values.dtype.kind != "f":
            values = values.clip(0, _SHIFTED) >> 8
            values = 255 - values if self.inverted else values
        else:
            if not np.isfinite(values).all():
                raise Refused("a pixel is not a number (NaN or infinite)")
            values = (values.astype(np.float64) / self.white).clip(0, 1)
            values = np.rint(255 * (1 - values if self.inverted else values))
        return Image.fromarray(values.astype(np.uint8))


def levels(picture: Image.Image) -> Levels | None:
    """What is white in a loaded picture; None if it has 8 bits (white is 255).

    A tag of a TIFF says it: WhiteLevel, SMaxSampleValue or MaxSampleValue. Without such a tag, white is the largest
    number of 16 bits (or of as many bits as the file says), and 1 for floats.

    Raises
    ------
    Refused
        If white is not known: 32-bit integers without such a tag, floats below 0 or above 1, signed 8 bits.
    """
    tags: Any = getattr(picture, "tag_v2", {})
    inverted = tags.get(PHOTOMETRIC_INTERPRETATION) == 0
    signed = tags.get(SAMPLEFORMAT, (1,))[0] == _SIGNED
    if picture.mode != "F" and not picture.mode.startswith("I"):
        if signed:
            raise Refused("signed 8-bit values, so it is not known what is black; save it with unsigned 8 bits")
        return None
    white = _told(tags)
    if white is None:
        white = 1.0 if picture.mode == "F" else _largest(bits(picture), signed)
        if picture.mode == "F":
            _refuse_beyond(picture)
    return Levels(white, inverted)


def bits(picture: Image.Image) -> int:
    """The bits of a sample: from the tag of a TIFF, else from Pillow's mode."""
    tags: Any = getattr(picture, "tag_v2", {})
    return int(tags.get(BITSPERSAMPLE, (16 if picture.mode.startswith("I") else 8,))[0])


def _told(tags: Any) -> float | None:
    for tag in _WHITE_TAGS:
        value = tags.get(tag)
        value = value[0] if isinstance(value, tuple) and value else value
        if isinstance(value, int | float) and 0 < value < math.inf:
            return float(value)
    return None


def _largest(depth: int, signed: bool) -> float:
    if depth > 16:
        raise Refused(
            "32-bit integers without a tag (SMaxSampleValue) that says what is white; save it with 8 or 16 bits"
        )
    return float(2 ** (depth - signed) - 1)


def _refuse_beyond(picture: Image.Image) -> None:
    extrema: Any = picture.getextrema()
    low, high = extrema
    if low < 0 or high > 1:
        raise Refused(
            f"floats of {low:g} to {high:g}, but 0 is black and 1 is white if no tag (SMaxSampleValue) says "
            "otherwise; save it with 8 or 16 bits"
        )
