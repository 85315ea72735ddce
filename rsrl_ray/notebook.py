"""A notebook shows what a long call does: one line with a bar, which changes as it goes on, and lines below it."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from importlib import import_module
from typing import Any

from rsrl_ray.display import Kind, Row
from rsrl_ray.store.location import redacted

LINE_COLOURS = {"warning": "#b26b00", "failure": "#c00000"}


def in_notebook() -> bool:
    """Whether this process runs the cells of a notebook."""
    shell = sys.modules.get("IPython")
    return shell is not None and hasattr(shell.get_ipython(), "kernel")


class Notebook:
    """A `rsrl_ray.display.Display` whose output is that of the cell."""

    def __init__(self) -> None:
        self._line: Any = None

    @contextmanager
    def started(self, what: str) -> Iterator[None]:
        """See `rsrl_ray.display.Display`; the line goes when the body ends, that of the trials stays."""
        outer, self._line = self._line, _display(_bar(what))
        self._stays = False
        try:
            yield
        finally:
            if not self._stays:
                self._line.update(_both("", ""), raw=True)
            self._line, self._stays = outer, False

    def progress(self, what: str, done: int, total: int, rows: Sequence[Row] = ()) -> None:
        """See `rsrl_ray.display.Display`."""
        if self._line is not None:
            self._stays = bool(rows)
            running = ", ".join(f"{row.key} {row.round} {row.score}".strip() for row in rows if row.state == "running")
            self._line.update(_bar(what, done, total, running), raw=True)

    def said(self, line: str, kind: Kind = "plain") -> None:
        """See `rsrl_ray.display.Display`; a detail is in the bar."""
        if kind != "detail":
            text = redacted(f"note: {line}" if kind == "note" else line)
            colour = LINE_COLOURS.get(kind)
            style = f' style="color: {colour}"' if colour else ""
            _display(_both(text, f"<div{style}>{escape(text)}</div>"))


def _bar(what: str, done: int = 0, total: int = 0, more: str = "") -> dict[str, str]:
    value = f' value="{done}" max="{total}"' if total else ""
    count = f"{done:,}/{total:,} " if total else ""
    words = f"{what} {count}{more}".strip()
    return _both(words, f"<div><progress{value}></progress> {escape(words)}</div>")


def _both(text: str, html: str) -> dict[str, str]:
    """Text, and the same as HTML, by kind."""
    return {"text/plain": text, "text/html": html}


def _display(shown: dict[str, str]) -> Any:
    return import_module("IPython.display").display(shown, raw=True, display_id=True)
