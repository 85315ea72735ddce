"""Computes on a GPU if it can, and otherwise on the CPU. This is for what trains nothing."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from rsrl_ray.core.errors import first_line
from rsrl_ray.vision.memory import OutOfMemory, free_memory, memory_errors

_BUSY = "busy or unavailable"  # what CUDA says if another process uses the GPU exclusively

T = TypeVar("T")


class GpuOrCpu:
    """The GPU, until it is full or busy; then the CPU."""

    def __init__(self, device: str = "cuda") -> None:
        """``device`` : cpu or cuda. If there is no GPU, the CPU is taken."""
        self._device = torch.device(device if torch.cuda.is_available() else "cpu")

    def run(self, compute: Callable[[torch.device], T]) -> T:
        """Call ``compute`` with the device. If the GPU is full or busy, do it again on the CPU, and log a warning."""
        if self._device.type == "cuda":
            try:
                with memory_errors():
                    return compute(self._device)
            except RuntimeError as error:
                if not isinstance(error, OutOfMemory) and _BUSY not in str(error):
                    raise
                cause = first_line(error)
            self._device = torch.device("cpu")
            free_memory()
            logging.getLogger(__name__).warning("the GPU is full or busy (%s): computing on the CPU, slower", cause)
        return compute(self._device)
