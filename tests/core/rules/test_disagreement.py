"""Several rounds prefer another class, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from core.rules.judged import dropped, judged

from rsrl_ray.core.rules.disagreement import Disagreement
from rsrl_ray.core.rules.rule import KEEPS

LABELS = [0, 0, 0, 1, 2]
MAJORITY = np.array([0, 1])
# The softmax of three rounds.
FIRST = [[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1], [0.9, 0.05, 0.05]]
SECOND = [[0.1, 0.8, 0.1], [0.2, 0.6, 0.2], [0.5, 0.4, 0.1], [0.3, 0.65, 0.05], [0.9, 0.05, 0.05]]
THIRD = [[0.85, 0.1, 0.05], [0.3, 0.4, 0.3], [0.5, 0.4, 0.1], [0.3, 0.65, 0.05], [0.9, 0.05, 0.05]]
ROUNDS = [np.log(each) for each in (FIRST, SECOND, THIRD)]


@pytest.mark.parametrize(
    ("k", "rounds", "expected"),
    [
        (1, 1, [0, 2, 3]),
        (1, 2, [0, 1]),
        (1, 3, [1]),
        (2, 2, [0, 2]),  # means of photo 1: 0.5, 0.35; of photo 2: 0.3, 0.25, 0.45; of photo 3: 0.45, 0.475
        (2, 3, [1]),  # of photo 0: 0.475, 0.45; of photo 1: 0.25, 0.5
        (3, 3, [0]),  # of photo 0: 0.35, 0.57; of photo 1: 0.43, 0.37; of photo 2: 0.37, 0.3, 0.33
        (9, 3, [0]),  # where there are fewer rounds, all count
    ],
)
def test_the_mean_of_the_last_rounds_decides(k: int, rounds: int, expected: list[int]) -> None:
    assert dropped(Disagreement(k), judged(LABELS, *ROUNDS[:rounds], majority=MAJORITY)) == expected


def test_the_mean_is_of_softmax_whatever_the_shift_of_a_photos_logits() -> None:
    moved = [logits + shift for logits, shift in zip(ROUNDS, (0.0, 50.0, -3.0), strict=True)]
    assert dropped(Disagreement(3), judged(LABELS, *moved, majority=MAJORITY)) == [0]


def test_a_class_that_is_as_likely_is_not_preferred() -> None:
    seen = judged([0, 1, 1], [[1.0, 1.0], [1.0, 1.0], [1.5, 1.0]], majority=MAJORITY)
    assert dropped(Disagreement(1), seen) == [2]
    turned = judged([0, 1], [[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]], majority=MAJORITY)
    assert dropped(Disagreement(2), turned) == []


def test_before_its_start_it_drops_nothing() -> None:
    seen = judged(LABELS, *ROUNDS, majority=MAJORITY)
    found = [dropped(Disagreement(1, start=3), replace(seen, revision=revision)) for revision in (1, 2, 3, 4)]
    assert found == [[], [], [1], [1]]


def test_what_it_does_in_a_revision_is_how_many_rounds_it_has() -> None:
    one, other = Disagreement(2, start=2), Disagreement(3)
    assert one.at(1) == KEEPS != other.at(1)
    assert [one.at(revision) == other.at(revision) for revision in (2, 3)] == [True, False]
    assert one.at(2) == one.at(9)
    assert other.looks_back == 3


def test_in_words() -> None:
    assert str(Disagreement(3)) == "disagreement of 3 rounds"
    assert str(Disagreement(3, 5)) == "disagreement of 3 rounds, from revision 5"


@pytest.mark.parametrize("k", [0, 3.0, 2.5, True, None, "3"])
def test_what_is_no_number_of_rounds_is_refused(k: object) -> None:
    with pytest.raises(ValueError, match=r"disagreement: .*; give a whole number, 1 or more"):
        Disagreement(k)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"start: .*; give a whole number, 1 or more"):
        Disagreement(3, k)  # type: ignore[arg-type]
