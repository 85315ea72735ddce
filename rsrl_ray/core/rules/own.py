"""A user's own rule."""

from dataclasses import dataclass

import numpy as np

from rsrl_ray.core.arrays import Mask
from rsrl_ray.core.own import Own
from rsrl_ray.core.rules.rule import Rule, Seen, as_mask


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

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        try:
            found = np.asarray(self.own.make().drops(seen))
        except Exception as error:  # the user's code may raise anything
            raise ValueError(f"{self.own.path}: {type(error).__name__}: {error}") from error
        return as_mask(found, seen, self.own.path)
