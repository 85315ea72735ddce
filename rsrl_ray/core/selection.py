"""Choosing the round whose network is used."""

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.trial import TrialKey

Criterion = Literal["validation", "validation_mean", "last", "oracle"]
CRITERIA: tuple[Criterion, ...] = ("validation", "validation_mean", "last", "oracle")
Split = Literal["validation", "test"]
Curve = NDArray[np.float64]
Curves = Mapping[str, Curve]
"""Of one trial, by metric, [R] each; nan if a round has no value."""
VALIDATION, TEST = "validation_macro_f1", "test_macro_f1"  # names of the metrics, in MLflow too


def choosing_split(validation: float) -> Split:
    """The photos that rounds are chosen on, if this share is held out: a fact of the folds, the same for all trials.

    `rsrl_ray.core.folds.make_folds` sees to it that what is held out has a photo in every fold.
    """
    return "validation" if validation else "test"


def split_of_curves(curves: Iterable[Curves]) -> Split:
    """The same, of a sweep that does not say it: ``test`` if a trial lacks a value on validation photos."""
    known = [each.get(VALIDATION) for each in curves if len(each[TEST])]
    return "test" if any(curve is None or np.isnan(curve).any() for curve in known) else "validation"


def usable_criteria(split: Split) -> tuple[Criterion, ...]:
    """The criteria that can choose where rounds are chosen on these photos: ``last`` and ``oracle`` need no others."""
    return CRITERIA if split == "validation" else ("last", "oracle")


def default_criterion(split: Split) -> Criterion:
    """``validation``, or ``oracle`` if there are no validation photos; whoever shows it says which."""
    return "validation" if split == "validation" else "oracle"


def choose(
    curves: Mapping[TrialKey, Curves], criterion: Criterion, measure: str = "macro_f1", first: int = 1
) -> dict[TrialKey, int]:
    """The round of each trial whose network is used, among those from ``first`` on; trials without one are left out.

    - ``validation``: the best on the trial's validation photos.
    - ``validation_mean``: one for all folds of a method, the best on the mean of their validation curves. Folds that
      hold more rounds than others are cut to the rounds that all of them hold.
    - ``last``: the last.
    - ``oracle``: the best on the trial's test photos. The paper's choice (section V.B, Fig. 8); optimistic, since
      the photos that choose are those that measure.

    curves : of all rounds that may be chosen, with ``test_`` and where the criterion needs it ``validation_`` before
    the measure. Of equal rounds the earlier is chosen.

    Raises
    ------
    ValueError
        If the criterion needs a value that is nan.
    """
    own = {trial: _curve(each, criterion, measure)[first - 1 :] for trial, each in curves.items()}
    own = {trial: curve for trial, curve in own.items() if len(curve)}
    if criterion == "validation_mean":
        own = {trial: _mean([own[other] for other in own if other.method == trial.method]) for trial in own}
    return {trial: best_round(curve) + first - 1 for trial, curve in own.items()}


def curve_of(values: Mapping[int, float], rounds: int) -> Curve:
    """A metric by round as a curve [rounds]: nan if a round has no value."""
    return np.array([values.get(number, np.nan) for number in range(1, rounds + 1)])


def best_round(curve: Curve) -> int:
    """Number, from 1, of the round with the highest value; of equal ones the earlier.

    curve : [R], the value of the rounds 1 to R, one at least.

    Raises
    ------
    ValueError
        If a round has no value (nan): what is best is then not known.
    """
    unknown = np.flatnonzero(np.isnan(curve)) + 1
    if len(unknown):
        raise ValueError(f"no value to choose by in round {', '.join(map(str, unknown))}")
    return int(np.argmax(curve)) + 1


def _curve(curves: Curves, criterion: Criterion, measure: str) -> Curve:
    """The values that a criterion goes by, [R]."""
    test = curves[f"test_{measure}"]
    if criterion == "last":
        return np.arange(len(test), dtype=np.float64)
    if criterion == "oracle":
        return test
    return curves.get(f"validation_{measure}", np.full(len(test), np.nan))


def _mean(curves: list[Curve]) -> Curve:
    shared = min(map(len, curves))
    return np.asarray(np.mean([curve[:shared] for curve in curves], axis=0))
