"""The rounds of a method whose last layer is solved: each is solved for its kept photos, and remembered."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from rsrl_ray.core.arrays import MaskOrWeights, mask_of, weights_of
from rsrl_ray.core.ridge import Ridge
from rsrl_ray.vision.lesson import NotFinite
from rsrl_ray.vision.lockstep import head_of, prepared
from rsrl_ray.vision.network import Weights
from rsrl_ray.vision.solving import solved

if TYPE_CHECKING:
    from rsrl_ray.vision.trainer import NetworkTrainer


@dataclass(frozen=True)
class _Solved:
    """The layer for the kept photos [N]. left_out : their logits, [n, C], see `Ridge`."""

    kept: MaskOrWeights
    weights: Weights
    left_out: NDArray[np.float32]


class Solving:
    """Solves last layers. A round that keeps the photos of the last one has its layer, and costs nothing."""

    def __init__(self, ridge: Ridge) -> None:
        self._ridge = ridge
        self._last: _Solved | None = None

    def solve(self, trainer: "NetworkTrainer", parent: Weights, kept: MaskOrWeights) -> Weights | NotFinite:
        """The weights for the kept photos, [N]; of the ``parent`` only the layers below the last one count.

        Raises ValueError if the last layer has no constant.
        """
        if self._last is None or not np.array_equal(self._last.kept, kept):
            photos, labels, network = np.flatnonzero(kept), trainer.lesson.labels, trainer.network
            head = head_of(trainer.begin(parent, 1).eval())
            if head.bias is None:
                raise ValueError("learn: the last layer of this network has no constant; leave learn out")
            own, classes = weights_of(kept), int(labels.max()) + 1
            own = None if own is None else own[photos]
            features = prepared(network, photos)
            if not bool(features.isfinite().all()):
                return NotFinite("a feature is not finite; try training.precision fp32")
            layer = solved(self._ridge, features, labels[photos], classes, own)
            with torch.no_grad():
                head.weight.copy_(layer.weight)
                head.bias.copy_(layer.bias)
            weights = network.weights()
            if weights is None:
                return NotFinite("a weight of the solved layer is not finite; give learn.ridge a larger number")
            self._last = _Solved(kept, weights, layer.left_out.cpu().float().numpy())
        return self._last.weights

    def seen(self, weights: Weights, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logits [N, C] of the layer that was solved last, as `Ridge.judged` asks for them."""
        if self._ridge.judged == "in_sample":
            return logits
        assert self._last is not None
        assert self._last.weights is weights
        logits = logits.copy()
        logits[mask_of(self._last.kept)] = self._last.left_out
        return logits
