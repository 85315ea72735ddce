"""How much GPU memory a trial takes, computed without a GPU, and how much GPUs have."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rsrl_ray import config
from rsrl_ray.core.errors import first_line
from rsrl_ray.vision import network as networks
from rsrl_ray.vision.evaluation import EVALUATION_BATCH
from rsrl_ray.vision.frozen import cut
from rsrl_ray.vision.reproducible import reproducible

PROCESS = 1_500_000_000  # bytes for CUDA itself, its loaded kernels, and the workspaces of cuBLAS and cuDNN
RUN_THROUGH = 2  # photos that are passed through to measure; batch normalisation needs more than one
HEADROOM = 0.1  # the part of the remaining memory that photos leave free, because cuDNN is slower if it has no room

# What CUDA and its libraries say if memory is full and PyTorch's own allocator was not asked.
_FULL = (
    "out of memory",
    "_ALLOC_FAILED",  # cuBLAS, and cuDNN before version 9
    "_ALLOCATION_FAILED",  # cuDNN
    "CUBLAS_STATUS_NOT_INITIALIZED",  # its first call has no room for its own memory
)
# What cuDNN says if it has no workspace, and also if a GPU cannot compute what is asked; in lower case.
_NO_ENGINE = ("unable to find an engine", "unable to find a valid cudnn algorithm", "cudnn_status_not_supported")


class OutOfMemory(RuntimeError):
    """The GPU's memory is full. The message is the first line of PyTorch's."""


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn each error by which PyTorch and CUDA say that a GPU's memory is full into `OutOfMemory`."""
    before = refusals()
    try:
        yield
    except RuntimeError as error:
        lacked = refusals() > before and any(sign in str(error).lower() for sign in _NO_ENGINE)
        if isinstance(error, OutOfMemory) or not (is_full(error) or lacked):
            raise
        raise OutOfMemory(first_line(error)) from error


@contextmanager
def no_refusals() -> Iterator[None]:
    """Raise `OutOfMemory` after the body if the GPU has refused memory during it, although the body did not fail.

    If there is no room for an engine's workspace, cuDNN takes another engine, which may give other bits.
    """
    before = refusals()
    yield
    if refusals() > before:
        raise OutOfMemory("cuDNN had no room for its workspace, and what it uses instead gives other bits")


def refusals() -> int:
    """How often this process has asked for more memory than its GPU had left."""
    return int(torch.cuda.memory_stats().get("num_ooms", 0))


def is_full(error: RuntimeError) -> bool:
    """Whether the error says that a GPU's memory is full."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _FULL)


def free_memory() -> None:
    """Give back memory that is no longer used, of the GPU and the machine, so that other processes can have it.

    Trials tell glibc to keep what is freed, see `rsrl_ray.sweep.nodes.cluster`.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other libraries than glibc lack it
    if trim is not None:
        trim(0)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def trial_memory(network: config.Network, training: config.Training, classes: int) -> int:
    """The most bytes that training and judging one network takes, without photos, which are there only if they fit.

    These are: the weights, their gradients, their momentum and a copy for autocast; what a batch keeps for the
    backward pass, and three times its largest tensor for what is being computed, all in float32; `PROCESS`. If layers
    are frozen: for the part that is trained, or for passing photos through the frozen part, if that takes more.
    """
    model = networks.build(network, classes)
    pictures = torch.zeros(RUN_THROUGH, 3, network.image_size, network.image_size)
    with reproducible(training.threads):
        if training.trainable == "all":
            return PROCESS + _training(model, pictures, training.batch_size)
        parts = cut(model, training.trainable)
        passing = _weights(parts.frozen) + EVALUATION_BATCH * 3 * max(_kept_for_backward(parts.frozen, pictures))
        with torch.no_grad():
            features = parts.frozen(pictures)
        layers = networks.LAYERS_AT_ONCE if networks.trains_in_lockstep(network, training) else 1
        return PROCESS + max(passing, layers * _training(parts.trained, features, training.batch_size))


@dataclass(frozen=True)
class Gpu:
    """A GPU. memory, free : bytes that it has, and that are free."""

    name: str
    memory: int
    free: int


def gpus() -> list[Gpu]:
    """The GPUs that this process sees."""
    found = []
    for number in range(torch.cuda.device_count()):
        free, memory = torch.cuda.mem_get_info(number)
        found.append(Gpu(torch.cuda.get_device_name(number), memory, free))
    return found


def gpu_room(share: float, need: int) -> int:
    """Bytes of the first GPU that photos may take: a trial has a ``share`` of it, and needs ``need`` bytes besides."""
    free, memory = torch.cuda.mem_get_info(0)
    return int((1 - HEADROOM) * (min(share * memory, free) - need))


def _training(model: nn.Module, inputs: Tensor, batch_size: int) -> int:
    kept = _kept_for_backward(model.train(), inputs)
    step = batch_size * (sum(kept) + 3 * max(kept))
    return 4 * _weights(model) + max(step, EVALUATION_BATCH * 3 * max(kept))


def _weights(model: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in model.state_dict().values())


def _kept_for_backward(model: nn.Module, inputs: Tensor) -> list[int]:
    """Bytes for one photo, of each tensor that the forward pass keeps for the backward pass, without weights."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}  # holds all tensors, so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(inputs)
    return [tensor.untyped_storage().nbytes() // RUN_THROUGH for place, tensor in kept.items() if place not in own]
