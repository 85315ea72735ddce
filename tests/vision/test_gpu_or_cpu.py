"""If a GPU has no room, the CPU computes."""

import pytest
import torch

from rsrl_ray.vision.gpu_or_cpu import GpuOrCpu


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory.\nGPU 0 has"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might"),
        torch.AcceleratorError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nCUDA kernel"),
        RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable"),
    ],
)
def test_a_gpu_that_is_full_or_busy_is_left_for_good(
    error: RuntimeError, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    def compute(device: torch.device) -> int:
        tried.append(device.type)
        if device.type == "cuda" and len(tried) > 1:
            raise error
        return len(tried)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    place = GpuOrCpu()
    assert [place.run(compute) for _ in range(3)] == [1, 3, 4]
    assert tried == ["cuda", "cuda", "cpu", "cpu"]
    cause = str(error).splitlines()[0]
    assert caplog.messages == [f"the GPU is full or busy ({cause}): computing on the CPU, slower"]


def test_another_error_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(device: torch.device) -> None:
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        GpuOrCpu().run(wrong)


def test_without_a_gpu_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert GpuOrCpu().run(str) == GpuOrCpu("cpu").run(str) == "cpu"
