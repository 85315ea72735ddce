"""What the bits of a computation depend on besides its inputs: the process's switches, kind of device, versions."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch.utils import deterministic

from rsrl_ray.core.digest import digest
from rsrl_ray.vision.timm_networks import PREFIX, timm_version

# Environment variables that change the arithmetic, and that only timm and the libraries below PyTorch read. Beside each
# are the values that change nothing. MKL_CBWR=AUTO is not such a value: MKL may take other branches if it is not set.
_TIMM_VARIABLES = {"TIMM_FUSED_ATTN": ("1",)}  # how its transformers compute attention
_CPU_VARIABLES = {
    "ONEDNN_MAX_CPU_ISA": ("ALL", "DEFAULT"),
    "ONEDNN_CPU_ISA_HINTS": ("NO_HINTS",),
    "ONEDNN_DEFAULT_FPMATH_MODE": ("STRICT",),
    "DNNL_MAX_CPU_ISA": ("ALL", "DEFAULT"),
    "DNNL_CPU_ISA_HINTS": ("NO_HINTS",),
    "DNNL_DEFAULT_FPMATH_MODE": ("STRICT",),
    "MKL_CBWR": ("OFF",),
    "MKL_ENABLE_INSTRUCTIONS": (),
    "MKL_DEBUG_CPU_TYPE": (),
    "MKL_DISABLE_FAST_MM": (),
    "OPENBLAS_CORETYPE": (),
    "TORCH_MKLDNN_MATMUL_MIN_DIM": (),
    "TORCH_MKLDNN_MATMUL_MIN_SIZE": (),
    **_TIMM_VARIABLES,
}
_CUDA_VARIABLES = {
    "NVIDIA_TF32_OVERRIDE": ("0",),  # TF32 is off anyway
    "CUBLAS_WORKSPACE_CONFIG": (":4096:8",),
    "CUBLASLT_WORKSPACE_SIZE": (),
    "CUBLAS_EMULATE_SINGLE_PRECISION": ("0",),
    "CUBLAS_EMULATION_STRATEGY": (),
    "CUDNN_ERRATA_JSON_FILE": (),
    "DISABLE_ADDMM_CUDA_LT": ("0",),
    "PYTORCH_TUNABLEOP_ENABLED": ("0",),
    "TORCH_BLAS_PREFER_CUBLASLT": ("0",),
    "TORCH_CUBLASLT_UNIFIED_WORKSPACE": (),
    "TORCH_CUDNN_SDPA_DEPRIORITIZED": ("0",),
    "TORCH_CUDNN_USE_HEURISTIC_MODE_B": ("0",),
    "TORCH_CUDNN_V8_API_DISABLED": ("0",),
    **_TIMM_VARIABLES,
}

# The libraries' variables begin with these words. Not all those that change the arithmetic are known.
_OF_LIBRARIES = re.compile("(ATEN|CUBLAS|CUBLASLT|CUDA|CUDNN|DNNL|KMP|LD|MKL|NVIDIA|OMP|ONEDNN|OPENBLAS|TIMM|TORCH)_")
_BOOT, _GPU_DRIVER = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/driver/nvidia/version")

_BF16_UNITS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Compute in the body with this many CPU threads and only deterministic algorithms, then restore the switches.

    They are switches of the whole process. cuDNN does not search for the fastest algorithm. float32 numbers are never
    multiplied as TF32 or bfloat16, even if the environment or earlier code asks for it.
    """
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    switches = _switches()
    known = [_value(owner, name) for owner, name, _ in switches]
    precision = _matmul_precision()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("highest")
    for owner, name, value in switches:
        setattr(owner, name, value)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])
        torch.set_float32_matmul_precision(precision)  # first, because it sets some of the switches too
        for (owner, name, _), value in zip(switches, known, strict=True):
            setattr(owner, name, value)


def device_kind(device: torch.device | str) -> str:
    """The GPU's model (``cuda-NVIDIA H200``) or the CPU's vector units (``cpu-AVX512-avx512_bf16``).

    If the environment changes the arithmetic in a way that `reproducible` cannot undo, this follows
    (``cpu-AVX2-MKL_CBWR=COMPATIBLE``).
    """
    device = torch.device(device)
    if device.type == "cuda":
        changed = _changed(_CUDA_VARIABLES)
        library = str(torch.backends.cuda.preferred_blas_library()).rpartition(".")[2]
        if library not in ("Default", "Cublas") and torch.version.hip is None:
            changed.append(f"blas={library}")
        return "-".join([f"cuda-{torch.cuda.get_device_name(device)}", *changed])
    units = [unit for unit in _BF16_UNITS if _capabilities().get(unit)]
    return "-".join([device.type, torch.backends.cpu.get_cpu_capability(), *units, *_changed(_CPU_VARIABLES)])


def machine(device: torch.device | str) -> str:
    """A digest of a device, its libraries, their environment, and when the machine was started.

    While it stays the same, the bits stay the same. It is empty if the machine does not tell when it was started.
    """
    device = torch.device(device)
    if not _BOOT.exists():
        return ""
    variables = sorted(f"{name}={value}" for name, value in os.environ.items() if _OF_LIBRARIES.match(name))
    cudnn: Any = torch.backends.cudnn
    found = [_BOOT.read_text(), torch.__file__, torch.__config__.show(), str(cudnn.version()), *variables]
    if device.type == "cuda":
        found.append(str(torch.cuda.get_device_properties(device)))
        with suppress(OSError):
            found.append(_GPU_DRIVER.read_text())
    return digest(found)


def lacks_bf16(device: torch.device | str = "cpu") -> bool:
    """Whether a device is known to have no units for bfloat16.

    Without them a CPU takes longer than for float32, and on a GPU cuDNN cannot train.
    """
    if torch.device(device).type == "cuda":
        return not torch.cuda.is_bf16_supported(including_emulation=False)
    found = _capabilities()
    return bool(found) and not any(map(found.get, _BF16_UNITS))


def check_precision(precision: str, device: torch.device) -> None:
    """Raises ValueError if a GPU cannot train in this precision. A CPU always can, but it may be slow."""
    if precision == "bf16" and device.type == "cuda" and lacks_bf16(device):
        raise ValueError(
            f"training.precision: bf16, but this GPU ({torch.cuda.get_device_name(device)}) has no units for it; set "
            "training.precision to fp32"
        )


def _capabilities() -> dict[str, Any]:
    """What the CPU can do; empty if PyTorch is too old to tell."""
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return found


def versions(backbone: str) -> list[str]:
    """The versions on which the bits depend: of PyTorch and torchvision, and for networks of timm also of timm."""
    import torchvision  # late: it takes a second, and the driver of a `small` network does not need it otherwise

    own = [f"timm {timm_version()}"] if backbone.startswith(PREFIX) else []
    return [torch.__version__, torchvision.__version__, *own]


def _changed(variables: dict[str, tuple[str, ...]]) -> list[str]:
    """The variables that are set to a value that changes the arithmetic, each as NAME=VALUE."""
    values = {name: os.environ.get(name, "").strip() for name in variables}
    return [f"{name}={value}" for name, value in values.items() if value and value.upper() not in variables[name]]


def _switches() -> list[tuple[Any, str, Any]]:
    """Owner, name and wanted value of each switch of the arithmetic: PyTorch's defaults, but without TF32."""
    cudnn: Any = torch.backends.cudnn
    mkldnn: Any = torch.backends.mkldnn
    matmul: Any = torch.backends.cuda.matmul
    switches = [
        (deterministic, "fill_uninitialized_memory", False),  # if it were on, each new tensor would be written twice
        (cudnn, "enabled", True),
        (cudnn, "benchmark", False),
        (cudnn, "deterministic", True),
        (cudnn, "allow_tf32", False),
        (mkldnn, "enabled", True),
        (matmul, "allow_fp16_reduced_precision_reduction", True),
        (matmul, "allow_bf16_reduced_precision_reduction", True),
    ]
    if hasattr(matmul, "allow_fp16_accumulation"):
        switches.append((matmul, "allow_fp16_accumulation", False))
    # From PyTorch 2.9 on there is `fp32_precision`; `allow_tf32` and `set_float32_matmul_precision` set it too.
    if not hasattr(matmul, "fp32_precision"):
        return [*switches, (matmul, "allow_tf32", False)]
    places: tuple[Any, ...] = (matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn)
    return [*switches, *((place, "fp32_precision", "ieee") for place in places)]


def _value(owner: Any, name: str) -> Any:
    """The value that restores the switch to what it is now."""
    try:
        value = getattr(owner, name)
    except RuntimeError:  # somebody has set `fp32_precision`: PyTorch does not tell, and the switch has its default
        return True
    if name == "fp32_precision":
        mkldnn: Any = torch.backends.mkldnn
        all_of_it: Any = mkldnn if owner in (mkldnn.matmul, mkldnn.conv, mkldnn.rnn) else torch.backends.cudnn
        return "none" if value == all_of_it.fp32_precision else value  # if not set, it has the value for all
    if hasattr(owner, f"{name}_split_k"):
        return value, getattr(owner, f"{name}_split_k")
    return value


def _matmul_precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # as above
        return "highest"
