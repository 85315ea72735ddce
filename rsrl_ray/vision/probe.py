"""What a device makes of a small computation: two steps of the very network on fixed pixels, as a digest.

Devices of one name need not have the same bits: parts of a GPU have fewer multiprocessors, and a library chooses its
ways by more than a name tells. So they are not listed but tried.
"""

import time

import numpy as np

from rsrl_ray import config
from rsrl_ray.core.digest import array_digest
from rsrl_ray.vision.evaluation import EVALUATION_BATCH
from rsrl_ray.vision.features import FeatureMaker
from rsrl_ray.vision.memory import OutOfMemory
from rsrl_ray.vision.network import Weights
from rsrl_ray.vision.on_device import NetworkOnDevice, Place
from rsrl_ray.vision.trainer import Lesson, NetworkTrainer

PROBE_STEPS = 2
TRIES = 3  # where the GPU's memory is full: others may need it for a moment only
PAUSE_S = 5.0  # between two of them


def probe(network: config.Network, training: config.Training, classes: int, start: Weights, device: str) -> str:
    """The digest of the weights and logits that the device makes of the ``start`` weights, the whole network's.

    training : as `rsrl_ray.identity.probed` has it. What is frozen is gone through too.

    Raises
    ------
    OutOfMemory
        If the GPU's memory is full, also on the last try.
    ValueError
        If the network cannot be trained on this device.
    """
    for _ in range(TRIES - 1):
        try:
            return _probe(network, training, classes, start, device)
        except OutOfMemory:
            pass  # outside of this block nothing holds what was on the GPU any more
        time.sleep(PAUSE_S)
    return _probe(network, training, classes, start, device)


def _probe(network: config.Network, training: config.Training, classes: int, start: Weights, device: str) -> str:
    trained, size = PROBE_STEPS * training.batch_size, network.image_size
    count = max(trained, EVALUATION_BATCH)
    rows = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    if training.trainable != "all":
        rows = FeatureMaker(network, training, classes, start, device).features(rows)
    lesson = Lesson(np.arange(count) % classes, start, count)
    trainer = NetworkTrainer(
        lesson, NetworkOnDevice(network, training, classes, lambda: rows, Place(device, share=0.0))
    )
    weights = trainer.fit(start, np.arange(count) < trained, 1)
    return array_digest({"/logits": trainer.logits(weights), **weights})
