"""How much of a GPU's memory a trial takes, reckoned without a GPU, and how much a GPU has."""

import torch
from torch import Tensor, nn

from rsrl_ray import config
from rsrl_ray.vision import network as networks
from rsrl_ray.vision.evaluation import EVALUATION_BATCH
from rsrl_ray.vision.reproducible import reproducible

PROCESS = 1_500_000_000  # bytes for CUDA itself, the kernels that are loaded, and the workspaces of cuBLAS and cuDNN
TRIED = 2  # photos that are run through to see; batch normalisation asks for more than one


def trial_memory(network: config.Network, training: config.Training, classes: int) -> int:
    """Bytes that training and judging one network takes at most; photos stay in the machine's memory.

    Weights, their gradients, momentum, and a copy for the autocast; what a batch leaves for the backward pass, and
    three times the largest of it for what is being computed, all in float32; `PROCESS` for the process.
    """
    model = networks.build(network, classes)
    weights: int = sum(tensor.nbytes for tensor in model.state_dict().values())
    with reproducible(training.threads):
        kept = _kept_for_backward(model.train(), network.image_size)
    training_step = training.batch_size * (sum(kept) + 3 * max(kept))
    judging = EVALUATION_BATCH * 3 * max(kept)
    return PROCESS + 4 * weights + max(training_step, judging)


def gpu_memory() -> int:
    """Bytes of memory of the first GPU that this process may use."""
    return torch.cuda.get_device_properties(0).total_memory


def _kept_for_backward(model: nn.Module, size: int) -> list[int]:
    """Bytes a photo of every tensor that the forward pass keeps, weights aside; each counts once."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}  # holds them all, so that no address is given twice

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.zeros(TRIED, 3, size, size))
    return [tensor.untyped_storage().nbytes() // TRIED for place, tensor in kept.items() if place not in own]
