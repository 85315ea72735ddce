"""Says in a sentence how many highlight maps differ from both their control and the photo's edges."""

import pandas as pd

from rsrl_ray.core.highlight import ALIKE

MEANING = f"alike: a rank correlation of {ALIKE} or more either way"


def verdict(rows: pd.DataFrame) -> str:
    """How many maps differ from both control and edges. rows : with the columns of ``highlights.csv``."""
    made, judged = rows[rows["map"] != ""], rows["differs"].notna()
    if not len(made):
        return "no highlight map was made"
    if not judged.any():
        like = int((made["edges"].abs() >= ALIKE).sum())
        return f"{like} of {len(made)} maps are like the photo's edges; none has a control to differ from ({MEANING})"
    count = int(rows.loc[judged, "differs"].sum())
    return f"{count} of {int(judged.sum())} maps differ from both their control and the photo's edges ({MEANING})"


def random_words(rows: pd.DataFrame) -> str:
    """How similar the maps of random weights are to edges and highlight maps; "" if there are none."""
    known = rows[rows["random"].notna()]
    if not len(known):
        return ""
    edges, maps = (known[name].abs() for name in ("random_edges", "random"))
    return (
        f"of {len(known)} maps of random weights, which have learnt nothing, {int((edges >= ALIKE).sum())} are like "
        f"the edges (mean size of the rank correlation {edges.mean():.2f}) and {int((maps >= ALIKE).sum())} like the "
        f"highlight map ({maps.mean():.2f})"
    )
