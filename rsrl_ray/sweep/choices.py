"""Which of a trial's rounds is chosen, as its run in MLflow has it while the trial goes on."""

import math
from collections.abc import Sequence

import numpy as np

from rsrl_ray.core.selection import TEST, VALIDATION, choices_so_far, choosing_curve, curve_of
from rsrl_ray.sweep.report import Report
from rsrl_ray.tracking.entries import Choice

_MEASURES = ("test_", "validation_", "f1_", "train_size", "photos_seen")  # how the names of measures begin


def choices(chain: Sequence[Report]) -> list[Choice]:
    """Of a trial's rounds 1, 2, ... those that are better than all before them: the last one is the chosen one."""
    curves = {
        name: curve_of({report.number: report.metrics[name] for report in chain if name in report.metrics}, len(chain))
        for name in (VALIDATION, TEST)
    }
    curve = choosing_curve(curves)
    if not len(curve) or np.isnan(curve).any():  # nothing to choose by
        return []
    return [_choice(chain[:number]) for number in choices_so_far(curve)]


def _choice(chain: Sequence[Report]) -> Choice:
    """The last of these rounds; a measure that it lacks and another one has is nan, not the other one's."""
    last, names = chain[-1], dict.fromkeys(name for report in chain for name in report.metrics)
    values = {name: last.metrics.get(name, math.nan) for name in names if name.startswith(_MEASURES)}
    return Choice(last.number, last.created, {"round": float(last.number), **values})
