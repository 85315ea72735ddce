"""All rules, by their names in an experiment file."""

from collections.abc import Callable

from rsrl_ray.core.rules.disagreement import Disagreement
from rsrl_ray.core.rules.edited_neighbours import EditedNeighbours
from rsrl_ray.core.rules.imposters import Imposters
from rsrl_ray.core.rules.keep import Keep
from rsrl_ray.core.rules.lowest_loss import LowestLoss
from rsrl_ray.core.rules.margin import Margin
from rsrl_ray.core.rules.mixture import Mixture
from rsrl_ray.core.rules.quantile import Quantile
from rsrl_ray.core.rules.quota import Quota
from rsrl_ray.core.rules.random_share import RandomShare
from rsrl_ray.core.rules.rule import Rule, Seen, Weighing
from rsrl_ray.core.rules.soft import Soft
from rsrl_ray.core.rules.thresholds import Thresholds
from rsrl_ray.core.schedule import make_schedule

__all__ = [
    "RULES",
    "Disagreement",
    "EditedNeighbours",
    "Imposters",
    "Keep",
    "LowestLoss",
    "Margin",
    "Mixture",
    "Quantile",
    "Quota",
    "RandomShare",
    "Rule",
    "Seen",
    "Soft",
    "Thresholds",
    "Weighing",
    "make_schedule",
]

RULES: dict[str, Callable[..., Rule]] = {
    "thresholds": Thresholds,
    "random": RandomShare,
    "quantile": Quantile,
    "margin": Margin,
    "disagreement": Disagreement,
    "imposters": Imposters,
    "lowest_loss": LowestLoss,
    "edited_neighbours": EditedNeighbours,
    "mixture": Mixture,
    "quota": Quota,
    "soft": Soft,
}
"""`rsrl_ray.core.value.make` makes a rule of its part of the file. Without such a part the rule is `Keep`."""


def __dir__() -> list[str]:
    return __all__
