"""Pretrained weights, downloaded by torchvision or read from a file, and checked against the network."""

import re
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from rsrl_ray import config
from rsrl_ray.vision.encoders import SMALL
from rsrl_ray.vision.timm_networks import PREFIX, pretrained_state

StateDict = Mapping[str, Tensor]

SUFFIXES = (".pt", ".pth", ".safetensors")
WAY_OUT = f"give a file ({', '.join(SUFFIXES)}) that holds a state dict with torchvision's names, or none"

AUXILIARY = ("googlenet", "inception_v3")
_AUXILIARY_HEADS = ("aux1.", "aux2.", "AuxLogits.")

# torchvision's DenseNet files still have the names of 2017, such as "denselayer1.norm.1.weight".
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


def pretrained(network: config.Network, state: StateDict, head: str) -> dict[str, Tensor]:
    """The tensors that ``network.weights`` gives for the network's ``state``, by name; none for ``none``.

    A file may hold only a part of the network. Its ``head`` (module name) is left out, whatever its shape is.
    Auxiliary heads are left out too.

    Raises
    ------
    ValueError
        If the weights are not there, are damaged or unsafe to open, or do not fit the network.
    """
    if network.weights == "none":
        return {}
    found = _named(network, len(state[f"{head}.weight"])) if network.weights == "imagenet" else _read(network)
    renamed = {_OLD_DENSENET.sub(r"\1\2", name.removeprefix("module.")): found[name] for name in found}
    left_out: tuple[str, ...] = (f"{head}.",)
    if network.backbone in AUXILIARY:
        left_out += _AUXILIARY_HEADS
    given = {name: tensor for name, tensor in renamed.items() if not name.startswith(left_out)}
    complaint = _misfit(state, given)
    if complaint:
        raise ValueError(f"network.weights: {network.weights} does not fit {network.backbone}: {complaint}")
    return given


def _named(network: config.Network, classes: int) -> StateDict:
    backbone = network.backbone
    if backbone.startswith(PREFIX):
        return pretrained_state(backbone, classes, network.image_size)
    if backbone == SMALL:
        raise ValueError("network.weights: small has no imagenet weights, it is trained from scratch; give none")
    from torchvision import models  # late, see `network`

    weights = models.get_model_weights(backbone).DEFAULT
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, HTTPException, UnpicklingError) as error:
        raise ValueError(
            f"network.weights: the imagenet weights of {backbone} cannot be downloaded from {weights.url} "
            f"({error}). The first use needs network access; without it, {WAY_OUT}"
        ) from error
    return cast(StateDict, state)


def _read(network: config.Network) -> StateDict:
    """The state dict in a file. A pickle that holds more than tensors is not opened."""
    path = Path(network.weights)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"network.weights: {str(path)!r} is neither imagenet nor a file of weights; {WAY_OUT}")
    if not path.is_file():
        raise ValueError(f"network.weights: there is no file {path}; {WAY_OUT}")
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except UnpicklingError as error:
        raise ValueError(
            f"network.weights: {path} is damaged, or holds more than tensors. Such a file could run code, so it is "
            "not opened; save the network's state_dict() alone"
        ) from error
    except Exception as error:  # a damaged file may raise anything
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"network.weights: {path} cannot be read ({reason}); it may be damaged, get it again"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content or not all(map(_is_entry, content.items())):
        raise ValueError(
            f"network.weights: {path} holds no state dict (names and tensors); save the network's state_dict()"
        )
    return cast(StateDict, content)


def _is_entry(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _misfit(state: StateDict, given: StateDict) -> str | None:
    """What is wrong with the tensors of a file, and what to do; None if they fit."""
    if not given:
        return "it holds no layer except the head; give another file"
    unknown = [name for name in given if name not in state]
    if len(unknown) == len(given):
        return f"no common name: it has {_some(given)}, the network {_some(state)}; set network.backbone to the file's"
    if unknown:
        return f"the network has no {_some(unknown)}; set network.backbone to the file's"
    shapes = [
        f"{name} should be {list(state[name].shape)} and is {list(tensor.shape)}"
        for name, tensor in given.items()
        if tensor.shape != state[name].shape
    ]
    if shapes:
        return f"{_some(shapes)}; set network.backbone and image_size to those of the file"
    broken = [name for name, tensor in given.items() if not tensor.isfinite().all()]
    return f"{_some(broken)} hold numbers that are not finite; give another file" if broken else None


def _some(names: Iterable[str]) -> str:
    """The first three names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return ", ".join(listed[:3]) + more
