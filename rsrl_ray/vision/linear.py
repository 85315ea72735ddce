"""A last layer alone, on features that a user has. `training.trainable: head` trains the same of a network."""

from collections import OrderedDict
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from rsrl_ray import config
from rsrl_ray.core.arrays import MaskOrWeights
from rsrl_ray.core.folds import Fold
from rsrl_ray.vision.layers import LinearHead
from rsrl_ray.vision.lesson import Lesson
from rsrl_ray.vision.network import Weights, new_head
from rsrl_ray.vision.on_device import NetworkOnDevice
from rsrl_ray.vision.trainer import NetworkTrainer

WEIGHT, BIAS = "head.weight", "head.bias"


class LinearOnDevice(NetworkOnDevice):
    """A linear layer, and the features that it learns from, [n, d], float32."""

    def __init__(self, training: config.Training, classes: int, features: NDArray[np.float32]) -> None:
        super().__init__(config.Network(), training, classes, lambda: features)
        self._width = features.shape[1]

    @cached_property
    def model(self) -> nn.Module:
        """See `NetworkOnDevice`."""
        return nn.Sequential(OrderedDict(head=LinearHead(self._width, self._classes))).to(self.device)


class LinearLearner:
    """A `rsrl_ray.rounds.loop.Learner` for all rows. It remembers the weights of its last round."""

    def __init__(
        self, training: config.Training, features: NDArray[np.float32], labels: NDArray[np.int64], **lesson: Any
    ) -> None:
        """Lesson : seed, loss, weights and sampling, see `rsrl_ray.vision.trainer.Lesson`."""
        network = LinearOnDevice(training, int(labels.max()) + 1, features)
        self._new = new_head(network.model, [lesson["seed"], 0])
        self._network, self._labels, self._lesson = network, labels, lesson
        self.start(self._new[WEIGHT], self._new[BIAS])

    def start(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        """Begin with these weights: weight [C, d], bias [C]."""
        self.weights: Weights = {WEIGHT: weight, BIAS: bias}
        lesson = Lesson(self._labels, self.weights, np.arange(len(self._labels)), **self._lesson)
        self._trainer = NetworkTrainer(lesson, self._network)

    def features(self) -> NDArray[np.float32] | None:
        """See `rsrl_ray.rounds.loop.Learner`."""
        return self._network.features

    def learn(self, number: int, kept: MaskOrWeights) -> NDArray[np.float32]:
        """See `rsrl_ray.rounds.loop.Learner`."""
        self.weights = self._trainer.fit(self.weights, kept, number)
        return self._trainer.logits(self.weights)


def all_of(count: int) -> Fold:
    """A fold that trains on all photos, ``count`` of them."""
    none = np.empty(0, dtype=np.int64)
    return Fold(0, np.arange(count), none, none)
