"""A small protocol that says what a long call does. A terminal and a notebook show it in their own ways."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

from rsrl_ray.core.trial import TrialKey

Kind = Literal["plain", "note", "warning", "failure", "detail"]
"""The kind of a line. A display with a moving bar leaves out lines of the kind detail."""


@dataclass(frozen=True)
class Row:
    """A trial for display. All fields but the key are text, empty if nothing is known yet.

    state : waiting, starting, running, done or failed. round : the last finished round, and the number of all.
    score : macro F. kept : kept photos of the last round. left : the time that the trial still needs.
    """

    key: TrialKey
    state: str
    round: str
    score: str = ""
    kept: str = ""
    left: str = ""


class Display(Protocol):
    """Shows what a long call does."""

    def started(self, what: str) -> AbstractContextManager[object]:
        """Show ``what`` while the body runs. Its progress ends with the body."""
        ...

    def progress(self, what: str, done: int, total: int, rows: Sequence[Row] = ()) -> None:
        """Show how many steps of ``what``, such as "decoding", are done. rows : the trials of a sweep."""
        ...

    def said(self, line: str, kind: Kind = "plain") -> None:
        """Show a line that stays."""
        ...


class Silent:
    """Shows nothing."""

    def started(self, what: str) -> AbstractContextManager[object]:
        """See `Display`."""
        return nullcontext()

    def progress(self, what: str, done: int, total: int, rows: Sequence[Row] = ()) -> None:
        """See `Display`."""

    def said(self, line: str, kind: Kind = "plain") -> None:
        """See `Display`."""
