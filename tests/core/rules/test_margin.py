"""Own logit less the largest other one, by hand."""

import numpy as np
import pytest
from core.rules.judged import dropped, judged

from rsrl_ray.core.rules.margin import Margin, margins

LABELS = [0, 0, 0, 0, 1, 2]
LOGITS = [
    [3.0, 1.0, 2.0],  # 1 ahead
    [1.0, 1.0, -5.0],  # level
    [0.5, 1.0, 2.0],  # 1.5 behind
    [-7.0, -7.25, -9.0],  # 0.25 ahead
    [4.0, 2.0, 9.0],  # 7 behind
    [4.0, 2.0, 1.0],  # 3 behind, of the minority
]
SEEN = judged(LABELS, LOGITS, majority=np.array([0, 1]))


@pytest.mark.parametrize(
    ("margin", "expected"),
    [(0, [2, 4]), (0.25, [1, 2, 4]), (0.3, [1, 2, 3, 4]), (-2, [4]), (-7, []), (9, [0, 1, 2, 3, 4])],
)
def test_below_the_margin_a_photo_is_dropped_and_at_it_not(margin: float, expected: list[int]) -> None:
    assert dropped(Margin(margin), SEEN) == expected


def test_margins_by_hand() -> None:
    assert margins(SEEN.last, SEEN.labels).tolist() == [1, 0, -1.5, 0.25, -7, -3]


def test_what_all_logits_of_a_photo_share_does_not_matter() -> None:
    shift = np.array([[8.0], [-4.0], [0.0], [1024.0], [2.0], [1.0]])
    assert dropped(Margin(0.3), judged(LABELS, np.array(LOGITS) + shift, majority=np.array([0, 1]))) == [1, 2, 3, 4]


def test_the_logits_are_left_alone() -> None:
    logits = np.array(LOGITS)
    Margin(0.3).drops(judged(LABELS, logits))
    np.testing.assert_array_equal(logits, LOGITS)


def test_with_a_single_class_nothing_is_behind() -> None:
    assert dropped(Margin(1000), judged([0, 0], [[0.0], [-3.0]], majority=np.array([0]))) == []


def test_in_words() -> None:
    assert str(Margin(-0.5)) == "margin -0.5"
    assert Margin(0).at(1) == Margin(0.0).at(7) != Margin(1).at(1)
    with pytest.raises(ValueError, match=r"margin: inf; give a difference of logits$"):
        Margin(float("inf"))
