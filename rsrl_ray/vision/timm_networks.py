"""timm's networks (`timm/NAME`): how one is built, what its last layer takes, and its own pretrained weights."""

import difflib
from collections.abc import Mapping
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

PREFIX = "timm/"
HOW_TO_INSTALL = "pip install 'rsrl_ray[timm]'"


class BeforeHead(nn.Module):
    """All of a network but its last layer: pictures [B, 3, S, S] -> pooled features [B, D]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class; `timm` promises these two methods of all its networks."""
        network = cast(Any, self.network)
        return cast(Tensor, network.forward_head(network.forward_features(pictures), pre_logits=True))


class HeadAlone(nn.Module):
    """The last layer alone, under its name in the network: features [B, D] -> logits [B, C]."""

    def __init__(self, name: str, layer: nn.Module) -> None:
        super().__init__()
        *parents, last = name.split(".")
        place: nn.Module = self
        for parent in parents:
            place.add_module(parent, nn.Module())
            place = place.get_submodule(parent)
        place.add_module(last, layer)
        self._name = name

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return cast(Tensor, self.get_submodule(self._name)(features))


def config_of(backbone: str) -> Mapping[str, Any]:
    """What timm's configuration says of a network: mean, std, interpolation, input_size (channels, height, width) ...

    Raises
    ------
    ValueError
        If timm is not installed, knows no such network, or has one that is not made for square RGB pictures.
    """
    found = _timm().get_pretrained_cfg(_known(backbone))
    assert found is not None, backbone
    known: dict[str, Any] = found.to_dict()
    channels, height, width = known["input_size"]
    if channels != 3 or height != width:
        raise ValueError(f"network.backbone: {backbone} takes pictures of {width} x {height}, not square ones")
    return known


def build_timm(backbone: str, classes: int, size: int, pretrained: bool = False) -> nn.Module:
    """The network for pictures of ``size`` pixels, with weights of torch's global generator, or the pretrained ones.

    Raises
    ------
    ValueError
        As `config_of`; if its logits are not those of one linear layer of what comes before; or if it cannot take
        pictures of that size.
    """
    known = config_of(backbone)
    resized = known.get("fixed_input_size") and size != known["input_size"][-1]
    try:
        model = _timm().create_model(
            backbone.removeprefix(PREFIX),
            pretrained=pretrained,
            num_classes=classes,
            **({"img_size": size} if resized else {}),
        )
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        if pretrained:
            raise
        raise ValueError(f"network.image_size: {backbone} cannot be made for {size} pixels ({error})") from error
    head = known.get("classifier")
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear or linear[-1] != head or _normalises(model, head):
        raise ValueError(
            f"network.backbone: {backbone} does not end in one linear layer, which is needed here; take another network"
        )
    return cast(nn.Module, model)


def _normalises(model: nn.Module, head: str) -> bool:
    """Whether batch normalisation stands right before the last layer, behind what `BeforeHead` gives."""
    beside = model.get_submodule(head.rpartition(".")[0]).children()
    return "." in head and any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in beside)


def pretrained_state(backbone: str, classes: int, size: int) -> Mapping[str, Tensor]:
    """The state dict of timm's pretrained weights, position embeddings fitted to ``size``.

    Raises
    ------
    ValueError
        If there are none, or they cannot be downloaded.
    """
    known = config_of(backbone)
    if not (known.get("hf_hub_id") or known.get("url")):
        raise ValueError(f"network.weights: timm has no pretrained weights of {backbone}; use none, or give a file")
    try:
        with torch.random.fork_rng(devices=[]):
            return build_timm(backbone, classes, size, pretrained=True).state_dict()
    except Exception as error:  # the hub's client, and what it downloads with, raise errors of many kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"network.weights: the pretrained weights of {backbone} cannot be downloaded ({reason}); the first use "
            "needs network access. Without it give a file (.pt, .pth, .safetensors) with the state dict in timm's names"
        ) from error


def timm_names() -> list[str]:
    """The names of timm's networks."""
    return list(_timm().list_models())


def is_timm(model: nn.Module) -> bool:
    """Whether timm has built it."""
    return type(model).__module__.partition(".")[0] == "timm"


def timm_version() -> str:
    """Of the timm that is installed, which decides what its networks compute."""
    return str(_timm().__version__)


def _known(backbone: str) -> str:
    """The name in timm, perhaps with the tag of its pretrained weights after a point."""
    name = backbone.removeprefix(PREFIX)
    models = _timm().list_models(pretrained=False)
    stem, point, tag = name.partition(".")
    if stem not in models:
        near = difflib.get_close_matches(stem.lower(), models) or ["tf_efficientnet_lite0", "resnet18"]
        words = " or ".join(PREFIX + one for one in near)
        raise ValueError(f"network.backbone: timm has no {name!r}; did you mean {words}?")
    tags = [one.partition(".")[2] for one in _timm().list_pretrained(f"{stem}.*")] if point else []
    if point and tag not in tags:
        raise ValueError(f"network.backbone: timm's {stem} has no weights {tag!r}; it has {', '.join(tags) or 'none'}")
    return name


def _timm() -> ModuleType:
    try:
        import timm  # late: few sweeps need it
    except ImportError as error:
        raise ValueError(
            f"network.backbone: timm/... needs the package timm ({error}); install it: {HOW_TO_INSTALL}"
        ) from error
    return timm
