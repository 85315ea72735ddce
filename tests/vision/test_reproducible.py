"""The same arithmetic gives the same bits, and another arithmetic is another kind of device."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rsrl_ray.vision import reproducible as module
from rsrl_ray.vision.reproducible import device_kind, lacks_bf16, machine, reproducible, versions

CPU = torch.device("cpu")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> str:
    """The kind of this CPU if no variable is set."""
    for name in module._CPU_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return device_kind(CPU)


def test_the_kind_of_a_cpu_is_what_it_always_was_where_nothing_is_changed(
    plain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    units = [unit for unit in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16") if found.get(unit)]
    assert plain == "-".join(["cpu", torch.backends.cpu.get_cpu_capability(), *units])
    for name, values in module._CPU_VARIABLES.items():
        for value in ("", *values, *(value.lower() for value in values)):
            monkeypatch.setenv(name, value)
            assert device_kind(CPU) == plain
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ONEDNN_MAX_CPU_ISA", "AVX2"),
        ("DNNL_MAX_CPU_ISA", "SSE41"),
        ("ONEDNN_DEFAULT_FPMATH_MODE", "BF16"),
        ("MKL_CBWR", "COMPATIBLE"),
        ("TIMM_FUSED_ATTN", "0"),
        ("MKL_ENABLE_INSTRUCTIONS", "SSE4_2"),
    ],
)
def test_what_the_environment_changes_is_another_kind(
    plain: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert device_kind(CPU) == f"{plain}-{name}={value}"


def test_a_gpus_kind_tells_what_the_environment_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in module._CUDA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    cuda = torch.device("cuda")
    assert device_kind(cuda) == "cuda-NVIDIA H200"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert device_kind(cuda) == "cuda-NVIDIA H200-NVIDIA_TF32_OVERRIDE=1-CUBLAS_WORKSPACE_CONFIG=:16:8"


SUMS = """
import hashlib, torch
from rsrl_ray.vision.reproducible import device_kind, reproducible
torch.manual_seed(0)
photos, filters = torch.randn(4, 8, 16, 16), torch.randn(8, 8, 3, 3)
with reproducible(1):
    sums = torch.conv2d(photos, filters).flatten(1) @ torch.randn(1568, 30)
print(device_kind(torch.device("cpu")), hashlib.sha256(sums.numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_other_bits_are_of_another_kind(plain: str) -> None:
    """Any result of this CPU with the variables is right."""
    told: dict[str, set[str]] = {}
    for changes in ({}, {"ONEDNN_MAX_CPU_ISA": "SSE41"}, {"MKL_CBWR": "COMPATIBLE"}):
        ended = subprocess.run(
            [os.environ["RSRL_PYTHON"], "-c", SUMS],
            env=os.environ | changes,
            capture_output=True,
            text=True,
            check=True,
        )
        kind, bits = ended.stdout.split()
        told.setdefault(kind, set()).add(bits)
    assert len(told) == 3
    assert all(len(bits) == 1 for bits in told.values())


@pytest.fixture
def defaults() -> Iterator[None]:
    """Restores PyTorch's own precision after the test."""
    yield
    torch.set_float32_matmul_precision("highest")
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        backends: Any = torch.backends
        for place in (backends, backends.cuda.matmul, *(getattr(backends.mkldnn, op) for op in ("matmul", "conv"))):
            place.fp32_precision = "none"


def precisions() -> list[Any]:
    """All switches of `reproducible`, as far as PyTorch tells them."""
    told = [(name, module._value(owner, name)) for owner, name, _ in module._switches()]
    return [*told, module._matmul_precision()]


@pytest.mark.usefixtures("defaults")
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_float32_is_float32_whatever_was_set_before(precision: str) -> None:
    torch.set_float32_matmul_precision(precision)
    before = precisions()
    with reproducible(1):
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
    assert precisions() == before
    assert torch.get_float32_matmul_precision() == precision


@pytest.mark.usefixtures("defaults")
@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="PyTorch before 2.9")
def test_the_newer_switches_are_set_and_put_back_too() -> None:
    backends: Any = torch.backends
    backends.fp32_precision = "tf32"
    backends.cuda.matmul.fp32_precision = "tf32"  # after this PyTorch does not tell the older switches
    backends.mkldnn.conv.fp32_precision = "bf16"
    before = precisions()
    with reproducible(1):
        assert torch.get_float32_matmul_precision() == "highest"
        places = [backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv]
        assert {place.fp32_precision for place in places} == {"ieee"}
        assert not backends.cuda.matmul.allow_tf32
    assert precisions() == before
    assert (backends.fp32_precision, backends.cuda.matmul.fp32_precision) == ("tf32", "tf32")


@pytest.mark.slow
def test_tf32_that_the_environment_asks_for_is_off() -> None:
    code = """
import torch
from rsrl_ray.vision.reproducible import reproducible
print(torch.backends.cuda.matmul.allow_tf32)
with reproducible(1):
    print(torch.backends.cuda.matmul.allow_tf32)
print(torch.backends.cuda.matmul.allow_tf32)
"""
    environment = os.environ | {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["True", "False", "True"]


def test_a_machine_is_the_same_until_something_of_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = tmp_path / "boot_id"
    monkeypatch.setattr(module, "_BOOT", boot)
    assert machine(CPU) == ""  # if a system does not say when it was started
    boot.write_text("one")
    here = machine(CPU)
    assert here == machine("cpu") and len(here) == 32
    monkeypatch.setenv("RSRL_SOMETHING", "1")
    assert machine(CPU) == here
    found = {here}
    for name in ("MKL_SOMETHING", "ONEDNN_SOMETHING", "TIMM_FUSED_ATTN", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"):
        monkeypatch.setenv(name, "1")
        found.add(machine(CPU))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: f"of {len(found)}")
    found |= {machine("cuda")}
    found |= {machine("cuda")}
    boot.write_text("two")
    found |= {machine("cuda")}
    assert len(found) == 1 + 4 + 3


def test_versions() -> None:
    assert versions("small")[0] == torch.__version__


@pytest.mark.parametrize(
    ("found", "lacks"),
    [
        ({"avx2": True, "avx512_bf16": False}, True),
        ({"avx2": True, "avx512_bf16": True}, False),
        ({"amx_bf16": True}, False),
        ({}, False),  # not known
    ],
)
def test_a_cpu_without_units_for_bfloat16(found: Any, lacks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert lacks_bf16() is lacks
