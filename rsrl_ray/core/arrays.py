"""Types of arrays, named after what they hold. Shapes stand in the docstrings."""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]  # class indices, or groups
Mask = NDArray[np.bool_]
Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]
