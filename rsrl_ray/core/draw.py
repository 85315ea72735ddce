"""The settings by which photos are dealt to folds."""

from dataclasses import dataclass
from typing import Literal

FoldKind = Literal["stratified", "random"]

DEALING = 2  # part of a sweep's identity: count it up if the same photos in the same groups get other folds


@dataclass(frozen=True)
class Draw:
    """Photos are dealt ``repeats`` times to ``count`` folds.

    kind : stratified (by class) or random. validation : share of a fold's other photos that is held out, 0 to 0.5.
    seed : of the draw, 0 or more.
    """

    count: int
    kind: FoldKind
    validation: float
    seed: int
    repeats: int = 1
