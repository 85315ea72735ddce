"""Which photos a round trains on: their order, or what each weighs."""

import numpy as np
import torch
from numpy.typing import NDArray

from rsrl_ray.core.arrays import MaskOrWeights
from rsrl_ray.core.passes import Sampling
from rsrl_ray.vision.inputs import Indices


def drawn(photos: Indices, labels: Indices, sampling: Sampling, generator: torch.Generator) -> Indices:
    """As many photos as ``photos`` [n], in random order: each once, or drawn n times with all classes equally likely.

    labels : [N], of all photos.
    """
    if sampling == "shuffled":
        places = torch.randperm(len(photos), generator=generator)
    else:
        _, place, sizes = np.unique(labels[photos], return_inverse=True, return_counts=True)
        weights = torch.from_numpy(1 / sizes[place])
        places = torch.multinomial(weights, len(photos), replacement=True, generator=generator)
    order: Indices = photos[places.numpy()]
    return order


def kept_weights(kept: MaskOrWeights, labels: Indices, train: Indices, sampling: Sampling) -> NDArray[np.float32]:
    """What each photo weighs if all of ``train`` pass: dropped ones 0, the mean over ``train`` is 1; [N], float32.

    ``class_balanced``: n / (C n_c), so that each of C classes weighs as much as any other, n_c : its photos that are
    kept. So a round has equal steps and an equal expected gradient, whatever is dropped.

    If ``kept`` has weights, each photo weighs its own times as much, and n_c is their sum in the class.
    """
    weights = np.zeros(len(kept))
    chosen = np.flatnonzero(kept)
    own = kept[chosen].astype(np.float64)  # 1 for each photo of a mask
    if sampling == "shuffled":
        weights[chosen] = own * (len(train) / own.sum())
    else:
        found, place = np.unique(labels[chosen], return_inverse=True)
        weights[chosen] = own * (len(train) / (len(found) * np.bincount(place, own)))[place]
    return weights.astype(np.float32)
