"""The best method that is trained beside the best one whose last layer is solved: the plain solution to beat."""

import math
from collections.abc import Mapping
from dataclasses import replace

from rsrl_ray.analysis.numbers.comparisons import Terms, compare_by
from rsrl_ray.analysis.numbers.measures import FrameRow
from rsrl_ray.analysis.numbers.verdicts import much, verdict
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.core.compared import COMPARED


def compare_with_solved(sweep: Sweep, asked: Terms, means: Mapping[str, float]) -> FrameRow | None:
    """The row of the best method that is trained, against the best one that is solved, as in ``comparisons``.

    By the leading measure, after equally many rounds, p after Holm over all methods that are trained. None if there is
    no method of one kind that has all rounds and folds, or if there are fewer than two folds.

    means : of the leading measure on the test photos, by method. asked : its baseline does not count.
    """
    order = sorted(means, key=lambda name: means[name], reverse=not COMPARED[sweep.measure].is_error)
    whole = [name for name in order if name not in sweep.incomplete and not math.isnan(means[name])]
    solved, trained = ([name for name in whole if (name in sweep.solved) == wanted] for wanted in (True, False))
    if not solved or not trained:
        return None
    both = replace(sweep, methods=(*trained, solved[0]))
    rows = compare_by(both, replace(asked, baseline=solved[0]), sweep.measure)
    row = next(row for row in rows if row["method"] == trained[0])
    return None if math.isnan(row["p"]) else row


def against_solved(row: FrameRow | None) -> str:
    """The sentence of this row; "" for None."""
    if row is None:
        return ""
    measure = COMPARED[row["measure"]]
    return (
        f"{row['method']}, the best of the methods that are trained, is {verdict(row, measure.is_error)} "
        f"{row['against']}, whose last layer is solved (learn): {much(row)} in {measure.words}."
    )
