"""What the bits of a round depend on: all of it enters the key of its round in the archive.

- **What it is given**: the decoded photos, the fold's labels and indices (`rsrl_ray.store.archive.start_key`), the
  starting weights, the seed and the fold's number; by the chain of keys its parent and the kept photos.
- **The recipe**: network, training and warm start. A later knob is in it where it is not at its default, and so are
  loss and sampling of a method (`rsrl_ray.config.identifying`, `rsrl_ray.method.Learning`).
- **The code**: `ARITHMETIC`, a number that is counted up when what is computed changes, and the versions of PyTorch and
  torchvision.
- **The device**: its name, with what the environment changes of the arithmetic and no switch sets back
  (`rsrl_ray.vision.reproducible`), and what it makes of a probe (`rsrl_ray.vision.probe`) where that is not what the
  first device of this name has made of it. The probe goes through the frozen layers too, whose features rounds are
  trained on, and rounds are not kept where the GPU lacked memory, since cuDNN then computes in other ways.
"""

from dataclasses import dataclass
from typing import Any

from rsrl_ray.config import ALWAYS, Experiment, identifying
from rsrl_ray.method import Learning
from rsrl_ray.vision.evaluation import ARITHMETIC
from rsrl_ray.vision.probe import probed
from rsrl_ray.vision.reproducible import versions


@dataclass(frozen=True)
class Given:
    """What a fold's rounds are given, besides labels and indices.

    photos : fingerprint of the decoded photos. start : digest of the starting weights. fold : its number.
    device : its name, see `rsrl_ray.core.trial.Device`.
    """

    photos: str
    start: str
    fold: int
    device: str


def round_identity(experiment: Experiment, learning: Learning, given: Given) -> dict[str, Any]:
    """All that the bits of a fold's rounds depend on, besides labels and indices, as plain values."""
    arithmetic = {} if ARITHMETIC == 1 else {"arithmetic": ARITHMETIC}
    network = identifying(experiment.network, "network.")
    later = {name: value for name, value in network.items() if f"network.{name}" not in ALWAYS}
    return (
        arithmetic
        | ({"network": later} if later else {})
        | learning.identity
        | {
            "photos": given.photos,
            "start": given.start,
            "backbone": experiment.network.backbone,
            "image_size": experiment.network.image_size,
            "training": identifying(experiment.training, "training."),
            "warm_start": learning.warm_start,
            "seed": experiment.seed,
            "fold": given.fold,
            "device": given.device,
            "versions": versions(),
        }
    )


def probe_identity(experiment: Experiment, start: str, kind: str) -> dict[str, Any]:
    """All that a probe depends on but for the machine, as plain values; ``start`` and kind of device as in `Given`.

    How many classes there are, the starting weights tell.
    """
    network = identifying(experiment.network, "network.")
    del network["weights"]  # whatever file they came from
    return {
        "device": kind,
        "network": network,
        "start": start,
        "training": identifying(probed(experiment.training), "training."),
        "arithmetic": ARITHMETIC,
        "versions": versions(),
    }
