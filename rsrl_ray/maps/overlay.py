"""A highlight map over its photo: diverging colours, symmetric about zero, at the photo's own size."""

import math

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOUR_MAP = "RdBu_r"  # red: more than before, blue: less; told apart by the colour-blind too
_LEVELS = 127  # steps on each side of zero


def overlay(
    photo: NDArray[np.uint8], values: NDArray[np.float64], box: tuple[float, float, float, float]
) -> Image.Image:
    """The photo in pale grey under the map's colours; the stronger the value, the less of the photo shows through.

    Full colour stands for the 99th percentile of the absolute values, on either side of zero.

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
    """Left, top, right and bottom edge of an S x S picture, S = size, in pixels of its conv1 map.

    A map's pixel i looks at the picture around stride * i - padding + kernel / 2, so the picture can reach beyond
    the map, or the map beyond the picture. kernel, stride, padding : (vertical, horizontal).
    """
    first = [padding[axis] - kernel[axis] / 2 + stride[axis] / 2 for axis in (1, 0)]
    steps = (stride[1], stride[0])
    near = [offset / step for offset, step in zip(first, steps, strict=True)]
    far = [(size + offset) / step for offset, step in zip(first, steps, strict=True)]
    return near[0], near[1], far[0], far[1]


def _limit(values: NDArray[np.float64]) -> float:
    """What full colour stands for; the largest value where all but a few pixels are zero."""
    size = np.abs(values)
    return float(np.percentile(size, 99) or size.max() or 1.0)


def _pale(photo: NDArray[np.uint8]) -> Image.Image:
    """Grey between 96 and 255: black would swallow the colours."""
    return (
        Image.fromarray(photo)
        .convert("L")
        .point([96 + round(level * 159 / 255) for level in range(256)])
        .convert("RGB")
    )


def _palette() -> list[int]:
    """The middle of the colour map, nearly white, is left out: there the photo itself shows."""
    half = np.linspace(0, 0.3, _LEVELS + 1)[1:]
    shares = np.concatenate([0.38 - half[::-1], [0.5], 0.62 + half])
    colours = matplotlib.colormaps[COLOUR_MAP](shares, bytes=True)[:, :3]
    return [int(part) for part in colours.ravel()]


def _opacities() -> list[int]:
    """0 to 217 of 255: the outlines of the photo stay visible everywhere."""
    return [round(217 * abs(level - _LEVELS) / _LEVELS) if level <= 2 * _LEVELS else 217 for level in range(256)]
