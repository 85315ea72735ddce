"""How likely a network finds each class for a photo, from its logits (section III, eqs. 1 to 3)."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, softmax

Membership = Literal["sigmoid", "centred", "softmax"]


def likelihood(logits: NDArray[np.floating], membership: Membership = "sigmoid") -> NDArray[np.float64]:
    """Likelihood f of every class for every photo, [N, C] in 0 to 1, from the outputs of 'fc', [N, C].

    ``sigmoid`` is the paper's sigmoidal fuzzy membership, slope 1 and centre 0, of each output by itself.
    A network trained with softmax fixes its logits only up to a shift per photo; ``centred`` takes the
    photo's mean logit away first, ``softmax`` makes the classes share 1. The likelihoods of training
    photos are in-sample by design: the network that judges a photo was trained on it, or on its kin.
    """
    outputs = np.ascontiguousarray(logits, dtype=np.float64)  # sums depend on the order in memory
    if membership == "softmax":
        return np.asarray(softmax(outputs, axis=1))
    if membership == "centred":
        outputs = outputs - outputs.mean(axis=1, keepdims=True)
    return np.asarray(expit(outputs))


def log_shares(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logarithm of the ``softmax`` likelihood, [N, C], from logits [N, C]: finite however small it is."""
    return np.asarray(log_softmax(np.ascontiguousarray(logits, dtype=np.float64), axis=1))


def self_confidence(likelihoods: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each photo's likelihood, or its logarithm, at its own label, [N], from likelihoods [N, C] and labels [N]."""
    return likelihoods[np.arange(len(labels)), labels]
