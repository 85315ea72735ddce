"""What training and scoring share, so that the same batches of photos have the same logits in both.

If you change what is computed here, count `rsrl_ray.identity.ARITHMETIC` up.
"""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from rsrl_ray.config import Precision
from rsrl_ray.vision.encoders import Preprocessing
from rsrl_ray.vision.reproducible import reproducible

EVALUATION_BATCH = 64
"""How many photos are judged at once. The bits of the logits depend on it, so it is not a knob."""


class Normaliser:
    """Turns pixels into what a network takes."""

    def __init__(self, device: torch.device, colours: Preprocessing) -> None:
        mean, std = torch.tensor([colours.mean, colours.std], device=device)
        self._scale, self._shift = (1 / (255 * std))[:, None, None], (mean / std)[:, None, None]

    def __call__(self, photos: Tensor) -> Tensor:
        """[B, S, S, 3], uint8, on the device -> [B, 3, S, S], normalised, in channels-last memory format."""
        return photos.permute(0, 3, 1, 2).float().mul_(self._scale).sub_(self._shift)


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Autocast to bfloat16 if the precision is bf16; otherwise it is off."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def evaluate(
    model: nn.Module, inputs: Iterable[Tensor], device: torch.device, precision: Precision, threads: int
) -> list[Tensor]:
    """The model's outputs for each batch of inputs ([B, ...], on the device), in evaluation mode.

    Equal batches give equal bits. Two equal photos in one batch may give different bits, because on some CPUs a vector
    kernel treats the rows of a batch differently.
    """
    with reproducible(threads), torch.inference_mode(), autocast(device, precision):
        model.eval()
        return [cast(Tensor, model(batch)) for batch in inputs]
