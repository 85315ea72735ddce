"""Everything that can be wrong with rows, each with its exact message, and what is left without them."""

import pickle
import time
from dataclasses import replace
from typing import Any

import numpy as np

from rsrl_ray.photos.checks import PhotoProblems, judge
from rsrl_ray.photos.readers import Problem
from rsrl_ray.photos.table import Table

GOOD = [("2a", 2), ("2b", 2), ("3a", 3), ("3b", 3), ("4a", 4), ("4b", 4)]  # lines 2 to 7


def table_of(rows: Any, *, lines: bool = True) -> Any:
    """rows : (name, score); None is a score that is no integer."""
    names = tuple(name for name, _ in rows)
    faults = {row: "the score is empty" for row, (_, score) in enumerate(rows) if score is None}
    scores = np.array([score or 0 for _, score in rows], dtype=np.int64)
    where = np.arange(2, 2 + len(rows)) if lines else None
    texts, sources = [str(score) for _, score in rows], tuple(f"/{name}" if name else "" for name in names)
    return Table(images=names, texts=texts, lines=where, sources=sources, scores=scores, faults=faults, root="/")


def judged(rows: Any, content: Any = (), causes: Any = (), **options: Any) -> Any:
    """content : row -> another row that has the same bytes."""
    digests = np.zeros((len(rows), 16), dtype=np.uint8)
    digests[:, :4] = np.arange(1, 1 + len(rows), dtype=np.uint32)[:, None].view(np.uint8)
    for row, other in dict(content).items():
        digests[row] = digests[other]
    table = table_of(rows, **options)
    for row, name in enumerate(table.images):
        if name and name in table.images[:row]:
            digests[row] = digests[table.images.index(name)]
    verdict = judge(table, digests, dict(causes))
    return (
        verdict.rows.tolist(),
        [str(problem) for problem in verdict.problems],
        list(verdict.notes),
        verdict.enough,
    )


def test_nothing_wrong() -> None:
    assert judged(GOOD) == ([0, 1, 2, 3, 4, 5], [], [], True)


def test_all_problems_at_once_sorted_by_line() -> None:
    rows = [*GOOD, ("x", None), ("3a", 3), ("y", 9)]
    assert judged(rows, causes={6: "zero bytes", 1: "missing"}) == (
        [2, 3, 4, 5],
        [
            "line 2, 2a: the only photo with the score 2 that is left of 2",
            "line 3, 2b: missing",
            "line 8, x: the score is empty",
            "line 8, x: zero bytes",
            "line 9, 3a: the same path as line 4",
            "line 10, y: the only photo with the score 9",
        ],
        [],
        True,
    )


def test_same_path_with_one_score_keeps_the_first() -> None:
    rows, problems, notes, enough = judged([*GOOD, ("2a", 2), ("2a", 2)])
    assert rows == [0, 1, 2, 3, 4, 5] and notes == [] and enough
    assert problems == ["line 8, 2a: the same path as line 2", "line 9, 2a: the same path as line 2"]


def test_same_path_with_two_scores_keeps_none() -> None:
    rows, problems, _, _ = judged([*GOOD, ("2c", 2), ("2a", 2), ("2a", 3)])
    assert rows == [1, 2, 3, 4, 5, 6]
    assert problems == [
        "line 2, 2a: the same path as line 10, with the score 3 there and 2 here",
        "line 9, 2a: the same path as line 10, with the score 3 there and 2 here",
        "line 10, 2a: the same path as line 2, with the score 2 there and 3 here",
    ]


def test_same_path_where_one_has_no_score_keeps_the_other() -> None:
    rows, problems, _, _ = judged([("2a", None), *GOOD])
    assert rows == [1, 2, 3, 4, 5, 6]
    assert problems == ["line 2, 2a: the score is empty", "line 2, 2a: the same path as line 3"]


def test_same_bytes_with_two_scores_keeps_none() -> None:
    rows, problems, notes, _ = judged([*GOOD, ("2c", 2), ("x", 3)], content={7: 0})
    assert rows == [1, 2, 3, 4, 5, 6] and notes == []
    assert problems == [
        "line 2, 2a: the same bytes as line 9 (x), with the score 3 there and 2 here",
        "line 9, x: the same bytes as line 2 (2a), with the score 2 there and 3 here",
    ]


def test_same_bytes_with_one_score_is_a_note() -> None:
    rows, problems, notes, _ = judged([*GOOD, ("x", 2)], content={6: 0})
    assert rows == [0, 1, 2, 3, 4, 5, 6] and problems == []
    assert notes == ["line 8, x: the same bytes as line 2 (2a), with the same score"]


def test_same_bytes_in_a_folder_name_the_picture() -> None:
    _, problems, _, _ = judged([*GOOD, ("2c", 2), ("3c", 3)], content={7: 0}, lines=False)
    assert problems == [
        "2a: the same bytes as 3c, with the score 3 there and 2 here",
        "3c: the same bytes as 2a, with the score 2 there and 3 here",
    ]


def test_rows_without_a_name_are_not_one_path() -> None:
    rows, problems, _, _ = judged([*GOOD, ("", 2), ("", 2)], causes={6: "no image is named", 7: "no image is named"})
    assert rows == [0, 1, 2, 3, 4, 5]
    assert problems == ["line 8: no image is named", "line 9: no image is named"]


def test_no_good_photo_at_all() -> None:
    rows, problems, _, enough = judged([("a", 2)], causes={0: "zero bytes"})
    assert (rows, enough) == ([], False)
    assert problems == [
        "line 2, a: zero bytes",
        "fewer than two scores have two good photos or more; these have: none",
    ]


def test_two_classes_are_enough_and_one_is_not() -> None:
    assert judged(GOOD[:4]) == ([0, 1, 2, 3], [], [], True)
    rows, problems, _, enough = judged(GOOD[:3])
    assert (rows, enough) == ([0, 1], False)
    assert problems == [
        "line 4, 3a: the only photo with the score 3",
        "fewer than two scores have two good photos or more; these have: 2",
    ]


def test_rows_that_could_not_be_read_take_their_place() -> None:
    good = table_of([*GOOD, ("x", None)])
    broken = Problem(5, None, "not an index")
    table = replace(good, problems=(broken,))
    digests = np.arange(7, dtype=np.uint8).repeat(16).reshape(7, 16)
    assert [problem.line for problem in judge(table, digests, {}).problems] == [5, 8]


def test_the_report_says_what_to_do() -> None:
    problems = (Problem(2, "a", "zero bytes"), Problem(3, "b", "missing"))
    text = "p.csv: 2 problems\n  line 2, a: zero bytes\n  line 3, b: missing\nCorrect the photos or their table"
    error = PhotoProblems("p.csv", problems, skippable=True)
    assert str(error) == f"{text}, or leave these photos out with --skip_bad."
    assert str(PhotoProblems("p.csv", problems, skippable=False)) == f"{text}."
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) and copy.problems == problems


def test_a_large_table_with_the_worst_of_repetition_is_judged_in_seconds() -> None:
    count = 100_000
    for rows in (
        [(f"{row}", row) for row in range(count)],  # every score once
        [("a", 2)] * (count - 1) + [("a", 3)],  # one path
    ):
        started = time.process_time()
        assert len(judge(table_of(rows), np.zeros((count, 16), np.uint8), {}).problems) >= count
        assert time.process_time() - started < 10
