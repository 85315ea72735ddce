"""How photos are dealt to folds, as a value."""

from dataclasses import dataclass
from typing import Literal

FoldKind = Literal["stratified", "random"]

DEALING = 2  # counted up where the same photos in the same groups come into other folds; part of a sweep's identity


@dataclass(frozen=True)
class Draw:
    """How photos are dealt: ``repeats`` times to ``count`` folds, with a share of the rest held out for validation."""

    count: int
    kind: FoldKind
    validation: float
    seed: int
    repeats: int = 1
