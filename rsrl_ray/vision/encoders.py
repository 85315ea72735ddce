"""What a network wants of photos: their size, how they are warped to it, and how their colours are normalised."""

from dataclasses import dataclass
from typing import cast, get_args

from rsrl_ray import config
from rsrl_ray.photos.decoding import HERE, Decoder, Run
from rsrl_ray.photos.picture import Interpolation
from rsrl_ray.vision.timm_networks import PREFIX, config_of

SMALL = "small"
SMALL_SIZE = 64

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """How photos become a network's inputs: warped to its size, then less ``mean`` and by ``std``, of 0 to 1, RGB.

    By default what torchvision's ImageNet weights were trained with, but that photos are warped and never cropped.
    """

    mean: Colour = (0.485, 0.456, 0.406)
    std: Colour = (0.229, 0.224, 0.225)
    interpolation: Interpolation = "bilinear"


TORCHVISION = Preprocessing()


def preprocessing_of(network: config.Network) -> Preprocessing:
    """What the network was made for, also if its weights come from a file: timm's own configuration of that name.

    Raises
    ------
    ValueError
        If timm is needed and not installed, or knows no such network.
    """
    if not network.backbone.startswith(PREFIX):
        return TORCHVISION
    known = config_of(network.backbone)
    mean, std = (cast(Colour, tuple(map(float, known[name]))) for name in ("mean", "std"))
    if known["interpolation"] not in get_args(Interpolation):
        raise ValueError(
            f"network.backbone: {network.backbone} is made for {known['interpolation']} interpolation, which is not "
            f"supported; only {' and '.join(get_args(Interpolation))} are"
        )
    return Preprocessing(mean, std, cast(Interpolation, known["interpolation"]))


def decoder_of(experiment: config.Experiment, run: Run = HERE) -> Decoder:
    """What decodes the photos of an experiment, as its network wants them. Raises ValueError as `preprocessing_of`."""
    network = experiment.network
    interpolation = preprocessing_of(network).interpolation
    return Decoder(network.image_size, experiment.resources.photo_memory, run, interpolation)


def usual_size(backbone: str) -> int:
    """Height and width in pixels of the pictures that a network was made for: what ``image_size: auto`` stands for.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    if backbone.startswith(PREFIX):
        return int(config_of(backbone)["input_size"][-1])
    if backbone == SMALL:
        return SMALL_SIZE
    from torchvision import models  # late: it takes longer than torch itself

    try:
        weights = models.get_model_weights(backbone).DEFAULT
    except ValueError as error:
        raise ValueError(f"network.image_size: auto: there is no network {backbone!r}; name another") from error
    return int(weights.transforms().crop_size[0])
