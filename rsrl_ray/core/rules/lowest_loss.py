"""Iterative trimmed loss minimisation (ITLM): the next network is trained on the photos with the lowest loss."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from rsrl_ray.core.arrays import Mask
from rsrl_ray.core.likelihood import log_shares, self_confidence
from rsrl_ray.core.rules.rule import KEEPS, Rule, Seen, lowest, share_of
from rsrl_ray.core.value import as_text, check_share


@dataclass(frozen=True)
class LowestLoss(Rule):
    """Keeps the floor(share * n) photos with the lowest cross-entropy, of all classes together.

    lowest_loss : the share, 0 to 1.

    References
    ----------
    Y. Shen and S. Sanghavi, Learning with bad training data via iterative trimmed loss minimization, ICML 2019
    (algorithm 1; in the paper, rounds start cold).
    """

    lowest_loss: float

    def __post_init__(self) -> None:
        check_share("lowest_loss", self.lowest_loss)

    def __str__(self) -> str:
        """For people."""
        return f"lowest loss, {as_text(self.lowest_loss)} of all photos"

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`. It drops photos of all classes."""
        drops = np.zeros(len(seen.labels), dtype=bool)
        confidence = self_confidence(log_shares(seen.last), seen.labels)
        drops[lowest(confidence, len(drops) - share_of(self.lowest_loss, len(drops)))] = True
        return drops

    def at(self, revision: int) -> Hashable:
        """See `Rule`."""
        return KEEPS if self.lowest_loss == 1 else self
