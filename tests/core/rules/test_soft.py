"""Unlikely photos weigh less."""

from typing import Any

import numpy as np
import pytest
from core.rules.judged import confident, dropped, judged
from numpy.testing import assert_allclose, assert_array_equal

from rsrl_ray.core.revision import revise
from rsrl_ray.core.rules.soft import Soft

LABELS = [0] * 6 + [1] * 5 + [2] * 2
LAST = [0.9, 0.8, 0.4, 0.1, 0.0, 1.0, 0.2, 0.6, 0.8, 0.81, 0.5, 0.1, 0.0]  # the last two are of the minority class
FIRST = [0.1, 0.8, 0.8, 0.1, 0.8, 0.0, 0.2, 0.2, 0.0, 0.8, 0.7, 0.3, 0.0]


def test_weights_are_the_likelihood_by_k_to_the_power_and_one_at_most() -> None:
    seen = confident(LABELS, FIRST, LAST, majority=np.array([0, 1]))
    expected = [1, 1, 0.5, 0.125, 0, 1, 0.25, 0.75, 1, 1, 0.625, 1, 1]
    assert_allclose(Soft(0.8).weights(seen), expected, rtol=1e-15)
    assert_allclose(Soft(0.8, 2).weights(seen), np.square(expected), rtol=1e-15)
    assert_allclose(Soft(0.8, 0.5).weights(seen), np.sqrt(expected), rtol=1e-15)
    mean = [0.625, 1, 0.75, 0.125, 0.5, 0.625, 0.25, 0.5, 0.5, 1, 0.75, 1, 1]
    assert_allclose(Soft(0.8, 1, "mean").weights(seen), mean, rtol=1e-15)
    assert_allclose(Soft(1).weights(seen)[:6], LAST[:6], rtol=1e-15)


def test_only_a_photo_of_likelihood_zero_is_dropped() -> None:
    seen = confident(LABELS, LAST, majority=np.array([0, 1]))
    assert dropped(Soft(0.8), seen) == [4]
    assert dropped(Soft(0.8), confident(LABELS, FIRST, LAST, majority=np.array([0]))) == [4]
    assert dropped(Soft(0.5, 1, "mean"), confident(LABELS, FIRST, LAST, majority=np.array([0]))) == []
    with_zero = revise(Soft(0.8), seen)
    assert with_zero.weights is not None and with_zero.weights.dtype == np.float32
    assert_allclose(with_zero.weights, [1, 1, 0.5, 0.125, 0, 1, 0.25, 0.75, 1, 1, 0.625, 1, 1], rtol=1e-7)
    assert_array_equal(with_zero.kept, with_zero.weights > 0)
    assert with_zero.counts[0] == (6, 1)


def test_a_logit_far_below_zero_still_weighs_something() -> None:
    seen = judged([0, 0, 0], [[-100.0], [0.0], [3.0]], majority=np.array([0]))
    assert 0 < Soft(0.5).weights(seen).astype(np.float32)[0] < 1e-40
    assert dropped(Soft(0.5), seen) == []


def test_texts() -> None:
    assert str(Soft(0.9)) == "soft weights min(1, p / 0.9), p the last likelihood"
    assert str(Soft(0.9, 2, "mean")) == "soft weights min(1, p / 0.9)^2, p the mean likelihood"
    assert Soft(0.9).at(1) == Soft(0.9).at(7) != Soft(0.9, 2).at(1)
    assert Soft(0.9, 1, "mean").recalls and not Soft(0.9).recalls


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"soft": 0}, "soft: 0, so that all photos weigh the same; give a number above 0"),
        ({"soft": 1.1}, "soft: 1.1; give K, a likelihood, 0 to 1"),
        ({"soft": True}, "soft: True; give K"),
        ({"soft": 0.9, "power": 0}, "power: 0, so that all photos weigh the same; give a number above 0"),
        ({"soft": 0.9, "power": -1}, "power: -1; give a number, 0 or more"),
        ({"soft": 0.9, "likelihood": "best"}, "likelihood: 'best'; give one of last, mean"),
    ],
)
def test_wrong_knobs(knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        Soft(**knobs)
