"""What losses make of the number of photos of each class, [C], float64."""

from typing import TYPE_CHECKING

from rsrl_ray.vision.slopes import every_label, from_label

if TYPE_CHECKING:
    from torch import Tensor

MASKED = -1e9  # a logit that adds nothing to a softmax; it is finite, because infinity times 0 is not 0


def masked(logits: "Tensor", counts: "Tensor") -> "Tensor":
    """The logits [.., C] in float32, without those of classes that have no photos."""
    return logits.float().masked_fill(counts == 0, MASKED)


def by_effective_number(counts: "Tensor", beta: float) -> "Tensor":
    """[C], the weights by effective number; their mean over the classes with photos is 1."""
    with_photos = counts > 0
    weights = ((1 - beta) / (1 - beta ** counts.clamp(min=1))) * with_photos
    return (weights / weights.sum() * with_photos.sum()).float()


def weighted_mean(values: "Tensor", weights: "Tensor") -> "Tensor":
    """Of a batch, [B] both: divided by the sum of the weights, as in torch's cross-entropy."""
    return (weights * values).sum() / weights.sum()


def smoothed(counts: "Tensor", sigma: float) -> "Tensor":
    """[C], label distribution smoothing: n_c becomes sum over k of exp(-(c - k)^2 / 2 sigma^2) n_k; 0 changes nothing.

    sigma : in classes, in the order of scores. As in the authors' code the kernel is 1 at its own class, so no class
    gets fewer, and beyond the lowest and the highest score there are no photos, so classes at the ends get less of
    others; its rows are not scaled to the sum 1. Unlike there it is not cut after some classes, and a class without
    photos goes on to have none.

    References
    ----------
    Y. Yang et al., Delving into deep imbalanced regression, ICML 2021 (section 3.1).
    """
    if not sigma:
        return counts
    near = (-((from_label(every_label(counts), counts) / sigma) ** 2) / 2).exp()
    return (near * counts).sum(dim=1) * (counts > 0)
