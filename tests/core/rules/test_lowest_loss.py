"""The photos of the lowest loss stay, by hand."""

import numpy as np
import pytest
from core.rules.judged import dropped, judged

from rsrl_ray.core.rules.lowest_loss import LowestLoss
from rsrl_ray.core.rules.rule import KEEPS

# The softmax at the own label of ten photos of three classes: the losses are in the reverse order.
OWN = np.array([0.9, 0.2, 0.8, 0.5, 0.4, 0.95, 0.1, 0.7, 0.3, 0.6])
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
SHARES = np.where(np.arange(3) == LABELS[:, None], OWN[:, None], (1 - OWN[:, None]) / 2)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(1, []), (0.9, [6]), (0.8, [1, 6]), (0.75, [1, 6, 8]), (0.5, [1, 3, 4, 6, 8]), (0, list(range(10)))],
)
def test_the_share_of_all_photos_with_the_lowest_loss_stays_rounded_down(share: float, expected: list[int]) -> None:
    # All logits of a photo may be moved: its loss is the same, its sigmoid is not.
    logits = np.log(SHARES) + np.arange(10)[:, None]
    assert dropped(LowestLoss(share), judged(LABELS, logits)) == expected


def test_of_equal_losses_the_later_photos_go() -> None:
    assert dropped(LowestLoss(0.5), judged([0] * 5, np.zeros((5, 2)))) == [2, 3, 4]


def test_a_loss_that_no_softmax_can_tell_from_others_still_counts() -> None:
    logits = [[0.0, 2000.0], [0.0, 1000.0], [0.0, 3000.0]]  # the softmax of each is 0
    assert dropped(LowestLoss(0.7), judged([0] * 3, logits)) == [2]
    assert dropped(LowestLoss(0.4), judged([0] * 3, logits)) == [0, 2]


def test_in_words() -> None:
    assert str(LowestLoss(0.8)) == "lowest loss, 0.8 of all photos"
    assert LowestLoss(1).at(1) == KEEPS
    assert LowestLoss(0.8).at(1) == LowestLoss(0.8).at(2) != LowestLoss(0.7).at(1)
    with pytest.raises(ValueError, match="lowest_loss: nan; give a share, 0 to 1"):
        LowestLoss(float("nan"))
