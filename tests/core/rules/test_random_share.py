"""A share of each majority class, at random."""

from dataclasses import replace

import numpy as np
import pytest
from core.rules.judged import confident, dropped, times

from rsrl_ray.core.rules.random_share import RandomShare
from rsrl_ray.core.rules.rule import KEEPS

# Ten photos of class 0, seven of class 1, three of the minority class 2.
SEEN = confident([0] * 10 + [1] * 7 + [2] * 3, [0.5] * 20, majority=np.array([0, 1]))


@pytest.mark.parametrize(("share", "counts"), [(0, (0, 0)), (0.3, (3, 2)), (0.29, (2, 2)), (1, (10, 7))])
def test_of_each_majority_class_the_share_goes_rounded_down(share: float, counts: tuple[int, int]) -> None:
    drops = RandomShare(share).drops(SEEN)
    assert (drops[:10].sum(), drops[10:17].sum(), drops[17:].sum()) == (*counts, 0)


def test_a_share_in_decimals_is_not_rounded_down_twice() -> None:
    assert RandomShare(0.29).drops(confident([0] * 100, [0.5] * 100)).sum() == 29  # 100 * 0.29 is 28.999999999999996


def test_every_photo_of_a_class_goes_equally_often() -> None:
    # 3 of 10 and 2 of 7: 90 and 86 of 300 times, give or take 7.9 and 7.8.
    found = times(RandomShare(0.3), [replace(SEEN, revision=revision) for revision in range(1, 301)])
    assert np.all(abs(found[:10] - 90) < 31)
    assert np.all(abs(found[10:17] - 86) < 31)


def test_nothing_is_looked_at() -> None:
    other = replace(SEEN, logits=[np.random.default_rng(0).normal(size=(20, 5))], kept=np.arange(20) % 2 == 0)
    assert dropped(RandomShare(0.3), other) == dropped(RandomShare(0.3), SEEN)


def test_in_words() -> None:
    assert str(RandomShare(0.2)) == "random 0.2"
    assert RandomShare(0.0).at(1) == KEEPS
    assert RandomShare(0.2).at(1) == RandomShare(0.2).at(2) != RandomShare(0.3).at(1)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), None, True, "0.2"])
def test_what_is_no_share_is_refused(share: object) -> None:
    with pytest.raises(ValueError, match=r"random: .*; give a share, 0 to 1"):
        RandomShare(share)  # type: ignore[arg-type]
