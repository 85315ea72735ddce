"""So many times the largest minority class stay, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from core.rules.judged import confident, dropped, times

from rsrl_ray.core.rules.quota import Quota

# Six photos of class 0, four of class 1; of the minority two photos of class 3 and one of class 2, none of class 4.
LABELS = [0] * 6 + [1] * 4 + [2] + [3] * 2
CONFIDENCE = [*[0.5, 0.1, 0.9, 0.4, 0.8, 0.1], *[0.9, 0.6, 0.7, 0.8], *[0.0], *[0.0, 0.0]]
SEEN = confident(LABELS, CONFIDENCE, majority=np.array([0, 1]))


@pytest.mark.parametrize(
    ("quota", "expected"),
    [(1, [0, 1, 3, 5, 7, 8]), (1.5, [1, 3, 5, 7]), (1.99, [1, 3, 5, 7]), (2, [1, 5]), (2.5, [5]), (3, []), (1e9, [])],
)
def test_so_many_of_each_majority_class_stay_rounded_down(quota: float, expected: list[int]) -> None:
    assert dropped(Quota(quota), SEEN) == expected


def test_the_last_round_decides() -> None:
    later = [*[0.1, 0.5, 0.9, 0.4, 0.8, 0.6], *[0.9, 0.6, 0.7, 0.8], *[0.0, 0.0, 0.0]]
    assert dropped(Quota(2), confident(LABELS, CONFIDENCE, later, majority=np.array([0, 1]))) == [0, 3]


def test_at_random_as_many_go_and_each_photo_equally_often() -> None:
    # Three of six and one of four, 300 times: 150 and 75, give or take 8.7 and 7.5.
    found = times(Quota(1.5, "random"), [replace(SEEN, stream=(0, fold)) for fold in range(300)])
    assert np.all(abs(found[:6] - 150) < 35) and np.all(abs(found[6:10] - 75) < 30)
    assert (found[:6].sum(), found[6:10].sum(), found[10:].sum()) == (900, 300, 0)


def test_each_round_draws_anew_and_the_same_whenever_it_is_made() -> None:
    rule = Quota(1, "random")
    rounds = [dropped(rule, replace(SEEN, revision=revision)) for revision in range(1, 9)]
    assert len({tuple(each) for each in rounds}) > 1
    assert [dropped(rule, replace(SEEN, revision=revision)) for revision in range(1, 9)] == rounds


def test_without_a_minority_class_nothing_goes() -> None:
    assert dropped(Quota(1), replace(SEEN, majority=np.arange(5))) == []
    assert dropped(Quota(1), replace(SEEN, majority=np.arange(4))) == []  # class 4 has no photos


def test_in_words() -> None:
    assert str(Quota(1.5)) == "quota 1.5; picked: least_likely"
    assert str(Quota(2, "random")) == "quota 2; picked: random"
    assert Quota(2).at(1) == Quota(2.0).at(7) != Quota(2, "random").at(1)
    with pytest.raises(ValueError, match=r"quota: 0\.5; give a number, 1 to 1e\+09"):
        Quota(0.5)
    with pytest.raises(ValueError, match="pick: 'most_likely'; give one of least_likely, random"):
        Quota(1, "most_likely")
