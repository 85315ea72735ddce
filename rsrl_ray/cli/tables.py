"""The tables that commands print."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Group
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from rsrl_ray.config import Experiment
from rsrl_ray.core.selection import TEST, VALIDATION
from rsrl_ray.core.statistics import sd
from rsrl_ray.core.trial import STATES, TrialKey, is_complete
from rsrl_ray.inventory import Item
from rsrl_ray.photos.formats import heic_hint
from rsrl_ray.photos.photo_set import Examination
from rsrl_ray.terminal import cell, make_table
from rsrl_ray.tracking.find import Chosen, TrialState

SHOWN = 50  # photos of a long table
PAIRS_SHOWN = 10


def examination(found: Examination, source: str | Path) -> Group:
    """The report of `rsrl check`: histogram of the good photos, notes, every problem."""
    scores, counts = np.unique(found.scores, return_counts=True)
    table = make_table(("score", "photos", "share", ""), left=[""])
    for score, count in zip(scores, counts, strict=True):
        bar = "█" * max(1, round(40 * count / counts.max()))
        table.add_row(str(score), f"{count:,}", f"{count / counts.sum():.1%}", cell(bar, "cyan"))
    lines = [cell(f"note: {note}", "yellow") for note in found.notes]
    lines += [cell(problem, "red") for problem in found.problems]
    if found.problems:
        end = f"{len(found.problems):,} problems. Mend the table, or leave these photos out: rsrl sweep ... --skip_bad"
    else:
        end = f"{len(found.images):,} photos, nothing wrong."
    hint = heic_hint({str(problem.image): problem.message for problem in found.problems})
    lines += [cell(hint, "yellow")] if hint else []
    return Group(cell(source, "bold"), table, *lines, Text(end))


def trials(experiment: Experiment, states: Mapping[TrialKey, TrialState], chosen: Chosen) -> Table:
    """The table of `rsrl show`: every trial of the file, at its last round, and at the chosen one."""
    columns = ("fold", "method", "state", "round", "macro F (test)", "kept", "best macro F (test)")
    table = make_table(columns, left=["method", "state"], title=cell(experiment.name))
    for key in experiment.trials():
        state = states.get(key)
        cells = ["waiting"] if state is None else _cells(state, experiment.rounds, chosen)
        table.add_row(str(key.fold), cell(key.method), *cells)
    return table


def methods(experiment: Experiment, states: Mapping[TrialKey, TrialState], chosen: Chosen) -> Table:
    """Every method of the file over its folds: macro F on test photos at the best round, mean and sd (ddof 1).

    One that lacks rounds or folds is marked: its mean cannot be compared with others.
    """
    columns = ("method", "folds", "finished", "macro F (test)", "sd")
    table = make_table(columns, left=["method"], title="Mean over the folds, each at its best round")
    folds = experiment.fold_numbers()
    rounds = {key: state.run.rounds for key, state in states.items()}
    for name in experiment.method_names():
        own = {key: number for key, number in chosen.rounds.items() if key.method == name}
        values = np.array([states[key].curves[TEST][number - 1] for key, number in own.items()])
        finished = sum(states[key].run.status == "FINISHED" for key in own)
        so_far = "" if is_complete(name, folds, rounds, experiment.rounds) else " so far"
        mean = f"{values.mean():.3f}{so_far}" if len(own) else ""
        spread = f"{sd(values):.3f}" if len(own) > 1 else ""
        table.add_row(cell(name), f"{len(own)}/{len(folds)}", str(finished), mean, spread)
    return table


def _cells(state: TrialState, rounds: int, chosen: Chosen) -> list[str]:
    name = STATES[state.run.status]
    last, test = state.run.rounds, state.curves[TEST]
    if not last:
        return [name, f"0/{rounds}"]
    curve, best = state.curves[VALIDATION if chosen.split == "validation" else TEST], chosen.rounds[state.run.key]
    return [
        name,
        f"{last}/{rounds}",
        f"{curve[last - 1]:.3f} ({test[last - 1]:.3f})",
        f"{state.curves['train_size'][last - 1]:,.0f}",
        f"round {best}: {curve[best - 1]:.3f} ({test[best - 1]:.3f})",
    ]


def highlights(rows: pd.DataFrame) -> Table:
    """The maps of `rsrl highlight`; correlations are so near 1 that their distance from it is shown."""
    columns = ("photo", "fold", "method", "rounds", "J", "1 - correlation", "agreement", "edges", "remark")
    table = make_table(columns, left=["photo", "method", "rounds", "remark"])
    for row in rows.to_dict("records"):
        numbers = (f"{row['J']:.0f}", f"{1 - row['correlation']:.2e}") if pd.notna(row["correlation"]) else ("", "")
        ranks = (f"{row[name]:.2f}" if pd.notna(row[name]) else "" for name in ("agreement", "edges"))
        place = (str(row["photo"]), str(row["fold"]), str(row["method"]), f"{row['round']} - {row['against']}")
        table.add_row(*map(cell, place), *numbers, *ranks, cell(row["reason"]))
    return table


def near_duplicates(pairs: pd.DataFrame) -> Group:
    """The first of the pairs that `rsrl check` finds; pairs : see `rsrl_ray.leaks.NearDuplicates.pairs`."""
    columns = ("cosine", "photo", "score", "fold", "nearly the same", "score", "fold")
    shown = make_table(columns, left=["photo", "nearly the same"])
    for row in pairs.head(PAIRS_SHOWN).itertuples():
        other = (cell(row.other), str(row.other_score), str(row.other_fold))
        shown.add_row(f"{row.cosine:.3f}", cell(row.image), str(row.score), str(row.fold), *other)
    left = len(pairs) - PAIRS_SHOWN
    return Group(shown, *([Text(f"and {left:,} more")] if left > 0 else []))


def scores(table: pd.DataFrame) -> Group:
    """The table of `rsrl score`: the first `SHOWN` photos, then those with an error among the others."""
    shown = make_table(("photo", "score", "probability", "error"), left=["photo", "error"])
    first, others = table.head(SHOWN), table.iloc[SHOWN:]
    bad = others[others["error"].notna()]
    for row in pd.concat([first, bad.head(SHOWN)]).to_dict("records"):
        score = row["score"]
        numbers = ("", "") if row["error"] else (str(score), f"{row[f'probability_{score}']:.3f}")
        shown.add_row(cell(row["photo"]), *numbers, cell(row["error"] or ""))
    left = len(others) - len(bad.head(SHOWN))
    return Group(shown, *([Text(f"and {left:,} more")] if left else []))


def items(found: Sequence[Item]) -> Table:
    """The table of `rsrl prune`; what nobody needs is yellow."""
    table, now = make_table(("", "", "size", "age", "needed by"), left=["", "needed by"]), time.time()
    for item in found:
        style = "yellow" if item.is_free else ""
        table.add_row(item.kind, cell(item.what), decimal(item.size), _age(now - item.time), cell(item.who, style))
    return table


def _age(seconds: float) -> str:
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            many = int(seconds // length)
            return f"{many:,} {unit}{'s' if many > 1 else ''}"
    return "now"
