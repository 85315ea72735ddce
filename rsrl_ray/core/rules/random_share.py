"""A control that drops photos at random."""

from collections.abc import Hashable
from dataclasses import dataclass

from rsrl_ray.core.arrays import Mask
from rsrl_ray.core.rules.rule import KEEPS, Rule, Seen, share_of
from rsrl_ray.core.value import as_text, check_share


@dataclass(frozen=True)
class RandomShare(Rule):
    """Drops floor(share * n_c) photos of each majority class at random; each round draws anew.

    random : the share, 0 to 1.
    """

    random: float

    def __post_init__(self) -> None:
        check_share("random", self.random)

    def __str__(self) -> str:
        """For people."""
        return f"random {as_text(self.random)}"

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        generator = seen.generator()
        return seen.in_majority(lambda members: generator.permutation(members)[: share_of(self.random, len(members))])

    @property
    def looks_at_logits(self) -> bool:
        """See `Rule`."""
        return False

    def at(self, revision: int) -> Hashable:
        """See `Rule`."""
        return self if self.random else KEEPS
