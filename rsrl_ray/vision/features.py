"""Features: the outputs of the frozen part of a network. They are made once and kept beside the decoded photos."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rsrl_ray import config
from rsrl_ray.core.arrays import Pixels
from rsrl_ray.core.digest import digest
from rsrl_ray.photos.row_file import RowFile
from rsrl_ray.vision import network as networks
from rsrl_ray.vision.encoders import preprocessing_of
from rsrl_ray.vision.evaluation import EVALUATION_BATCH, Normaliser, evaluate
from rsrl_ray.vision.frozen import cut
from rsrl_ray.vision.inputs import batches, stored
from rsrl_ray.vision.memory import memory_errors, no_refusals
from rsrl_ray.vision.network import Weights
from rsrl_ray.vision.reproducible import check_precision


class FeatureMaker:
    """The frozen part of a network, on its device."""

    def __init__(
        self, network: config.Network, training: config.Training, classes: int, start: Weights, device: str
    ) -> None:
        """``start`` : the weights of the whole network that a sweep starts from.

        Raises
        ------
        OutOfMemory
            If the GPU's memory is full. `features` raises it too.
        ValueError
            If the precision is bf16 and the GPU has no bfloat16.
        """
        assert training.trainable != "all"
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self._training, self._device = training, torch.device(device)
        check_precision(training.precision, self._device)
        with memory_errors():
            model = networks.build(network, classes)
            networks.load_weights(model, start)
            model = cut(model.to(memory_format=torch.channels_last), training.trainable).frozen
            self._model = model.to(self._device)
            self._normalise = Normaliser(self._device, preprocessing_of(network))

    def features(self, pixels: Pixels) -> NDArray[Any]:
        """The features of photos [K, S, S, 3], as `stored` gives them, in the same batches of 64 as for judging."""
        device, training = self._device, self._training
        inputs = (
            self._normalise(torch.from_numpy(np.asarray(pixels[rows])).to(device))
            for rows in batches(np.arange(len(pixels)), EVALUATION_BATCH)
        )
        with memory_errors(), no_refusals():
            found = evaluate(self._model, inputs, device, training.precision, training.threads)
            return np.concatenate([stored(features) for features in found])


@dataclass(frozen=True)
class FeatureFiles:
    """Where the features of one set of photos are on a node: one file for each kind of device.

    key : their name, see `rsrl_ray.identity.features_key`. count : N, the number of photos.
    """

    cache: Path
    key: str
    count: int

    def find(self, kind: str | None) -> RowFile | None:
        """The file for this kind of device (None: any), if it is complete. All its bytes are read to check it."""
        for path in sorted(self.cache.glob(f"{self.key}-{'*' if kind is None else _short(kind)}.npy")):
            try:
                record = json.loads(path.with_suffix(".json").read_text("utf-8"))
                file = self._file(path, tuple(record["shape"]), str(record["dtype"]))
                if file.verified() is not None:
                    return file
                path.with_suffix(".json").unlink(missing_ok=True)  # it is damaged, so it will be made again
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return None

    def file(self, kind: str, shape: tuple[int, ...], dtype: str) -> RowFile:
        """The file for this kind of device and for rows of this shape and dtype; it need not exist."""
        return self._file(self.cache / f"{self.key}-{_short(kind)}.npy", shape, dtype)

    def _file(self, path: Path, shape: tuple[int, ...], dtype: str) -> RowFile:
        return RowFile(path, self.count, shape, dtype, "features", "features of")


def parts(count: int, groups: int) -> list[range]:
    """All rows, in about as many ``groups`` of whole batches."""
    cuts = [int(batch[0]) for batch in batches(np.arange(count), EVALUATION_BATCH)]
    starts = cuts[:: math.ceil(len(cuts) / max(1, groups))]
    return [range(start, stop) for start, stop in zip(starts, [*starts[1:], count], strict=True)]


def _short(kind: str) -> str:
    return digest(kind)[:8]
