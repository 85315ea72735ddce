"""A good network to freeze that is there already: what `rsrl init` proposes on a CPU."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from rsrl_ray.config import Network
from rsrl_ray.vision.encoders import usual_size
from rsrl_ray.vision.network import starting_weights
from rsrl_ray.vision.pretrained import SUFFIXES
from rsrl_ray.vision.timm_networks import PREFIX, timm_names

LITE0 = Network("timm/tf_efficientnet_lite0", "imagenet", 224, standardise=True)


def network_here(folders: Sequence[Path]) -> Network | None:
    """The network of a file of weights in one of the folders, else `LITE0` if timm is installed, else None.

    A file is taken if its name begins with that of its network, as the files of torchvision and timm do
    (``tf_efficientnet_lite0_ra-37913777.pth``), and if it has all layers but the last one.
    """
    names = _names()
    for file in sorted({file.absolute() for folder in folders for file in folder.glob("*") if file.suffix in SUFFIXES}):
        of_file = [name for name in names if file.name.startswith(name)]
        if not of_file:
            continue
        backbone = names[max(of_file, key=len)]
        with suppress(ValueError):  # of another network, or damaged: `rsrl sweep` says so if somebody names it
            network = Network(backbone, str(file), usual_size(backbone), standardise=True)
            if not network.own_head_is_linear:
                network = replace(network, head="linear")
            if not starting_weights(network, 2, [0]).random_layers:
                return network
    return LITE0 if find_spec("timm") else None


def _names() -> dict[str, str]:
    """Names of networks, as files of weights have them -> as backbones."""
    from torchvision import models  # late, see `network`

    names = {name: name for name in models.list_models(module=models)}
    if find_spec("timm"):
        names |= {name: PREFIX + name for name in timm_names() if name not in names}
    return names
