"""Layers that torchvision lacks: heads with float32 logits, deterministic average pooling, the small network."""

from typing import cast

import torch
from torch import Tensor, nn


class _Float32(nn.Module):
    """Leaves autocast: bfloat16 logits come in steps of 1/64 around 2, too coarse for ranks and thresholds."""

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, enabled=False):
            return cast(Tensor, super().forward(inputs.float()))


class LinearHead(_Float32, nn.Linear):
    """A last layer whose logits are float32 under autocast too."""


class ConvHead(_Float32, nn.Conv2d):
    """The same for SqueezeNet, whose last layer is a 1 x 1 convolution."""


class QuickDropout(nn.Dropout):
    """Dropout whose mask takes 16 random bits an element, and ``p`` to the nearest 1 / 65,536.

    On CPUs that are not Intel's PyTorch draws numbers for every element, one after the other, which took most of the
    time of SqueezeNet's last layer on frozen maps: 13 ms for 32 maps of 7 x 7 x 512, of which these lines take 2.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Drop elements of a dense tensor, and scale the others so that the mean stays."""
        dropped = round(self.p * 2**16)
        if not self.training or dropped == 0:
            return inputs
        if dropped == 2**16:
            return inputs * 0
        assert inputs.is_contiguous() or inputs.is_contiguous(memory_format=torch.channels_last)
        words = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64, device=inputs.device).random_(-(2**63), None)
        kept = words.view(torch.int16)[: inputs.numel()].ge_(dropped - 2**15)  # 1 or 0: bools are multiplied slowly
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
    """[bins, size]: row i averages from floor(i size / bins) to ceil((i + 1) size / bins), as AdaptiveAvgPool2d."""
    matrix = torch.zeros(bins, size)
    for i in range(bins):
        first, end = i * size // bins, -(-(i + 1) * size // bins)
        matrix[i, first:end] = 1 / (end - first)
    return matrix


class Small(nn.Module):
    """AlexNet's layout at about a tenth of its width, its first convolution cut for 64-pixel pictures."""

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
    """He et al. 2015, with filters of mean zero but for the first, which looks at the picture itself.

    PyTorch's default shrinks the variance sixfold at every ReLU layer: seven layers on, all pictures give the same
    logits. And ReLU's outputs, all positive, add up to a part that all pictures share and that drowns the rest,
    unless a filter takes no notice of their mean. Either way a few epochs on a few hundred photos learn nothing.
    """
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        if layer.weight.shape[1] > 3:
            filters = layer.weight.flatten(1)  # a view
            filters -= filters.mean(1, keepdim=True)
        nn.init.zeros_(cast(Tensor, layer.bias))
