"""A vector of features for each photo: what a network has before its last layer. It is for what trains nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rsrl_ray.config import Experiment
from rsrl_ray.core.arrays import Pixels
from rsrl_ray.vision.features import FeatureMaker
from rsrl_ray.vision.gpu_or_cpu import GpuOrCpu
from rsrl_ray.vision.network import Weights
from rsrl_ray.vision.reproducible import lacks_bf16


class Describer:
    """The experiment's network up to its last layer, on the GPU if there is one, else on all cores."""

    def __init__(self, experiment: Experiment, classes: int, start: Weights) -> None:
        """``start`` : the weights of the whole network, which has ``classes`` logits."""
        self._experiment, self._classes, self._start = experiment, classes, start
        self._place, self._on = GpuOrCpu(), ""
        self._maker: FeatureMaker | None = None

    def vectors(self, pixels: Pixels) -> NDArray[np.float32]:
        """The features of photos [K, S, S, 3], see `as_vectors`: [K, D]."""
        return self._place.run(lambda device: as_vectors(self._made_on(device).features(pixels)))

    def _made_on(self, device: torch.device) -> FeatureMaker:
        if self._maker is None or self._on != device.type:
            training = replace(self._experiment.training, trainable="head", threads=torch.get_num_threads())
            if lacks_bf16(device):
                training = replace(training, precision="fp32")
            self._maker = FeatureMaker(self._experiment.network, training, self._classes, self._start, device.type)
            self._on = device.type
        return self._maker


def as_vectors(features: NDArray[Any]) -> NDArray[np.float32]:
    """Features as `rsrl_ray.vision.inputs.stored` gives them, [N, D] or maps [N, h, w, D], as float32 [N, D].

    Maps are averaged. A last layer that is a convolution gets the same logits from their mean.
    """
    if features.dtype == np.int16:  # bfloat16: the upper half of a float32
        features = (features.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return features if features.ndim == 2 else features.mean(axis=(1, 2))
