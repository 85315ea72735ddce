"""Layers that torchvision lacks: heads with float32 logits, deterministic average pooling, the small network."""

import math
from typing import cast

import torch
from torch import Tensor, nn


class _Float32(nn.Module):
    """Computes without autocast: around 2 bfloat16 has steps of 1/64, too coarse for ranks and thresholds."""

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, enabled=False):
            return cast(Tensor, super().forward(inputs.float()))


class LinearHead(_Float32, nn.Linear):
    """A last layer whose logits are float32, under autocast too."""

    def prepared(self, features: Tensor) -> Tensor:
        """What the layer multiplies by its weight, of features [B, D] in any precision; float32."""
        return features.float()


class StandardisedHead(LinearHead):
    """The same, of features less their mean and by their standard deviation, which are set, not learnt.

    mean, sd : [D], those of the training photos of a fold; at first 0 and 1. They are part of the weights.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self.register_buffer("mean", torch.zeros(in_features))
        self.register_buffer("sd", torch.ones(in_features))

    @torch.no_grad()
    def set(self, mean: Tensor, sd: Tensor) -> None:
        """Take these, [D] each."""
        self.mean.copy_(mean)
        self.sd.copy_(sd)

    def prepared(self, features: Tensor) -> Tensor:
        """See `LinearHead`."""
        return (features.float() - self.mean) / self.sd

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, D] -> logits [B, C]."""
        return super().forward(self.prepared(inputs))


class MeanPool(nn.Module):
    """The mean of each map: [B, C, h, w] -> [B, C]."""

    def forward(self, maps: Tensor) -> Tensor:
        """See the class."""
        return maps.mean((2, 3))


class ConvHead(_Float32, nn.Conv2d):
    """The same layer for SqueezeNet, whose last layer is a 1 x 1 convolution."""


class QuickDropout(nn.Dropout):
    """Dropout that draws 16 random bits for each element, and rounds ``p`` to the nearest 1 / 65,536.

    On CPUs that are not Intel's, PyTorch draws the numbers of the elements one after the other. This took most of the
    time of SqueezeNet's last layer on frozen maps: 13 ms for 32 maps of 7 x 7 x 512. This class takes 2 ms.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Drop elements of a dense tensor, and scale the others so that the mean stays the same."""
        dropped = round(self.p * 2**16)
        if not self.training or dropped == 0:
            return inputs
        if dropped == 2**16:
            return inputs * 0
        assert inputs.is_contiguous() or inputs.is_contiguous(memory_format=torch.channels_last)
        count = inputs.numel()
        words = torch.empty(math.ceil(count / 4), dtype=torch.int64, device=inputs.device).random_(-(2**63), None)
        kept = words.view(torch.int16)[:count].ge_(dropped - 2**15)  # 1 or 0, because bools are multiplied slowly
        mask = kept.to(inputs.dtype).mul_(2**16 / (2**16 - dropped))
        return inputs * mask.as_strided(inputs.size(), inputs.stride())


class AveragePool(nn.Module):
    """``AdaptiveAvgPool2d`` as two matrix products, because its own backward is not deterministic on CUDA."""

    rows: Tensor
    columns: Tensor

    def __init__(self, size: tuple[int, int], output_size: tuple[int, int]) -> None:
        """Pool maps of ``size`` (height, width) to ``output_size``."""
        super().__init__()
        self.register_buffer("rows", _averages(size[0], output_size[0]), persistent=False)
        self.register_buffer("columns", _averages(size[1], output_size[1]).T, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, height, width] -> [B, C, *output_size]."""
        with torch.autocast(maps.device.type, enabled=False):
            return (self.rows @ maps.float() @ self.columns).to(maps.dtype)


def _averages(size: int, bins: int) -> Tensor:
    """[bins, size]: row i is the mean from floor(i size / bins) to ceil((i + 1) size / bins), as AdaptiveAvgPool2d."""
    matrix = torch.zeros(bins, size)
    for i in range(bins):
        first, end = i * size // bins, math.ceil((i + 1) * size / bins)
        matrix[i, first:end] = 1 / (end - first)
    return matrix


class Small(nn.Module):
    """AlexNet's layout with about a tenth of its width. Its first convolution fits pictures of 64 pixels."""

    def __init__(self) -> None:
        super().__init__()
        relu, pool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 7, stride=2, padding=3),
            relu,
            pool,
            nn.Conv2d(8, 20, 5, padding=2),
            relu,
            pool,
            nn.Conv2d(20, 40, 3, padding=1),
            relu,
            nn.Conv2d(40, 26, 3, padding=1),
            relu,
            nn.Conv2d(26, 26, 3, padding=1),
            relu,
            pool,
        )
        self.avgpool = nn.AdaptiveAvgPool2d((3, 3))
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(26 * 9, 400),
            relu,
            nn.Dropout(),
            nn.Linear(400, 400),
            relu,
            nn.Linear(400, 1000),
        )
        self.apply(_draw)

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, 3, S, S] -> logits [B, classes]."""
        return cast(Tensor, self.classifier(self.avgpool(self.features(pictures)).flatten(1)))


@torch.no_grad()
def _draw(layer: nn.Module) -> None:
    """Draw weights as in He et al. 2015, and give all filters mean zero except those of the first layer.

    PyTorch's default makes the variance six times smaller at every layer with ReLU: after seven layers all pictures
    have the same logits. The outputs of ReLU are all positive, so a filter that takes their mean mostly sees what all
    pictures have in common. In both cases nothing is learnt in a few epochs on a few hundred photos.
    """
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        if layer.weight.shape[1] > 3:
            filters = layer.weight.flatten(1)  # a view
            filters -= filters.mean(1, keepdim=True)
        nn.init.zeros_(cast(Tensor, layer.bias))
