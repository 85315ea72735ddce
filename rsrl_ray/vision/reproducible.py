"""What the bits of a computation depend on besides its numbers: switches of the process, kind of device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import deterministic


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Compute with this many CPU threads and deterministic algorithms only; the old switches come back afterwards.

    They are switches of the whole process. cuDNN's search for the fastest algorithm and TF32 are off.
    """
    guard: Any = deterministic
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode(), guard.fill_uninitialized_memory
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    guard.fill_uninitialized_memory = False  # would write every new tensor once more, an eighth of the time
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])
        guard.fill_uninitialized_memory = before[2]


def device_kind(device: torch.device) -> str:
    """The GPU's model (``cuda-NVIDIA H200``) or the CPU's vector units (``cpu-AVX512-avx512_bf16``)."""
    if device.type == "cuda":
        return f"cuda-{torch.cuda.get_device_name(device)}"
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # an older PyTorch cannot tell
    units = [unit for unit in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16") if found.get(unit)]
    return "-".join([device.type, torch.backends.cpu.get_cpu_capability(), *units])
