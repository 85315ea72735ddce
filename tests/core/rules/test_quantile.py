"""The lowest self-confidences of each majority class, by hand."""

import numpy as np
import pytest
from core.rules.judged import confident, dropped, judged

from rsrl_ray.core.rules.quantile import Quantile
from rsrl_ray.core.rules.rule import KEEPS

# Five photos of class 0, four of class 1, two of the minority class 2.
LABELS = [0] * 5 + [1] * 4 + [2] * 2
FIRST = [*[0.5, 0.1, 0.9, 0.4, 0.8], *[0.9, 0.6, 0.7, 0.8], *[0.0, 0.0]]
SECOND = [*[0.2, 0.9, 0.5, 0.6, 0.7], *[0.1, 0.9, 0.3, 0.2], *[0.0, 0.0]]
# The means: 0.35, 0.5, 0.7, 0.5, 0.75, then 0.5, 0.75, 0.5, 0.5.
MAJORITY = np.array([0, 1])


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0, []), (0.2, [1]), (0.25, [1, 6]), (0.4, [1, 3, 6]), (0.5, [1, 3, 6, 7]), (1, list(range(9)))],
)
def test_the_lowest_of_each_majority_class_go(share: float, expected: list[int]) -> None:
    assert dropped(Quantile(share), confident(LABELS, FIRST, majority=MAJORITY)) == expected


def test_the_last_round_decides() -> None:
    assert dropped(Quantile(0.4), confident(LABELS, FIRST, SECOND, majority=MAJORITY)) == [0, 2, 5]


def test_or_the_mean_of_all_rounds_so_far_does() -> None:
    seen = confident(LABELS, FIRST, SECOND, majority=MAJORITY)
    assert dropped(Quantile(0.25, "mean"), seen) == [0, 8]  # of three with 0.5, the last
    assert dropped(Quantile(0.5, "mean"), seen) == [0, 3, 7, 8]
    assert dropped(Quantile(0.4, "mean"), confident(LABELS, FIRST, majority=MAJORITY)) == [1, 3, 6]


def test_the_likelihood_is_that_of_the_membership() -> None:
    # By sigmoid the second photo is the less likely, by softmax the first, whose other class is likelier.
    logits = [[1.0, 9.0], [0.0, -9.0]]
    assert dropped(Quantile(0.5), judged([0, 0], logits, majority=np.array([0]))) == [1]
    assert dropped(Quantile(0.5), judged([0, 0], logits, majority=np.array([0]), membership="softmax")) == [0]


def test_in_words() -> None:
    assert str(Quantile(0.2)) == "quantile 0.2 of the last likelihood"
    assert (Quantile(0.2).recalls, Quantile(0.2, "mean").recalls) == (False, True)
    assert Quantile(0).at(1) == KEEPS
    assert len({Quantile(0.2).at(2), Quantile(0.2, "mean").at(2), Quantile(0.3).at(2)}) == 3


def test_wrong_knobs_are_refused() -> None:
    with pytest.raises(ValueError, match="quantile: 20; give a share, 0 to 1"):
        Quantile(20)
    with pytest.raises(ValueError, match="likelihood: 'first'; give one of last, mean"):
        Quantile(0.2, "first")
    with pytest.raises(ValueError, match=r"likelihood: \['last'\]; give one of last, mean"):
        Quantile(0.2, ["last"])  # type: ignore[arg-type]
