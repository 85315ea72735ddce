"""Choosing the round whose network is used."""

from collections.abc import Container, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rule = Literal["validation", "validation_mean", "last", "oracle"]
RULES: tuple[Rule, ...] = ("validation", "validation_mean", "last", "oracle")
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


def choose_rounds(rule: Rule, validation: Sequence[Curve], test: Sequence[Curve]) -> list[int]:
    """The round that ``rule`` chooses in each fold.

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
        Where a fold has no round, or the rule needs a value that is nan.
    """
    if rule == "last":
        return [best_round(np.arange(len(curve), dtype=np.float64)) for curve in test]
    if rule == "oracle":
        return [best_round(curve) for curve in test]
    if rule == "validation":
        return [best_round(curve) for curve in validation]
    shared = min((len(curve) for curve in validation), default=0)
    mean = np.mean([curve[:shared] for curve in validation], axis=0)
    return [best_round(mean)] * len(validation)
