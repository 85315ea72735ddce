"""Which of a trial's rounds is chosen, as its run in MLflow has it while the trial goes on."""

import math
from collections.abc import Sequence

from rsrl_ray.core.selection import TEST, VALIDATION, Split, choices_so_far, curve_of, default_criterion
from rsrl_ray.sweep.report import Report
from rsrl_ray.tracking.entries import Choice

_MEASURES = ("test_", "validation_", "f1_", "train_size", "photos_seen")  # how the names of measures begin


def choices(chain: Sequence[Report], chooses: Split) -> list[Choice]:
    """Of a trial's rounds 1, 2, ... those that are better than all before them: the last one is the chosen one.

    chooses : the photos that rounds are chosen on.
    """
    curves = {
        name: curve_of({report.number: report.metrics[name] for report in chain if name in report.metrics}, len(chain))
        for name in (VALIDATION, TEST)
    }
    return [_choice(chain[:number]) for number in choices_so_far(curves, default_criterion(chooses))]


def _choice(chain: Sequence[Report]) -> Choice:
    """The last of these rounds; a measure that it lacks and another one has is nan, not the other one's."""
    last, names = chain[-1], dict.fromkeys(name for report in chain for name in report.metrics)
    values = {name: last.metrics.get(name, math.nan) for name in names if name.startswith(_MEASURES)}
    return Choice(last.number, last.created, {"round": float(last.number), **values})
