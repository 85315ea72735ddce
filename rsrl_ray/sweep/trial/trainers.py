"""The networks that the trials of a process train."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import MaskOrWeights
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.trial import Device
from rsrl_ray.learning import Learning
from rsrl_ray.method import largest_training
from rsrl_ray.sweep.nodes.devices import device_here
from rsrl_ray.sweep.nodes.features import features_here
from rsrl_ray.sweep.nodes.photos import pixels_here
from rsrl_ray.sweep.task import Task, Trained, Trainer
from rsrl_ray.vision.lesson import Lesson, NotFinite
from rsrl_ray.vision.memory import OutOfMemory
from rsrl_ray.vision.network import Weights
from rsrl_ray.vision.on_device import NetworkOnDevice, Place
from rsrl_ray.vision.trainer import NetworkTrainer, fit_together, judge_together


def fit_all(
    trainers: Sequence[Trainer], parents: Sequence[Weights], kept: Sequence[MaskOrWeights], number: int
) -> list[Trained | NotFinite]:
    """Train and judge the same round of several trials of one fold, together if they can be; see `Trainer.fit`."""
    networks = [trainer for trainer in trainers if isinstance(trainer, NetworkTrainer)]
    if len(networks) == len(trainers):
        found = fit_together(networks, parents, kept, number)
        fitted = [weights for weights in found if not isinstance(weights, NotFinite)]
        able = [trainer for trainer, weights in zip(networks, found, strict=True) if not isinstance(weights, NotFinite)]
        logits = iter(judge_together(able, fitted) if able else [])
        return [weights if isinstance(weights, NotFinite) else _trained(weights, next(logits)) for weights in found]
    return [_fit(*one, number) for one in zip(trainers, parents, kept, strict=True)]


def _trained(weights: Weights, logits: NDArray[np.float32] | NotFinite) -> Trained | NotFinite:
    return logits if isinstance(logits, NotFinite) else Trained(weights, logits)


def _fit(trainer: Trainer, parent: Weights, kept: MaskOrWeights, number: int) -> Trained | NotFinite:
    try:
        weights = trainer.fit(parent, kept, number)
        return Trained(weights, trainer.logits(weights))
    except NotFinite as error:
        return error


class NetworkTrainers:
    """Makes the trainers of folds, which share one network on its device, because a process has one trial at a time."""

    def __init__(self, task: Task) -> None:
        """Raises ValueError if this machine cannot get the photos or features; another one may."""
        experiment, classes = task.experiment, len(task.photos.classes)

        def rows() -> NDArray[Any]:
            return features_here(task) if task.frozen else pixels_here(task.photos, task.source)

        self._task = task
        self._device: Device | None = None
        with contextlib.suppress(NotFinite, OutOfMemory, ValueError):  # `__call__` raises it again
            self._device = device_here(task)  # first, while the network takes no memory
        self._network = NetworkOnDevice(
            experiment.network, largest_training(experiment), classes, rows, Place(task.device, task.gpu_share)
        )
        if self._device is not None:
            self._network.make()

    def __call__(self, fold: Fold, learning: Learning) -> NetworkTrainer:
        """The trainer of this fold; only the first one has the remarks on the device."""
        task = self._task
        device = self._device or device_here(task)
        self._device = replace(device, remarks=())
        return NetworkTrainer(
            Lesson(
                labels=task.labels_in(fold),
                start=task.start,
                warm_start=learning.warm_start,
                seed=task.experiment.seed,
                fold=fold.number,
                loss=learning.loss,
                sampling=learning.sampling,
                balanced_from=learning.balanced_from,
                mixup=learning.mixup,
                train=fold.train,
                training=learning.training.in_place_of(task.experiment.training),
                ridge=learning.ridge,
            ),
            self._network,
            device,
        )
