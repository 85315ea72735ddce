"""A user's own rule."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import Mask
from rsrl_ray.core.own import Own
from rsrl_ray.core.rules.rule import Rule, Seen, as_mask, as_weights


@dataclass(frozen=True)
class OwnRule(Rule):
    """Drops what the user's own object drops. It has a method ``drops(seen)``, as `Rule` has."""

    own: Own

    def __str__(self) -> str:
        """For people."""
        return str(self.own)

    def check(self) -> None:
        """Raise ValueError if the object cannot be made, or if it is not a rule."""
        if not callable(getattr(self.own.make(), "drops", None)):
            raise ValueError(f"{self.own.path}: it has no method drops(seen); every rule needs one")

    @property
    def looks_back(self) -> int:
        """See `Rule`."""
        return int(getattr(self.own.make(), "looks_back", 1))

    @property
    def recalls(self) -> bool:
        """See `Rule`."""
        return bool(getattr(self.own.make(), "recalls", False))

    @property
    def weighs(self) -> bool:
        """See `Rule`."""
        return bool(getattr(self.own.make(), "weighs", False))

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        return as_mask(self._asked("drops", seen), seen, self.own.path)

    def weights(self, seen: Seen) -> NDArray[np.floating]:
        """See `Rule`."""
        return as_weights(self._asked("weights", seen), seen, self.own.path)

    def _asked(self, method: str, seen: Seen) -> NDArray[Any]:
        try:
            return np.asarray(getattr(self.own.make(), method)(seen))
        except Exception as error:  # the user's code may raise anything
            raise ValueError(f"{self.own.path}: {type(error).__name__}: {error}") from error
