"""Where a GPU is welcome and a CPU will do: what trains nothing goes on without the GPU."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from rsrl_ray.core.errors import first_line
from rsrl_ray.vision.memory import OutOfMemory, free_memory, memory_errors

_BUSY = "busy or unavailable"  # as CUDA says where another process has the GPU for itself

T = TypeVar("T")


class GpuOrCpu:
    """The GPU, until it is full or busy; from then on the CPU."""

    def __init__(self, device: str = "cuda") -> None:
        """The ``device``; the CPU too if there is no GPU."""
        self._device = torch.device(device if torch.cuda.is_available() else "cpu")

    def run(self, compute: Callable[[torch.device], T]) -> T:
        """Compute on it. If the GPU has no room it is done anew on the CPU, and a line of the log says so."""
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
