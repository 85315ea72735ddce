"""Gradients of losses as tables, with which several layers in lockstep compute them at once."""

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


class Slopes(NamedTuple):
    """The gradient of a loss by the logits z, for a photo with label y, as numbers that a round never changes.

    It is f (sum(target_y) softmax(z + shift_y) - target_y), divided by the sum of ``weights`` over the batch.

    shift, target : [C, C], float32, a row for each y. weights : [C], float32. focal : gamma; f is 1 if it is 0, else
    p^gamma - gamma p^(gamma - 1) (1 - p) ln(1 - p), where 1 - p is the softmax at y, see
    `rsrl_ray.vision.losses.Focal`.
    """

    shift: "Tensor"
    target: "Tensor"
    weights: "Tensor"
    focal: float = 0.0


@runtime_checkable
class Tabled(Protocol):
    """A loss whose gradient follows from tables, which several layers in lockstep compute at once."""

    def slopes(self, counts: "Tensor", number: int) -> Slopes:
        """See `Slopes` and `rsrl_ray.vision.losses.Loss`."""
        ...


def hard_targets(counts: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
    """Nothing for each label and class, the hard targets of each label, [C, C] both, and equal weights [C]."""
    hard = (from_label(every_label(counts), counts) == 0).float()
    return hard * 0, hard, hard[0] * 0 + 1


def every_label(counts: "Tensor") -> "Tensor":
    """All labels, [C]."""
    from torch import arange

    return arange(len(counts), device=counts.device)


def from_label(labels: "Tensor", counts: "Tensor") -> "Tensor":
    """[B, C], how many classes each class is above the photo's label."""
    return (every_label(counts) - labels[:, None]).double()
