"""Types of arrays, named after what they hold. Shapes stand in the docstrings."""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]  # class indices, or groups
Mask = NDArray[np.bool_]
Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]
MaskOrWeights = Mask | NDArray[np.float32]
"""What a round is trained on, [N]: True for the kept photos; or what each photo weighs, and 0 if it is not kept."""


def mask_of(chosen: MaskOrWeights) -> Mask:
    """The kept photos, [N]: those that weigh more than 0."""
    return np.asarray(chosen > 0)


def weights_of(chosen: MaskOrWeights) -> NDArray[np.float32] | None:
    """What each photo weighs, [N]; None if it is a mask."""
    return None if chosen.dtype == np.bool_ else np.asarray(chosen, dtype=np.float32)
