"""K1 to K3 and their two controls, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from core.rules.judged import confident, dropped, times

from rsrl_ray.core.rules.rule import KEEPS
from rsrl_ray.core.rules.thresholds import PICKS, Thresholds
from rsrl_ray.core.schedule import make_schedule

# Eight photos of class 1, seven of class 0, two of the minority class 2.
LABELS = [1] * 8 + [0] * 7 + [2] * 2
CONFIDENCE = [
    *[0.1, 0.5, 0.9, 0.49, 0.8, 0.7, 0.6, 0.95],
    *[0.3, 0.94, 0.95, 0.96, 0.2, 0.99, 0.97],
    *[0.0, 0.01],
]
SEEN = confident(LABELS, CONFIDENCE, majority=np.array([1, 0]))


def _rule(*k: float, pick: str = "least_likely") -> Thresholds:
    return Thresholds(make_schedule({1: list(k)}, len(k)), pick)


def test_below_its_threshold_a_photo_is_dropped_and_at_it_not() -> None:
    assert dropped(_rule(0.5, 0.94), SEEN) == [0, 3, 8, 12]
    assert dropped(_rule(0.0, 0.0), SEEN) == []
    assert dropped(_rule(0.0, 1.0), SEEN) == [8, 9, 10, 11, 12, 13, 14]  # the guard comes later


def test_most_likely_drops_as_many_from_the_other_end() -> None:
    assert dropped(_rule(0.5, 0.94, pick="most_likely"), SEEN) == [2, 7, 13, 14]


def test_of_equally_likely_photos_most_likely_drops_the_later() -> None:
    seen = confident([0] * 8, [0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9, 0.9], majority=np.array([0]))
    assert dropped(_rule(0.5, pick="most_likely"), seen) == [7]


@pytest.mark.parametrize("pick", ["random", "most_likely"])
def test_the_controls_drop_no_more_than_the_guard_lets_k_drop(pick: str) -> None:
    # K2 alone would leave four of seven; it drops two of them then, and so do the controls.
    drops = _rule(0.5, 0.95, pick=pick).drops(SEEN)
    assert (drops[:8].sum(), drops[8:15].sum(), drops[15:].sum()) == (2, 2, 0)


def test_most_likely_leaves_those_that_the_guard_would_have_dropped() -> None:
    assert dropped(_rule(0.0, 1.0, pick="most_likely"), SEEN) == [13, 14]


def test_random_finds_every_photo_of_a_class_equally_often() -> None:
    # Two of eight and two of seven: 75 and 86 of 300 times, give or take 7.5 and 7.8.
    found = times(_rule(0.5, 0.94, pick="random"), [replace(SEEN, stream=(0, fold)) for fold in range(300)])
    assert np.all(abs(found[:8] - 75) < 30)
    assert np.all(abs(found[8:15] - 86) < 31)
    assert found[:8].sum() == found[8:15].sum() == 600
    assert found[15:].sum() == 0


def test_the_thresholds_are_those_of_the_revision() -> None:
    rule = Thresholds(make_schedule({2: 0.5, 3: [0.0, 0.3]}, 2))
    assert [dropped(rule, replace(SEEN, revision=revision)) for revision in (1, 2, 3)] == [[], [0, 3, 8, 12], [12]]


def test_a_majority_class_without_training_photos_is_passed_over() -> None:
    seen = confident([0] * 6, [0.1] * 6, majority=np.array([0, 1]))
    assert dropped(_rule(0.5, 0.5), seen) == [0, 1, 2, 3, 4, 5]
    for pick in PICKS:
        assert dropped(_rule(0.0, 0.5, pick=pick), seen) == []


def test_what_it_does_in_a_revision_is_its_thresholds_and_how_it_picks() -> None:
    one, other = (Thresholds(make_schedule({2: 0.9, 4: k})) for k in (0.95, 0.8))
    assert [one.at(revision) == other.at(revision) for revision in (1, 2, 3, 4)] == [True, True, True, False]
    assert one.at(1) == KEEPS
    assert one.at(2) == one.at(3) != one.at(4)
    assert len({Thresholds(one.thresholds, pick).at(2) for pick in PICKS}) == 3


def test_it_says_which_threshold_drops() -> None:
    rule = _rule(0.5, 0.95)
    assert str(rule) == "from revision 1: 0.5, 0.95"  # tracked so since there are schedules
    assert [rule.says(1, place) for place in (0, 1)] == ["K = 0.5", "K = 0.95"]
    assert str(_rule(0.5, 0.95, pick="random")) == "from revision 1: 0.5, 0.95; picked: random"


@pytest.mark.parametrize("steps", [None, 0.9, [0.9], "0.9"])
def test_thresholds_that_are_no_steps_are_refused(steps: object) -> None:
    with pytest.raises(ValueError, match=r"thresholds: .*; give steps, such as \{1: 0.9, 3: 0.95\}"):
        Thresholds(steps)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pick: 'worst'; give one of least_likely, random, most_likely"):
        Thresholds(make_schedule({1: 0.9}), "worst")
