"""A long call at the terminal. What comes from data is never markup: it is shown as it is, see `cell`."""

import contextlib
import shlex
import unicodedata
from collections.abc import Collection, Iterator, Sequence

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from rsrl_ray.display import Kind, Row
from rsrl_ray.store.location import redacted


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
