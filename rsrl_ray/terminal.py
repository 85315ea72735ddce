"""What commands show at the terminal. What comes from data is never markup: it is shown as it is, see `cell`."""

import contextlib
import shlex
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from rsrl_ray.config import Experiment
from rsrl_ray.core.selection import TEST, VALIDATION
from rsrl_ray.core.statistics import sd
from rsrl_ray.core.trial import STATES, TrialKey, is_complete
from rsrl_ray.display import Kind, Row
from rsrl_ray.photos.formats import heic_hint
from rsrl_ray.photos.photo_set import Examination
from rsrl_ray.store.location import redacted

if TYPE_CHECKING:  # a worker has no use for mlflow
    from rsrl_ray.tracking.find import Chosen, TrialState

SHOWN = 50  # photos of a long table


def make_console() -> Console:
    """The console of a command: text is text, and no brackets or colons in it mean anything."""
    return Console(markup=False, emoji=False, highlight=False)


def visible(text: str) -> str:
    """The text with control characters and bytes that are no UTF-8 as escapes, so that a terminal shows them."""
    return "".join(
        mark.encode("unicode_escape").decode() if unicodedata.category(mark) in ("Cc", "Cs") and mark != "\n" else mark
        for mark in text
    )


def pasted(word: object) -> str:
    """The word as a shell takes it from a command that is printed; control characters as bash and zsh spell them."""
    text = str(word)
    if text.isprintable():
        return shlex.quote(text)
    marks = (f"\\{mark}" if mark in "\\'" else mark if mark.isprintable() else f"\\u{ord(mark):04x}" for mark in text)
    return f"$'{''.join(marks)}'"


def cell(text: object, style: str = "") -> Text:
    """A piece of text as it is, less the passwords in its URIs, in a style of rich."""
    return Text(visible(redacted(str(text))), style)


STYLES = {"plain": "", "note": "", "warning": "yellow", "failure": "bold red", "detail": ""}
TRIAL_STYLES = {
    "running": "bold green",
    "done": "green",
    "failed": "bold red",
    "waiting": "dim",
    "starting": "yellow",
}


class Terminal:
    """A `rsrl_ray.display.Display` at the terminal: a spinner, bars or a table of trials, and lines above them.

    If there is no terminal, only lines, those in detail too.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = make_console() if console is None else console
        self._live: Live | None = None
        self._bars: Progress | None = None
        self._stages: dict[str, TaskID] = {}

    @contextlib.contextmanager
    def started(self, what: str) -> Iterator[None]:
        """See `rsrl_ray.display.Display`; bars leave no trace, the last table of trials stays."""
        if not self.console.is_terminal or self._live is not None:
            yield
            return
        self._show(Live(Spinner("dots", what), console=self.console, transient=True, refresh_per_second=12.5))
        try:
            yield
        finally:
            self._show(None)
            self._bars, self._stages = None, {}

    def progress(self, what: str, done: int, total: int, rows: Sequence[Row] = ()) -> None:
        """See `rsrl_ray.display.Display`."""
        if self._live is None:
            return
        if rows:
            table = trial_table(rows, self.console.height)
            if self._live.auto_refresh:  # a table moves only as often as it is told
                self._show(Live(table, console=self.console, auto_refresh=False))
            self._live.update(table, refresh=True)
            return
        if self._bars is None:
            self._bars = Progress(*BAR, console=self.console)
            self._live.update(self._bars)
        if what not in self._stages:
            self._stages[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._stages[what], completed=done)

    def _show(self, live: Live | None) -> None:
        if self._live is not None:
            self._live.stop()
        self._live = live
        if live is not None:
            live.start()

    def said(self, line: str, kind: Kind = "plain") -> None:
        """See `rsrl_ray.display.Display`."""
        if kind == "detail" and self.console.is_terminal:
            return
        note = [cell("note: ", "yellow")] if kind == "note" else []
        self.show(Text.assemble(*note, cell(line, STYLES[kind])))

    def show(self, what: RenderableType) -> None:
        """Anything that rich prints; lines are not broken, so that paths and commands in them can be copied."""
        self.console.print(what, highlight=False, soft_wrap=self._live is None)


BAR = (
    TextColumn("{task.description} photos", markup=False),
    BarColumn(),
    MofNCompleteColumn(),
    TimeRemainingColumn(),
)


def make_table(columns: Sequence[str], left: Collection[str], title: str | Text | None = None) -> Table:
    """A table without lines: words on the ``left`` of their columns, which may be broken, numbers on the right."""
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for column in columns:
        is_left = column in left
        table.add_column(column, justify="left" if is_left else "right", no_wrap=not is_left, overflow="fold")
    return table


def trial_table(rows: Sequence[Row], height: int) -> Table:
    """The trials of a sweep while it runs; of more than fit, those that run come first, the others are counted."""
    columns = ("fold", "method", "state", "round", "macro F", "kept photos", "time left")
    table = make_table(columns, left=["method", "state"])
    room = max(height - 6, 5)
    if len(rows) > room:
        rows = sorted(rows, key=lambda row: list(TRIAL_STYLES).index(row.state))
    for row in rows[:room]:
        state = cell(row.state, TRIAL_STYLES[row.state])
        table.add_row(str(row.key.fold), cell(row.key.method), state, row.round, row.score, row.kept, row.left)
    if len(rows) > room:
        table.add_row("", cell(f"and {len(rows) - room} more", "dim"))
    return table


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


def trials(experiment: Experiment, states: "Mapping[TrialKey, TrialState]", chosen: "Chosen") -> Table:
    """The table of `rsrl show`: every trial of the file, at its last round, and at the chosen one."""
    columns = ("fold", "method", "state", "round", "macro F (test)", "kept", "best macro F (test)")
    table = make_table(columns, left=["method", "state"], title=cell(experiment.name))
    for key in experiment.trials():
        state = states.get(key)
        cells = ["waiting"] if state is None else _cells(state, experiment.rounds, chosen)
        table.add_row(str(key.fold), cell(key.method), *cells)
    return table


def methods(experiment: Experiment, states: "Mapping[TrialKey, TrialState]", chosen: "Chosen") -> Table:
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


def _cells(state: "TrialState", rounds: int, chosen: "Chosen") -> list[str]:
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
