"""Networks by name: their new head, their weights, their first convolution."""

import difflib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rsrl_ray import config
from rsrl_ray.vision.encoders import SMALL
from rsrl_ray.vision.layers import AveragePool, ConvHead, LinearHead, MeanPool, Small, StandardisedHead
from rsrl_ray.vision.pretrained import AUXILIARY, pretrained
from rsrl_ray.vision.timm_networks import PREFIX, build_timm

Weights = dict[str, NDArray[Any]]
"""A state dict with torchvision's names and NumPy arrays (float32, int64)."""

LAYERS_AT_ONCE = 32  # that train in lockstep: twice as many are no faster

# These networks are built as torchvision's weights need them, without the heads that help to train from scratch.
_WITHOUT_AUXILIARY = {"aux_logits": False, "init_weights": True, "transform_input": True}


@dataclass(frozen=True)
class StartingNetwork:
    """What round 1 starts from.

    random_layers : the modules that start with random weights, besides ``head``, the last layer.
    """

    weights: Weights
    random_layers: tuple[str, ...]
    head: str


@dataclass(frozen=True)
class Conv1:
    """The first convolution. weight : [K, 3, h, w]. bias : [K], zeros if the network has none."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: tuple[int, int]
    padding: tuple[int, int]


def build(network: config.Network, classes: int) -> nn.Module:
    """The network with random weights and a head that gives ``classes`` logits.

    The numbers come from torch's global generator, whose state does not change.

    Raises
    ------
    ValueError
        If the backbone is unknown or cannot take pictures of ``image_size``.
    """
    name = network.backbone
    with torch.random.fork_rng(devices=[]):
        if name.startswith(PREFIX):
            model = build_timm(name, classes, network.image_size)
        else:
            model = Small() if name == SMALL else _torchvision(name)
        _replace_head(model, classes, network)
    _replace_pools(model, _try_picture(model, network))
    return model


def _torchvision(name: str) -> nn.Module:
    from torchvision import models  # late, because it takes longer to load than torch: it loads torch's compiler

    known = [SMALL, *models.list_models(module=models)]
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known) or ["alexnet", "resnet18", SMALL]
        raise ValueError(f"network.backbone: there is no {name!r}; did you mean {' or '.join(near)}?")
    knobs: dict[str, Any] = _WITHOUT_AUXILIARY if name in AUXILIARY else {}
    return cast(nn.Module, models.get_model(name, weights=None, **knobs))


def _replace_head(model: nn.Module, classes: int, network: config.Network) -> None:
    name = head_name(model)
    old = model.get_submodule(name)
    head = StandardisedHead if network.standardise else LinearHead
    if isinstance(old, nn.Linear):
        if network.head == "linear":
            raise ValueError(
                f"network.head: linear is for networks whose last layer is a convolution, such as squeezenet1_1; "
                f"{network.backbone} has a linear one, leave it out"
            )
        model.set_submodule(name, head(old.in_features, classes, bias=old.bias is not None))
        return
    assert isinstance(old, nn.Conv2d)
    parent, _, position = name.rpartition(".")
    before, after, pool = (f"{parent}.{int(position) + step}" for step in (-1, 1, 2))
    assert isinstance(model.get_submodule(after), nn.ReLU)
    model.set_submodule(after, nn.Identity())  # logits can be negative
    if network.head == "linear":
        assert isinstance(model.get_submodule(before), nn.Dropout)
        model.set_submodule(before, MeanPool())  # before the cut: of 512 maps 512 numbers are kept
        model.set_submodule(name, head(old.in_channels, classes))
        model.set_submodule(pool, nn.Identity())
        return
    if network.standardise:
        raise ValueError(f"network.standardise: {network.backbone} ends in maps; give network.head: linear too")
    model.set_submodule(name, ConvHead(old.in_channels, classes, kernel_size=1))


def _try_picture(model: nn.Module, network: config.Network) -> dict[str, tuple[int, int]]:
    """Pass a black picture through. Returns the size of the maps that each AdaptiveAvgPool2d gets, by module name."""
    sizes: dict[str, tuple[int, int]] = {}
    names = {m: name for name, m in model.named_modules() if isinstance(m, nn.AdaptiveAvgPool2d)}

    def note(pool: nn.AdaptiveAvgPool2d, inputs: tuple[Tensor, ...]) -> None:
        sizes[names[pool]] = (inputs[0].shape[-2], inputs[0].shape[-1])

    hooks = [pool.register_forward_pre_hook(note) for pool in names]
    size = network.image_size
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(
            f"network.image_size: {network.backbone} cannot take pictures of {size} x {size} pixels ({error}); "
            "most networks are made for 224"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    return sizes


def _replace_pools(model: nn.Module, sizes: Mapping[str, tuple[int, int]]) -> None:
    """Replace each AdaptiveAvgPool2d except to 1 x 1, which is a mean in PyTorch and has a deterministic backward."""
    for name, size in sizes.items():
        wanted = cast(nn.AdaptiveAvgPool2d, model.get_submodule(name)).output_size
        output_size = (wanted, wanted) if isinstance(wanted, int) else cast(tuple[int, int], wanted)
        if output_size == size:
            model.set_submodule(name, nn.Identity())
        elif output_size != (1, 1):
            model.set_submodule(name, AveragePool(size, output_size))


def head_name(model: nn.Module) -> str:
    """The module name of the last layer: the last linear layer, or the last convolution if there is no linear one."""
    return (_names(model, nn.Linear) or _names(model, nn.Conv2d))[-1]


def _names(model: nn.Module, kind: type[nn.Module]) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, kind)]


def starting_weights(network: config.Network, classes: int, seed: Sequence[int]) -> StartingNetwork:
    """The weights of ``network.weights``. The head, and what they lack, are drawn from ``seed``.

    Raises
    ------
    ValueError
        If the network cannot be built, or the weights cannot be downloaded or do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch_seed(seed))
        model = build(network, classes)
    head, state = head_name(model), model.state_dict()
    given = pretrained(network, state, head)
    with torch.no_grad():
        for name, tensor in given.items():
            state[name].copy_(tensor)
    # Whole numbers are counters and look-up tables, which do not start random.
    drawn = [name for name, tensor in state.items() if name not in given and tensor.is_floating_point()]
    layers = dict.fromkeys(name.rpartition(".")[0] or name for name in drawn)
    return StartingNetwork(weights_of(model), tuple(layer for layer in layers if layer != head), head)


def new_head(model: nn.Module, seed: Sequence[int]) -> Weights:
    """New random weights of the last layer, with their names in the state dict.

    They have PyTorch's default distribution: uniform, up to 1 / sqrt(inputs).
    """
    name = head_name(model)
    head = cast(LinearHead | ConvHead, deepcopy(model.get_submodule(name)).cpu())
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch_seed(seed))
        head.reset_parameters()
    return {f"{name}.{key}": array for key, array in weights_of(head).items()}


def torch_seed(seed: Sequence[int]) -> int:
    """One seed for a torch generator, made of several numbers by NumPy's SeedSequence."""
    return int(np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)[0])


def weights_of(model: nn.Module) -> Weights:
    """A copy of the model's weights."""
    return {name: np.array(tensor.cpu().numpy(), order="C") for name, tensor in model.state_dict().items()}


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Copy ``weights``, all or some, into the model.

    MNASNet's ``load_state_dict`` refuses weights without a version, so it is not used.
    """
    state = model.state_dict()
    with torch.no_grad():
        for name, array in weights.items():
            assert state[name].shape == array.shape, name
            state[name].copy_(torch.tensor(array))


def conv1_name(model: nn.Module) -> str | None:
    """The module name of the first convolution, of which highlight maps are made; None if there is no plain one.

    A layer that embeds patches, as in vision transformers, is not one: its filters do not slide over the picture. A
    layer that pads or standardises in its own way is not one either, because maps are made by a plain convolution. Some
    networks take the picture apart first, so that no convolution sees its three colours.
    """
    name = next(iter(_names(model, nn.Conv2d)), None)
    if name is None:
        return None
    layer = cast(nn.Conv2d, model.get_submodule(name))
    patches = "patch_embed" in name or (layer.kernel_size == layer.stride and layer.kernel_size != (1, 1))
    return None if patches or type(layer) is not nn.Conv2d or layer.in_channels != 3 else name


def trains_in_lockstep(network: config.Network, training: config.Training) -> bool:
    """Whether the methods of a fold are trained together, see `rsrl_ray.vision.lockstep`."""
    return training.trainable == "head" and training.steps == "weighted" and network.has_linear_head


def has_conv1(network: config.Network) -> bool:
    """Whether the network has a first convolution of which maps can be made."""
    return conv1_name(build(network, 2)) is not None


def conv1_of(model: nn.Module, weights: Weights) -> Conv1 | None:
    """The first convolution with these ``weights`` of the model; None if there is none, see `conv1_name`."""
    name = conv1_name(model)
    if name is None:
        return None
    layer = cast(nn.Conv2d, model.get_submodule(name))
    weight = weights[f"{name}.weight"]
    bias = weights.get(f"{name}.bias", np.zeros(len(weight), dtype=np.float32))
    stride, padding = cast(tuple[int, int], layer.stride), cast(tuple[int, int], layer.padding)
    return Conv1(weight, bias, stride, padding)
