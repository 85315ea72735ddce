"""Choosing the round whose network is used."""

from collections.abc import Container, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Criterion = Literal["validation", "validation_mean", "last", "oracle"]
CRITERIA: tuple[Criterion, ...] = ("validation", "validation_mean", "last", "oracle")
Curve = NDArray[np.float64]
VALIDATION, TEST = "validation_macro_f1", "test_macro_f1"  # names of the metrics, in MLflow too


def choosing_metric(known: Container[str]) -> str:
    """The metric that rounds are chosen by: macro F on validation photos, on test photos where none are held out."""
    return VALIDATION if VALIDATION in known else TEST


def choosing_curve(curves: Mapping[str, Curve]) -> Curve:
    """The values that rounds are chosen by, [R], from the curves of a trial by metric.

    Those on validation photos, or where these lack a value, those on test photos.
    """
    validation = curves.get(VALIDATION)
    return curves[TEST] if validation is None or np.isnan(validation).any() else validation


def curve_of(values: Mapping[int, float], rounds: int) -> Curve:
    """A metric by round as a curve [rounds]: nan where a round has no value."""
    return np.array([values.get(number, np.nan) for number in range(1, rounds + 1)])


def chosen_round(curves: Mapping[str, Curve], rounds: int, first: int = 1) -> int:
    """Number of the round of one trial whose network is used: the best of the rounds ``first`` to ``rounds``.

    curves : by metric, see `choosing_curve`. rounds : as many as the experiment file asks for; of a longer sweep the
    others are no candidates. Raises ValueError as `best_round` does.
    """
    return best_round(choosing_curve({name: curve[first - 1 : rounds] for name, curve in curves.items()})) + first - 1


def usable_criteria(validation: Sequence[Curve]) -> tuple[Criterion, ...]:
    """The criteria that can choose where these are the validation curves: a nan leaves ``last`` and ``oracle``."""
    return ("last", "oracle") if any(np.isnan(curve).any() for curve in validation) else CRITERIA


def default_criterion(validation: Sequence[Curve]) -> Criterion:
    """``validation``, or ``oracle`` where validation photos are missing; whoever shows it says which."""
    return "validation" if "validation" in usable_criteria(validation) else "oracle"


def best_round(curve: Curve) -> int:
    """Number, from 1, of the round with the highest value; of equal ones the earlier.

    curve : [R], the value of the rounds 1 to R.

    Raises
    ------
    ValueError
        Where there is no round, or a round has no value (nan): what is best is then not known.
    """
    if len(curve) == 0:
        raise ValueError("no round to choose from")
    unknown = np.flatnonzero(np.isnan(curve)) + 1
    if len(unknown):
        raise ValueError(f"no value to choose by in round {', '.join(map(str, unknown))}")
    return int(np.argmax(curve)) + 1


def choices_so_far(curve: Curve) -> list[int]:
    """Numbers of the rounds that are better than all before them, ascending; the last of them is `best_round`.

    curve : [R]. Raises ValueError as `best_round` does.
    """
    best_round(curve)
    before = np.maximum.accumulate([-np.inf, *curve[:-1]])
    return [int(place) + 1 for place in np.flatnonzero(curve > before)]


def choose_rounds(criterion: Criterion, validation: Sequence[Curve], test: Sequence[Curve]) -> list[int]:
    """The round that ``criterion`` chooses in each fold.

    - ``validation``: per fold, the best on its validation photos.
    - ``validation_mean``: one for all folds, the best on the mean of the validation curves. Folds that hold more
      rounds than others are cut to the rounds that all of them hold.
    - ``last``: per fold, its last.
    - ``oracle``: per fold, the best on its test photos. The paper's choice (section V.B, Fig. 8); optimistic, since
      the photos that choose are those that measure.

    validation, test : for each fold, its curve [R]; R may differ between folds. Where validation photos are missing
    their curve is nan.

    Raises
    ------
    ValueError
        Where a fold has no round, or the criterion needs a value that is nan.
    """
    if criterion == "last":
        return [best_round(np.arange(len(curve), dtype=np.float64)) for curve in test]
    if criterion == "oracle":
        return [best_round(curve) for curve in test]
    if criterion == "validation":
        return [best_round(curve) for curve in validation]
    shared = min((len(curve) for curve in validation), default=0)
    mean = np.mean([curve[:shared] for curve in validation], axis=0)
    return [best_round(mean)] * len(validation)
