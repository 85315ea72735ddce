"""A digest of what a device computes: two training steps of the sweep's network on fixed pixels.

Devices with the same name may give different bits: a part of a GPU has fewer multiprocessors, and libraries choose
their algorithms by more than the name. So devices are not listed but tried.
"""

import time

import numpy as np

from rsrl_ray import config
from rsrl_ray.core.digest import array_digest
from rsrl_ray.vision.evaluation import EVALUATION_BATCH
from rsrl_ray.vision.features import FeatureMaker
from rsrl_ray.vision.lesson import Lesson
from rsrl_ray.vision.memory import OutOfMemory, free_memory
from rsrl_ray.vision.network import Weights
from rsrl_ray.vision.on_device import NetworkOnDevice, Place
from rsrl_ray.vision.trainer import NetworkTrainer

PROBE_STEPS = 2
TRIES = 3  # if the GPU's memory is full: others may need it only for a moment
PAUSE_S = 5.0  # between two tries


def probe(network: config.Network, training: config.Training, classes: int, start: Weights, device: str) -> str:
    """The digest of the weights and logits that the device computes from the ``start`` weights of the whole network.

    training : as `rsrl_ray.identity.probed` gives it. The frozen part is computed too.

    Raises
    ------
    OutOfMemory
        If the GPU's memory is full, at the last try too.
    ValueError
        If the network cannot be trained on this device.
    """
    try:
        for _ in range(TRIES - 1):
            try:
                return _probe(network, training, classes, start, device)
            except OutOfMemory:
                pass  # outside of this block nothing on the GPU is held any more
            time.sleep(PAUSE_S)
        return _probe(network, training, classes, start, device)
    finally:
        free_memory()  # photos of many pixels took a gigabyte


def _probe(network: config.Network, training: config.Training, classes: int, start: Weights, device: str) -> str:
    trained, size = PROBE_STEPS * training.batch_size, network.image_size
    count = max(trained, EVALUATION_BATCH)
    rows = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    if training.trainable != "all":
        rows = FeatureMaker(network, training, classes, start, device).features(rows)
    lesson = Lesson(np.arange(count) % classes, start, np.arange(trained))
    trainer = NetworkTrainer(
        lesson, NetworkOnDevice(network, training, classes, lambda: rows, Place(device, share=0.0))
    )
    weights = trainer.fit(start, np.arange(count) < trained, 1)
    return array_digest({"/logits": trainer.logits(weights), **weights})
