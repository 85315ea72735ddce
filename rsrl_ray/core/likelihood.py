"""The likelihood of each class for a photo, from a network's logits (section III, eqs. 1 to 3)."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, softmax

Membership = Literal["sigmoid", "centred", "softmax"]


def likelihood(logits: NDArray[np.floating], membership: Membership = "sigmoid") -> NDArray[np.float64]:
    """Likelihood f of each class for each photo, [N, C], 0 to 1, from logits (the outputs of 'fc'), [N, C].

    ``sigmoid`` is the paper's sigmoidal fuzzy membership of each logit, with slope 1 and centre 0. Training with
    softmax leaves open a shift of a photo's logits: ``centred`` first subtracts the photo's mean logit, and with
    ``softmax`` the likelihoods of a photo add up to 1. Likelihoods of training photos are in-sample on purpose: the
    network was trained on these photos.
    """
    outputs = np.ascontiguousarray(logits, dtype=np.float64)  # because sums depend on the order in memory
    if membership == "softmax":
        return np.asarray(softmax(outputs, axis=1))
    if membership == "centred":
        outputs = outputs - outputs.mean(axis=1, keepdims=True)
    return np.asarray(expit(outputs))


def log_shares(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logarithm of the ``softmax`` likelihood, [N, C], from logits [N, C]; finite even if the likelihood is tiny."""
    return np.asarray(log_softmax(np.ascontiguousarray(logits, dtype=np.float64), axis=1))


def self_confidence(likelihoods: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each photo's likelihood of its own label, [N], from likelihoods (or their logarithms) [N, C] and labels [N]."""
    return likelihoods[np.arange(len(labels)), labels]
