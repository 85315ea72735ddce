"""How much of a GPU's memory a trial takes, reckoned without a GPU, and how much GPUs have."""

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

PROCESS = 1_500_000_000  # bytes for CUDA itself, the kernels that are loaded, and the workspaces of cuBLAS and cuDNN
RUN_THROUGH = 2  # photos that are run through to see; batch normalisation asks for more than one
HEADROOM = 0.1  # of what is left of a share, which photos leave free: cuDNN takes slower ways where it finds no room

# How CUDA and its libraries say that memory is full, if PyTorch's own allocator is not the one that was asked.
_FULL = (
    "out of memory",
    "_ALLOC_FAILED",  # cuBLAS, and cuDNN before version 9
    "_ALLOCATION_FAILED",  # cuDNN
    "CUBLAS_STATUS_NOT_INITIALIZED",  # its first call finds no room for its own
)
# What cuDNN says where it has no workspace, and also if a GPU cannot compute what it is asked for; in small letters.
_NO_ENGINE = ("unable to find an engine", "unable to find a valid cudnn algorithm", "cudnn_status_not_supported")


class OutOfMemory(RuntimeError):
    """The GPU's memory is full; the first line of what PyTorch says of it."""


@contextmanager
def memory_errors() -> Iterator[None]:
    """Every way in which PyTorch and CUDA say that a GPU's memory is full as one error of ours."""
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
    """Raises `OutOfMemory` at the end where the GPU refused memory meanwhile, though the body came to its end.

    cuDNN takes another engine then, since the workspace of the first finds no room, and another engine has other bits.
    """
    before = refusals()
    yield
    if refusals() > before:
        raise OutOfMemory("cuDNN had no room for its workspace; what it takes instead has other bits")


def refusals() -> int:
    """How often this process has asked for more memory than its GPU had left, so far."""
    return int(torch.cuda.memory_stats().get("num_ooms", 0))


def is_full(error: RuntimeError) -> bool:
    """Whether the error says that a GPU's memory is full."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _FULL)


def free_memory() -> None:
    """Give the GPU's memory that nothing uses any more back, to other processes too."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def trial_memory(network: config.Network, training: config.Training, classes: int) -> int:
    """Bytes that training and judging one network takes at most, photos aside: they lie there only if they fit.

    Weights, their gradients, momentum, and a copy for the autocast; what a batch leaves for the backward pass, and
    three times the largest of it for what is being computed, all in float32; `PROCESS` for the process. If layers
    are frozen, the part that is trained, or the passing of photos through the others, whichever takes more.
    """
    model, pictures = (
        networks.build(network, classes),
        torch.zeros(RUN_THROUGH, 3, network.image_size, network.image_size),
    )
    with reproducible(training.threads):
        if training.trainable == "all":
            return PROCESS + _training(model, pictures, training.batch_size)
        parts = cut(model, training.trainable)
        passing = _weights(parts.frozen) + EVALUATION_BATCH * 3 * max(_kept_for_backward(parts.frozen, pictures))
        with torch.no_grad():
            features = parts.frozen(pictures)
        return PROCESS + max(passing, _training(parts.trained, features, training.batch_size))


@dataclass(frozen=True)
class Gpu:
    """A GPU, and the bytes of memory that it has and that are free."""

    name: str
    memory: int
    free: int


def gpus() -> list[Gpu]:
    """Those that this process sees."""
    found = []
    for number in range(torch.cuda.device_count()):
        free, memory = torch.cuda.mem_get_info(number)
        found.append(Gpu(torch.cuda.get_device_name(number), memory, free))
    return found


def gpu_room(share: float, need: int) -> int:
    """Bytes of the first GPU's memory for photos, of a trial that has a ``share`` of it and ``need`` bytes else."""
    free, memory = torch.cuda.mem_get_info(0)
    return int((1 - HEADROOM) * (min(share * memory, free) - need))


def _training(model: nn.Module, inputs: Tensor, batch_size: int) -> int:
    kept = _kept_for_backward(model.train(), inputs)
    step = batch_size * (sum(kept) + 3 * max(kept))
    return 4 * _weights(model) + max(step, EVALUATION_BATCH * 3 * max(kept))


def _weights(model: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in model.state_dict().values())


def _kept_for_backward(model: nn.Module, inputs: Tensor) -> list[int]:
    """Bytes a photo of every tensor that the forward pass keeps, weights aside; each counts once."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}  # holds them all, so that no address is given twice

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(inputs)
    return [tensor.untyped_storage().nbytes() // RUN_THROUGH for place, tensor in kept.items() if place not in own]
