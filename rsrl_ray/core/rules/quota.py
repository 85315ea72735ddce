"""Under-sampling: majority classes are reduced to a size that the minority classes set."""

from dataclasses import dataclass

import numpy as np

from rsrl_ray.core.arrays import Labels, Mask
from rsrl_ray.core.rules.rule import Rule, Seen, lowest, share_of
from rsrl_ray.core.value import as_text, check_choice, check_number

QUOTA_PICKS = ("least_likely", "random")


@dataclass(frozen=True)
class Quota(Rule):
    """Reduces each majority class to floor(quota * m) photos; m is the size of the largest minority class.

    Sizes are those of the original training photos. A class that is not larger stays as it is, and without a minority
    class nothing is dropped.

    quota : 1 or more. pick : ``least_likely`` drops the photos with the lowest self-confidence in the last round;
    ``random`` drops photos at random, and each round draws anew.

    References
    ----------
    N. Japkowicz and S. Stephen, The class imbalance problem: a systematic study, Intelligent Data Analysis 6(5), 2002:
    under-sampling at random.
    """

    quota: float
    pick: str = "least_likely"

    def __post_init__(self) -> None:
        check_number("quota", self.quota, 1, 1e9)
        check_choice("pick", self.pick, QUOTA_PICKS)

    def __str__(self) -> str:
        """For people."""
        return f"quota {as_text(self.quota)}; picked: {self.pick}"

    def drops(self, seen: Seen) -> Mask:
        """See `Rule`."""
        sizes = np.bincount(seen.labels, minlength=seen.last.shape[1])
        minority = int(np.delete(sizes, seen.majority).max(initial=0))
        if not minority:
            return np.zeros(len(seen.labels), dtype=bool)
        quota, generator = share_of(self.quota, minority), seen.generator()

        def excess(members: Labels) -> Labels:
            count = max(0, len(members) - quota)
            if self.pick == "random":
                return generator.permutation(members)[:count]
            return np.asarray(members[lowest(seen.confidence[members], count)])

        return seen.in_majority(excess)
