"""Photos for which a minority class is likelier than their label, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from core.rules.judged import dropped, judged

from rsrl_ray.core.rules.imposters import Imposters
from rsrl_ray.core.rules.rule import KEEPS, Seen

# 30 photos of the majority class 0, ten of class 1, nine of class 2, none of class 3.
LABELS = np.array([0] * 30 + [1] * 10 + [2] * 9)
PRIOR = np.array([30, 10, 9]) / 49


def _seen(corrected: dict[int, list[float]], **other: object) -> Seen:
    """The photos named have these likelihoods, up to a factor, once the prior is taken away; the others their own."""
    shares = np.where(np.arange(3) == LABELS[:, None], 0.8, 0.1)
    for place, row in corrected.items():
        shares[place] = row
    logits = np.column_stack([np.log(shares * PRIOR), np.full(len(LABELS), 50.0)])  # of class 3 nothing is known
    return judged(LABELS, logits, majority=np.array([0]), **other)


def test_a_minority_class_has_to_be_likelier_than_the_label() -> None:
    # By their own logits photos 2 and 3 are of class 0: 0.45 * 30 is above 0.55 * 10, and 0.3 * 30 above 0.7 * 10.
    found = _seen({2: [0.45, 0.55, 0.01], 3: [0.3, 0.7, 0.01], 4: [0.51, 0.49, 0.01], 35: [0.9, 0.05, 0.05]})
    assert dropped(Imposters(1), found) == [2, 3]


def test_small_minority_classes_do_not_count() -> None:
    found = _seen({2: [0.1, 0.05, 0.85], 3: [0.3, 0.4, 0.3]})
    assert dropped(Imposters(1), found) == [3]
    assert dropped(Imposters(1, smallest=9), found) == [2, 3]
    assert dropped(Imposters(1, smallest=11), found) == []


def test_at_most_the_share_goes_the_surest_first() -> None:
    surer = {5: [0.4, 0.6, 0.01], 6: [0.1, 0.9, 0.01], 7: [0.2, 0.8, 0.01], 8: [0.3, 0.7, 0.01]}
    assert dropped(Imposters(0.1), _seen(surer)) == [6, 7, 8]
    assert dropped(Imposters(0.05), _seen(surer)) == [6]  # 1.5 of 30 photos are one
    assert dropped(Imposters(0.0), _seen(surer)) == []


def test_the_prior_is_that_of_the_photos_that_the_network_was_trained_on() -> None:
    # Of class 0 only as many were kept as there are of class 1: the network has no reason to favour it any more.
    logits = np.zeros((49, 3))
    logits[:, 0] = np.log(2)
    seen = judged(LABELS, logits, majority=np.array([0]))
    # 2 / 30 is less than 1 / 10, 2 / 10 is more.
    assert dropped(Imposters(1), seen) == list(range(30))
    assert dropped(Imposters(1), replace(seen, kept=np.arange(49) >= 20)) == []


def test_as_likely_as_the_label_is_not_likelier() -> None:
    labels = np.repeat([0, 1], 10)
    assert dropped(Imposters(1), judged(labels, np.ones((20, 2)), majority=np.array([0]))) == []


def test_without_minority_classes_nothing_is_dropped() -> None:
    assert dropped(Imposters(1), judged([0] * 20, np.zeros((20, 1)), majority=np.array([0, 1, 2]))) == []


def test_in_words() -> None:
    assert str(Imposters(0.2)) == "imposters, at most 0.2, of classes of 10 photos or more"
    assert Imposters(0).at(1) == KEEPS
    assert Imposters(0.2).at(1) == Imposters(0.2).at(2) != Imposters(0.2, 11).at(1)


def test_wrong_knobs_are_refused() -> None:
    with pytest.raises(ValueError, match="imposters: None; give a share, 0 to 1"):
        Imposters(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"smallest: 10\.0; give a whole number, 1 or more"):
        Imposters(0.2, 10.0)  # type: ignore[arg-type]
