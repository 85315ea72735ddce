"""Applies a rule to logits that a user has."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsrl_ray.core.arrays import Mask
from rsrl_ray.core.revision import revise
from rsrl_ray.core.rules.rule import Rule
from rsrl_ray.parts import as_rule
from rsrl_ray.rounds.loop import Plan, seen_after


def kept_by(
    rule: Rule | Mapping[str, Any], logits: ArrayLike, labels: ArrayLike, features: ArrayLike | None, plan: Plan
) -> Mask:
    """Which photos the rule keeps, [n], if all photos have been kept so far; see `rsrl_ray.revise`.

    Raises
    ------
    ValueError
        If the arrays do not fit each other, or the rule needs more rounds.
    """
    rounds, classes, settings = _rounds(logits), np.asarray(labels), plan.revision
    rule = as_rule(rule, settings.majority_classes)
    count, many = rounds.shape[1:]
    if classes.shape != (count,) or classes.dtype.kind not in "iu" or not ((classes >= 0) & (classes < many)).all():
        raise ValueError(
            f"labels: give {count} class indices from 0 to {many - 1}; for scores these are "
            "np.unique(scores, return_inverse=True)[1]"
        )
    if not 1 <= settings.majority_classes <= many:
        raise ValueError(f"majority_classes: {settings.majority_classes} of {many} classes; give 1 to {many}")
    found = classes.astype(np.int64)
    seen = seen_after(len(rounds), list(rounds[-rule.looks_back :]), np.ones(count, dtype=bool), found, settings)
    before = tuple(seen.confidence_in(each) for each in rounds[:-1])
    seen = replace(seen, stream=(plan.seed, 0), before=before)
    if features is not None:
        seen = replace(seen, features_of=partial(_features, features, count))
    return revise(rule, seen).kept


def _features(features: ArrayLike, count: int) -> NDArray[np.float32]:
    found = np.asarray(features, dtype=np.float32)
    if found.ndim != 2 or len(found) != count:
        raise ValueError(f"features: {list(found.shape)}; give numbers, [{count}, D]")
    return found


def _rounds(logits: ArrayLike) -> NDArray[np.float32]:
    """The logits as [R, n, C]."""
    found = np.asarray(logits, dtype=np.float32)
    found = found[None] if found.ndim == 2 else found
    if found.ndim != 3 or not found.size or not np.isfinite(found).all():
        raise ValueError(f"logits: {list(found.shape)}; give finite numbers, [n, C], or [R, n, C] for several networks")
    return found
