"""Maps of a first convolution."""

import numpy as np
import torch

from rsrl_ray.vision.conv1 import conv1_maps, random_conv1
from rsrl_ray.vision.network import Conv1

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def test_maps_of_a_batch_pixel_by_pixel() -> None:
    generator = np.random.default_rng(3)
    pixels = generator.integers(0, 256, (2, 6, 6, 3), dtype=np.uint8)
    weight, bias = (generator.normal(0, 0.3, shape).astype(np.float32) for shape in ((5, 3, 3, 2), (5,)))
    maps = conv1_maps(pixels, Conv1(weight, bias, (2, 1), (0, 1)), torch.device("cpu"))
    assert maps.dtype == np.float64 and maps.shape == (2, 5, 2, 7)
    inputs = np.pad((pixels / 255 - MEAN) / STD, [(0, 0), (0, 0), (1, 1), (0, 0)])
    for y, x in np.ndindex(2, 7):
        patch = inputs[:, 2 * y : 2 * y + 3, x : x + 2]
        expected = np.einsum("kchw,bhwc->bk", weight.astype(np.float64), patch) + bias
        np.testing.assert_allclose(maps[:, :, y, x], expected, rtol=0, atol=1e-12)


def test_random_weights_have_the_shape_and_hes_deviation_and_follow_the_generator() -> None:
    like = Conv1(np.ones((400, 3, 5, 5), np.float32), np.ones(400, np.float32), (4, 2), (1, 0))
    generator = np.random.default_rng(0)
    first, second = random_conv1(like, generator), random_conv1(like, generator)
    assert (first.weight.shape, first.weight.dtype, first.stride, first.padding) == (
        (400, 3, 5, 5),
        "float32",
        (4, 2),
        (1, 0),
    )
    assert not first.bias.any() and (first.weight != second.weight).all()
    assert abs(first.weight.std() / np.sqrt(2 / 75) - 1) < 0.02 and abs(first.weight.mean()) < 0.002
    assert (random_conv1(like, np.random.default_rng(0)).weight == first.weight).all()
