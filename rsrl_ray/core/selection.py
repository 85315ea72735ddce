"""Chooses the round whose network is used."""

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
"""The curves of one trial by metric, [R] each; nan if a round has no value."""
VALIDATION, TEST = "validation_macro_f1", "test_macro_f1"  # names of metrics, also in MLflow


def choosing_split(validation: float) -> Split:
    """The photos that rounds are chosen on if this share is held out. It is the same for all trials.

    `rsrl_ray.core.folds.make_folds` makes sure that each fold has a validation photo if a share is held out.
    """
    return "validation" if validation else "test"


def split_of_curves(curves: Iterable[Curves]) -> Split:
    """The same for a sweep that does not say it: ``test`` if a round of a trial has no value on validation photos."""
    known = [each.get(VALIDATION) for each in curves if len(each[TEST])]
    return "test" if any(curve is None or np.isnan(curve).any() for curve in known) else "validation"


def usable_criteria(split: Split) -> tuple[Criterion, ...]:
    """The criteria that can choose a round, if rounds are chosen on these photos."""
    return CRITERIA if split == "validation" else ("last", "oracle")


def default_criterion(split: Split) -> Criterion:
    """``validation``, or ``oracle`` if there are no validation photos. Whoever shows results must say which it is."""
    return "validation" if split == "validation" else "oracle"


def choose(
    curves: Mapping[TrialKey, Curves], criterion: Criterion, measure: str = "macro_f1", first: int = 1
) -> dict[TrialKey, int]:
    """The chosen round of each trial, from round ``first`` on. A trial without such a round is left out.

    - ``validation``: the best round on the trial's validation photos.
    - ``validation_mean``: one round for all folds of a method, the best on the mean of their validation curves. Only
      the rounds that all these folds have are used.
    - ``last``: the last round.
    - ``oracle``: the best round on the trial's test photos. It is the paper's choice (section V.B, Fig. 8), and it is
      optimistic, because the same photos choose and measure.

    curves : of all rounds that may be chosen; their names are ``test_`` or ``validation_`` and the measure. Of equal
    rounds, the earlier one is chosen.

    Raises
    ------
    ValueError
        If a value that the criterion needs is nan.
    """
    own = {trial: _curve(each, criterion, measure)[first - 1 :] for trial, each in curves.items()}
    own = {trial: curve for trial, curve in own.items() if len(curve)}
    if criterion == "validation_mean":
        own = {trial: _mean([own[other] for other in own if other.method == trial.method]) for trial in own}
    return {trial: best_round(curve) + first - 1 for trial, curve in own.items()}


def curve_of(values: Mapping[int, float], rounds: int) -> Curve:
    """The curve of a metric, [rounds], from its values by round; nan if a round has no value."""
    return np.array([values.get(number, np.nan) for number in range(1, rounds + 1)])


def best_round(curve: Curve) -> int:
    """The number, from 1, of the round with the highest value; of equal ones the earlier round.

    curve : [R], the values of rounds 1 to R, at least one.

    Raises
    ------
    ValueError
        If a round has no value (nan), because the best round is then not known.
    """
    unknown = np.flatnonzero(np.isnan(curve)) + 1
    if len(unknown):
        raise ValueError(f"no round can be chosen, because there is no value of round {', '.join(map(str, unknown))}")
    return int(np.argmax(curve)) + 1


def _curve(curves: Curves, criterion: Criterion, measure: str) -> Curve:
    """The values that a criterion uses, [R]."""
    test = curves[f"test_{measure}"]
    if criterion == "last":
        return np.arange(len(test), dtype=np.float64)
    if criterion == "oracle":
        return test
    return curves.get(f"validation_{measure}", np.full(len(test), np.nan))


def _mean(curves: list[Curve]) -> Curve:
    shared = min(map(len, curves))
    return np.asarray(np.mean([curve[:shared] for curve in curves], axis=0))
