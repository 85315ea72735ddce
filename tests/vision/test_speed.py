"""A machine is timed with a network that is small enough for a test."""

import pytest
import torch

from rsrl_ray.config import Network, Training
from rsrl_ray.vision import speed as module
from rsrl_ray.vision.memory import Gpu
from rsrl_ray.vision.speed import TrainsOn, device, speed

SMALL = Network("small", "imagenet", 64)  # there are no such weights, and nobody asks for them


@pytest.mark.parametrize("trainable", ["all", "head"])
def test_every_part_takes_some_time(trainable: str) -> None:
    found = speed(SMALL, Training(trainable=trainable, precision="fp32", epochs=5), 7, "cpu")  # type: ignore[arg-type]
    assert 0 < found.judging < found.training < 1
    assert (found.frozen > 0) == (trainable == "head")


def test_what_is_not_trained_costs_no_round_anything() -> None:
    whole, head = (speed(SMALL, Training(trainable=part, precision="fp32"), 7, "cpu") for part in ("all", "head"))  # type: ignore[arg-type]
    assert head.training < whole.training / 3


def test_the_cpu_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gpus", list)
    monkeypatch.setattr(module, "lacks_bf16", lambda: True)
    assert device() == TrainsOn("without units for bfloat16; no GPU that PyTorch sees", 0, False)
    monkeypatch.setattr(module, "lacks_bf16", lambda: False)
    assert device().bf16 and device().kind == "cpu"


def test_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    monkeypatch.setattr(module, "gpus", lambda: [Gpu("NVIDIA L4", 24, 20)])
    assert device() == TrainsOn("NVIDIA L4", 1, True) and device().kind == "cuda"
    monkeypatch.setattr(module, "gpus", lambda: [Gpu("NVIDIA L4", 24, 20)] * 2)
    assert device() == TrainsOn("2 GPUs, the first a NVIDIA L4", 2, True)
