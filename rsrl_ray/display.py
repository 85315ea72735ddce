"""Who is told what a long call does: one small protocol, which a terminal and a notebook show in their own ways."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

from rsrl_ray.core.trial import TrialKey

Kind = Literal["plain", "note", "warning", "failure", "detail"]
"""Of a line. detail: whoever shows progress as it moves leaves it out."""


@dataclass(frozen=True)
class Row:
    """A trial as it is shown; all but the key is text, empty if nothing is known yet.

    state : waiting, starting, running, done or failed. round : the last one that is done, of how many. score : macro F.
    kept : photos of the last round. left : how much longer the trial takes.
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
        """Something lasts as long as the body; its progress ends with it."""
        ...

    def progress(self, what: str, done: int, total: int, rows: Sequence[Row] = ()) -> None:
        """So many of all steps of a stage, such as "decoding", are done; rows : the trials, if these are the steps."""
        ...

    def said(self, line: str, kind: Kind = "plain") -> None:
        """A line that stays."""
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
