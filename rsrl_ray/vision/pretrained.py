"""Pretrained weights: torchvision's download or a file, checked against the network before they are used."""

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

StateDict = Mapping[str, Tensor]

SMALL = "small"
SUFFIXES = (".pt", ".pth", ".safetensors")
WAY_OUT = f"give a file ({', '.join(SUFFIXES)}) with the state dict in torchvision's names, or none"

AUXILIARY = ("googlenet", "inception_v3")
_AUXILIARY_HEADS = ("aux1.", "aux2.", "AuxLogits.")

# torchvision's DenseNet files still bear the names of 2017, such as "denselayer1.norm.1.weight".
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


def pretrained(network: config.Network, state: StateDict, head: str) -> dict[str, Tensor]:
    """What ``network.weights`` gives of the network's ``state``, by name; nothing for ``none``.

    A file may hold a part of the network only. Its old ``head`` (module name) is left out, whatever its shape, and
    so are auxiliary heads.

    Raises
    ------
    ValueError
        If the weights are not available, are damaged or unsafe to open, or do not fit the network.
    """
    if network.weights == "none":
        return {}
    found = _imagenet(network.backbone) if network.weights == "imagenet" else _read(Path(network.weights))
    renamed = {_OLD_DENSENET.sub(r"\1\2", name.removeprefix("module.")): found[name] for name in found}
    left_out = (f"{head}.", *(_AUXILIARY_HEADS if network.backbone in AUXILIARY else ()))
    given = {name: tensor for name, tensor in renamed.items() if not name.startswith(left_out)}
    complaint = _misfit(state, given)
    if complaint:
        raise ValueError(f"network.weights: {network.weights} does not fit {network.backbone}: {complaint}")
    return given


def _imagenet(backbone: str) -> StateDict:
    if backbone == SMALL:
        raise ValueError("network.weights: small is trained from scratch, it has no imagenet weights; use none")
    from torchvision import models  # see `network`: not before it is needed

    weights = models.get_model_weights(backbone).DEFAULT
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, HTTPException, UnpicklingError) as error:
        raise ValueError(
            f"network.weights: the imagenet weights of {backbone} cannot be downloaded from {weights.url} "
            f"({error}); the first use needs network access. Without it {WAY_OUT}"
        ) from error
    return cast(StateDict, state)


def _read(path: Path) -> StateDict:
    """The state dict in a file; a pickle that holds more than tensors is never opened."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"network.weights: {str(path)!r} is neither imagenet nor a file of weights; {WAY_OUT}")
    if not path.is_file():
        raise ValueError(f"network.weights: there is no file {path}; {WAY_OUT}")
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except UnpicklingError as error:
        raise ValueError(
            f"network.weights: {path} is damaged, or holds more than tensors, which could run code and is not "
            "opened; save the network's state_dict() alone"
        ) from error
    except Exception as error:  # a damaged file raises anything
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
    """What is wrong with the tensors that were found, and what to do."""
    if not given:
        return "it holds no layer but the head"
    unknown = [name for name in given if name not in state]
    if len(unknown) == len(given):
        return f"no name in common: it has {_some(given)}, the network {_some(state)}; give the file's own backbone"
    if unknown:
        return f"the network has no {_some(unknown)}; give the file's own backbone"
    shapes = [
        f"{name} should be {list(state[name].shape)} and is {list(tensor.shape)}"
        for name, tensor in given.items()
        if tensor.shape != state[name].shape
    ]
    if shapes:
        return f"{_some(shapes)}; give the file's own backbone and image_size"
    broken = [name for name, tensor in given.items() if not tensor.isfinite().all()]
    return f"{_some(broken)} hold numbers that are not finite; give another file" if broken else None


def _some(names: Iterable[str]) -> str:
    """The first three, and how many more."""
    listed = list(names)
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return ", ".join(listed[:3]) + more
