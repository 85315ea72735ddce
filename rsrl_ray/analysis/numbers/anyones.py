"""Comparing anybody's scores of methods in folds, as those of a sweep are compared."""

from collections.abc import Mapping, Sequence

import pandas as pd

from rsrl_ray.analysis.numbers.comparisons import Region, conclude

EXAMPLE = 'give a table with a column a method, such as {"none": [0.5, 0.4], "mine": [0.6, 0.5]}'


def compared(
    scores: pd.DataFrame | Mapping[str, Sequence[float]], baseline: str, ratio: float, region: Region
) -> pd.DataFrame:
    """Every method against the baseline, a row each, see `rsrl_ray.compare`.

    Raises
    ------
    ValueError
        If it is not such a table, a score is missing, or there is nothing to compare.
    """
    table = _table(scores)
    if baseline not in table.columns:
        there = ", ".join(map(str, table.columns))
        raise ValueError(f"baseline {baseline!r}: there is no such method; there are {there}")
    if len(table.columns) == 1:
        raise ValueError(f"scores: there is no method besides the baseline {baseline!r}; {EXAMPLE}")
    if len(table) < 2:
        raise ValueError(f"scores: {len(table)} fold; give two or more, a row each")
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio: {ratio:g}; give photos tested over photos trained on, 1 / (k - 1) for k folds")
    if not region.rope >= 0:
        raise ValueError(f"rope: {region.rope:g}; give 0 or more")
    differences = table.drop(columns=baseline).sub(table[baseline], axis=0)
    by_method = dict(differences.items())
    rows = pd.DataFrame(conclude(by_method, dict.fromkeys(by_method, ratio), region))
    rows.insert(1, "against", baseline)
    rows.insert(list(rows).index("p") + 1, "p_holm", rows.pop("p_holm"))
    return rows


def _table(scores: pd.DataFrame | Mapping[str, Sequence[float]]) -> pd.DataFrame:
    if not isinstance(scores, pd.DataFrame | Mapping):
        raise ValueError(f"scores: {type(scores).__name__}, whose columns have no names; {EXAMPLE}")
    try:
        table = pd.DataFrame(scores).astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"scores: {error}; {EXAMPLE}") from error
    for method in table:
        for fold in table.index[table[method].isna()]:
            raise ValueError(f"scores: {method}, fold {fold}: no number; give the same folds for all methods")
    return table
