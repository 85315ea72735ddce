"""Maps of the first convolution, to compare rounds."""

import numpy as np
import torch
from numpy.typing import NDArray

from rsrl_ray.vision.encoders import TORCHVISION, Preprocessing
from rsrl_ray.vision.network import Conv1


def random_conv1(like: Conv1, generator: np.random.Generator) -> Conv1:
    """A first convolution of this shape that has learnt nothing: normal weights (He et al. 2015, eq. 10), no bias."""
    deviation = np.sqrt(2 / np.prod(like.weight.shape[1:]))
    weight = generator.normal(0, deviation, like.weight.shape).astype(np.float32)
    return Conv1(weight, np.zeros_like(like.bias), like.stride, like.padding)


def conv1_maps(
    pixels: NDArray[np.uint8], conv1: Conv1, device: torch.device, colours: Preprocessing = TORCHVISION
) -> NDArray[np.float64]:
    """The output of the first convolution before ReLU, [B, K, h, w].

    It is computed in float64, whatever the network was trained in, because the correlation of two rounds' maps
    differs from 1 by as little as 1e-8.

    pixels : [B, S, S, 3], the photos at the size that the network takes. colours : how it normalises them.
    """
    mean, std = torch.tensor([colours.mean, colours.std], dtype=torch.float64, device=device)[..., None, None]
    weight, bias = (torch.from_numpy(array).to(device).double() for array in (conv1.weight, conv1.bias))
    pictures = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).double()
    inputs = ((pictures / 255 - mean) / std).contiguous()
    return np.asarray(torch.nn.functional.conv2d(inputs, weight, bias, conv1.stride, conv1.padding).cpu().numpy())
