"""What the method computes from the tables of a trial's rounds alone."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray import config
from rsrl_ray.core.arrays import MaskOrWeights, mask_of
from rsrl_ray.core.revision import revise
from rsrl_ray.core.rules.rule import Rule
from rsrl_ray.rounds.loop import seen_after
from rsrl_ray.rounds.table import logits


def next_kept(
    tables: Sequence[pd.DataFrame], rule: Rule, settings: config.Revision, seed: int, fold: int
) -> NDArray[np.bool_]:
    """The kept mask of the next round, [N] bool, computed from the tables of rounds 1, 2, ... of a trial alone."""
    return mask_of(next_trained_on(tables, rule, settings, seed, fold))


def next_trained_on(
    tables: Sequence[pd.DataFrame], rule: Rule, settings: config.Revision, seed: int, fold: int
) -> MaskOrWeights:
    """The kept mask of the next round, or its weights, [N]."""
    table = tables[-1]
    _, labels = np.unique(table["score"], return_inverse=True)
    train = (table["split"] == "train").to_numpy()
    before = table["kept"].to_numpy(dtype=bool, na_value=False)
    found = [logits(each)[train] for each in tables[-rule.looks_back :]]
    seen = replace(seen_after(len(tables), found, before[train], labels[train], settings), stream=(seed, fold))
    if rule.recalls:
        seen = replace(seen, before=[seen.confidence_in(logits(each)[train]) for each in tables[:-1]])
    revision = revise(rule, seen)
    found = revision.kept if revision.weights is None else revision.weights
    chosen = np.zeros(len(table), dtype=found.dtype)
    chosen[train] = found
    return chosen
