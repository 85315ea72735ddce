"""How fast this machine trains a network, timed on a few batches of random pixels."""

import time
from dataclasses import dataclass, replace

import numpy as np

from rsrl_ray import config
from rsrl_ray.vision.features import FeatureMaker
from rsrl_ray.vision.lesson import Lesson
from rsrl_ray.vision.memory import gpus
from rsrl_ray.vision.network import starting_weights
from rsrl_ray.vision.on_device import NetworkOnDevice, Place
from rsrl_ray.vision.reproducible import lacks_bf16
from rsrl_ray.vision.trainer import NetworkTrainer

BATCHES = {"cpu": 2, "cuda": 16}  # that are timed, after one batch to warm up
FEATURES_TIMED = 2048  # rows of features to train on, because one batch of them is too short to time


@dataclass(frozen=True)
class TrainsOn:
    """The device that a trial uses on this machine.

    name : for people. gpus : how many GPUs there are. bf16 : whether the device has units for bfloat16.
    """

    name: str
    gpus: int
    bf16: bool

    @property
    def kind(self) -> str:
        """``cuda`` or ``cpu``."""
        return "cuda" if self.gpus else "cpu"


def device() -> TrainsOn:
    """The GPUs of this machine, or its CPU if there is none."""
    found = gpus()
    if found:
        name = found[0].name if len(found) == 1 else f"{len(found)} GPUs, the first a {found[0].name}"
        return TrainsOn(name, len(found), not lacks_bf16("cuda"))
    lacks = lacks_bf16()
    return TrainsOn(f"{'without' if lacks else 'with'} units for bfloat16; no GPU that PyTorch sees", 0, not lacks)


@dataclass(frozen=True)
class Speed:
    """Seconds for one photo, if one trial runs alone.

    training : to train on it once. judging : to judge it. frozen : to pass it through the layers that are not trained.
    """

    training: float
    judging: float
    frozen: float


def speed(network: config.Network, training: config.Training, classes: int, kind: str) -> Speed:
    """Measure it, as if nothing else ran on the CPU. This takes seconds, mostly to build the network.

    The weights are random, whatever the network asks for. The speed does not depend on them, and nothing is downloaded.
    kind : cpu or cuda.

    Raises
    ------
    ValueError
        If the network cannot be built.
    OutOfMemory
        If the GPU's memory is full.
    """
    network, training = replace(network, weights="none"), replace(training, epochs=1)
    clock = time.process_time if kind == "cpu" else time.perf_counter  # without programs that also run now
    count = training.batch_size * BATCHES[kind]
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 256, (count, network.image_size, network.image_size, 3), dtype=np.uint8)
    start, frozen = starting_weights(network, classes, [0]).weights, 0.0
    if training.trainable != "all":
        maker = FeatureMaker(network, training, classes, start, kind)
        maker.features(rows[: training.batch_size])
        began = clock()
        features = maker.features(rows)
        frozen = (clock() - began) / count
        rows, count = features[np.arange(FEATURES_TIMED) % count], FEATURES_TIMED
    lesson = Lesson(np.arange(count) % classes, start, np.arange(count))
    trainer = NetworkTrainer(lesson, NetworkOnDevice(network, training, classes, lambda: rows, Place(kind)))
    trainer.fit(start, np.arange(count) < training.batch_size, 1)
    began = clock()
    weights = trainer.fit(start, np.ones(count, dtype=bool), 1)
    trained = clock()
    trainer.logits(weights)
    return Speed((trained - began) / count, (clock() - trained) / count, frozen)
