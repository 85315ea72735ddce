"""Where a photo has edges, on the grid of a network's first convolution."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601: how bright red, green and blue are


def edge_map(
    pixels: NDArray[np.uint8], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> NDArray[np.float64]:
    """The strength of the edges in the window that each pixel of a conv1 map sees, [h, w], 0 or more.

    It is the length of the Sobel gradient of the grey photo, averaged over the window of the convolution. Around the
    photo its border is repeated, so the border is no edge.

    pixels : [S, S, 3], as the network takes them. kernel, stride, padding : (vertical, horizontal), of the convolution.
    """
    grey = np.pad(pixels @ LUMA, [(side, side) for side in padding], mode="edge")
    strength = np.hypot(ndimage.sobel(grey, axis=0, mode="nearest"), ndimage.sobel(grey, axis=1, mode="nearest"))
    windows = np.lib.stride_tricks.sliding_window_view(strength, kernel)[:: stride[0], :: stride[1]]
    return np.asarray(windows.mean(axis=(2, 3)))
