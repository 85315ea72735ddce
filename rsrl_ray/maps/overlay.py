"""Draws a highlight map over its photo, at the photo's size, in diverging colours that are symmetric about zero."""

import math

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOUR_MAP = "RdBu_r"  # red: more than before, blue: less; colour-blind people can distinguish them
_LEVELS = 127  # colours on each side of zero


def overlay(
    photo: NDArray[np.uint8], values: NDArray[np.float64], box: tuple[float, float, float, float]
) -> Image.Image:
    """The photo in pale grey under the colours of the map. Large values hide more of the photo.

    The full colours stand for plus and minus the 99th percentile of the absolute values.

    photo : [H, W, 3]. values : [h, w]. box : the part of the map that the photo covers, see `covered`.
    """
    height, width = photo.shape[:2]
    size = (width, height)
    margin = math.ceil(max(0.0, -min(box), box[2] - values.shape[1], box[3] - values.shape[0]))
    widened = Image.fromarray(np.pad(values, margin, mode="edge").astype(np.float32) / _limit(values))
    left, top, right, bottom = (edge + margin for edge in box)
    shares = np.asarray(widened.resize(size, Image.Resampling.BILINEAR, box=(left, top, right, bottom)))
    levels = np.rint(shares.clip(-1, 1) * _LEVELS + _LEVELS).astype(np.uint8)
    colours = Image.fromarray(levels).convert("P")
    colours.putpalette(_palette())
    opacity = Image.fromarray(levels).point(_opacities())
    return Image.composite(colours.convert("RGB"), _pale(photo), opacity)


def covered(
    size: int, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The left, top, right and bottom edges of a picture of ``size`` x ``size``, in pixels of its conv1 map.

    Pixel i of the map looks at the picture around stride * i - padding + kernel / 2. So the picture can be larger than
    the map, or the map larger than the picture. kernel, stride, padding : (vertical, horizontal).
    """
    first = [padding[axis] - kernel[axis] / 2 + stride[axis] / 2 for axis in (1, 0)]
    steps = (stride[1], stride[0])
    near = [offset / step for offset, step in zip(first, steps, strict=True)]
    far = [(size + offset) / step for offset, step in zip(first, steps, strict=True)]
    return near[0], near[1], far[0], far[1]


def _limit(values: NDArray[np.float64]) -> float:
    """The value of full colour: the 99th percentile, or the largest value if the percentile is zero."""
    size = np.abs(values)
    return float(np.percentile(size, 99) or size.max() or 1.0)


def _pale(photo: NDArray[np.uint8]) -> Image.Image:
    """The photo in greys from 96 to 255, because colours over black cannot be seen."""
    return (
        Image.fromarray(photo)
        .convert("L")
        .point([96 + round(level * 159 / 255) for level in range(256)])
        .convert("RGB")
    )


def _palette() -> list[int]:
    """The colours, without the nearly white middle of the colour map, because there the photo itself shows."""
    half = np.linspace(0, 0.3, _LEVELS + 1)[1:]
    shares = np.concatenate([0.38 - half[::-1], [0.5], 0.62 + half])
    colours = matplotlib.colormaps[COLOUR_MAP](shares, bytes=True)[:, :3]
    return [int(part) for part in colours.ravel()]


def _opacities() -> list[int]:
    """Opacities from 0 to 217 of 255, so that the outlines of the photo can be seen everywhere."""
    return [round(217 * abs(level - _LEVELS) / _LEVELS) if level <= 2 * _LEVELS else 217 for level in range(256)]
