"""A loss that a user writes, named by its import path in an experiment file."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rsrl_ray.core.own import Own

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class OwnLoss:
    """A loss of a user's own class: anything that is called like `rsrl_ray.vision.losses.Loss`."""

    own: Own

    def __str__(self) -> str:
        """For people."""
        return str(self.own)

    def check(self) -> None:
        """Raises ValueError if the object cannot be made or is not a loss."""
        if not callable(self.own.make()):
            raise ValueError(f"{self.own.path}: it cannot be called with logits, labels, counts, number, as a loss is")

    def __call__(self, logits: "Tensor", labels: "Tensor", counts: "Tensor", number: int = 1) -> "Tensor":
        """See `rsrl_ray.vision.losses.Loss`."""
        try:
            return self.own.make()(logits, labels, counts, number)  # type: ignore[no-any-return]
        except RuntimeError:  # perhaps the GPU is full, which the trainer finds out
            raise
        except Exception as error:  # a user's code may raise anything
            raise ValueError(f"{self.own.path}: {type(error).__name__}: {error}") from error
