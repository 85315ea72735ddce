"""Finds the good photos of a table, and everything that is wrong with the others."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.photos.formats import heic_hint
from rsrl_ray.photos.readers import Problem
from rsrl_ray.photos.table import Table

_FEWEST_CLASSES = 2  # with one class there is nothing to learn


class PhotoProblems(ValueError):
    """A table of photos has problems. The message is the whole report, with one line for each problem.

    problems : sorted by line. skippable : whether enough photos are left to train on if these are left out.
    """

    def __init__(self, source: str, problems: tuple[Problem, ...], skippable: bool) -> None:
        super().__init__(source, problems, skippable)
        self.source, self.problems, self.skippable = source, problems, skippable

    def __str__(self) -> str:
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems):,} problems"
        listed = "\n".join(f"  {problem}" for problem in self.problems)
        way_out = ", or leave these photos out with --skip_bad" if self.skippable else ""
        hint = heic_hint({str(problem.image): problem.message for problem in self.problems})
        lines = [f"{self.source}: {count}", listed, f"Correct the photos or their table{way_out}."]
        return "\n".join([*lines, hint] if hint else lines)


@dataclass(frozen=True)
class Verdict:
    """The result of the checks of a table.

    rows : the photos without a problem, ascending. problems : sorted by line; each other row has one or more.
    notes : what is unusual, but allowed. enough : whether ``rows`` has two classes of two photos or more.
    """

    rows: NDArray[np.int64]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    enough: bool


def judge(table: Table, digests: NDArray[np.uint8], causes: Mapping[int, str]) -> Verdict:
    """Find everything that is wrong with a table's photos, and the photos that are left.

    If a path stands in the table twice with one score, its first row is kept. If two paths have the same bytes and one
    score, all of them are kept. If the scores differ, none is kept. If one photo of a class is left, it is not kept.

    digests : [N, 16], of each picture's bytes. causes : row -> why its picture cannot be read or decoded.
    """
    found: dict[int, list[str]] = defaultdict(list)
    for messages in (table.faults, causes):
        for row, message in messages.items():
            found[row].append(message)
    _same_path(table, found)
    notes = _same_bytes(table, digests, found)
    classes = _lonely(table, found)
    problems = [table.problem(row, message) for row in sorted(found) for message in found[row]]
    problems = sorted([*problems, *table.problems], key=lambda problem: problem.line or 0)
    if len(classes) < _FEWEST_CLASSES:
        names = ", ".join(str(score) for score in classes) or "none"
        problems.append(Problem(None, None, f"fewer than two scores have two good photos or more; these have: {names}"))
    rows = np.array([row for row in range(len(table.images)) if row not in found], dtype=np.int64)
    return Verdict(rows, tuple(problems), (*table.notes, *notes), len(classes) >= _FEWEST_CLASSES)


def _same_path(table: Table, found: dict[int, list[str]]) -> None:
    for rows in _repeated((row, source) for row, source in enumerate(table.sources) if source):
        scored = [row for row in rows if row not in table.faults]
        clashing = _clashing(table, scored)
        for row, other in clashing.items():
            found[row].append(f"the same path as {table.where(other)}{_both_scores(table, row, other)}")
        kept = (scored or rows)[0]
        for row in rows:
            if row != kept and row not in clashing:
                found[row].append(f"the same path as {table.where(kept)}")


def _same_bytes(table: Table, digests: NDArray[np.uint8], found: dict[int, list[str]]) -> list[str]:
    """Find photos with the same bytes among those that have no problem so far; what is unusual, but allowed."""
    notes = []
    good = [row for row in range(len(table.images)) if row not in found]
    for rows in _repeated((row, digests[row].tobytes()) for row in good):
        clashing = _clashing(table, rows)
        for row, other in clashing.items():
            twin = _twin(table, other)
            found[row].append(f"the same bytes as {twin}{_both_scores(table, row, other)}")
        if not clashing:
            twin = _twin(table, rows[0])
            message = f"the same bytes as {twin}, with the same score"
            notes += [str(table.problem(row, message)) for row in rows[1:]]
    return notes


def _lonely(table: Table, found: dict[int, list[str]]) -> list[int]:
    """Find classes with one photo; returns the other scores."""
    every = np.array([row for row in range(len(table.images)) if row not in table.faults], dtype=np.int64)
    left = np.array([row for row in every if row not in found], dtype=np.int64)
    scores, first, counts = np.unique(table.scores[left], return_index=True, return_counts=True)
    totals = dict(zip(*np.unique(table.scores[every], return_counts=True), strict=True))
    for score, place in zip(scores[counts == 1], first[counts == 1], strict=True):
        of = totals[score]
        rest = f" that is left of {of}" if of > 1 else ""
        found[int(left[place])].append(f"the only photo with the score {score}{rest}")
    return [int(score) for score in scores[counts > 1]]


def _repeated(keys: Iterable[tuple[int, Hashable]]) -> list[list[int]]:
    """The rows of each key that more than one row has."""
    rows: dict[Hashable, list[int]] = defaultdict(list)
    for row, key in keys:
        rows[key].append(row)
    return [those for those in rows.values() if len(those) > 1]


def _clashing(table: Table, rows: list[int]) -> dict[int, int]:
    """Each row and a row with another score; empty if all have one score."""
    scores = table.scores
    other = next((row for row in rows if scores[row] != scores[rows[0]]), None)
    if other is None:
        return {}
    return {row: other if scores[row] == scores[rows[0]] else rows[0] for row in rows}


def _both_scores(table: Table, row: int, other: int) -> str:
    return f", with the score {table.scores[other]} there and {table.scores[row]} here"


def _twin(table: Table, row: int) -> str:
    """The line and the name of another row, for a message."""
    image = table.images[row]
    return image if table.lines is None else f"{table.where(row)} ({image})"
