"""A last layer in closed form, against scikit-learn's ridge regression and photos that are left out one by one."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import softmax
from sklearn.linear_model import Ridge as Reference

from rsrl_ray.core.ridge import STRENGTHS, Ridge
from rsrl_ray.vision.solving import solved

LABELS = np.repeat(np.arange(4), [30, 18, 9, 3])
DRAW = np.random.default_rng(5)


def features(width: int) -> torch.Tensor:
    """[60, width]: the class is seen in two of them."""
    found = np.random.default_rng(width).normal(size=(60, width)).astype(np.float32)
    found[:, 0] += LABELS
    found[:, 1] -= 3.0 * (LABELS == 1)
    return torch.from_numpy(10 * found)


def weights_of(balance: float) -> np.ndarray:
    weights = np.bincount(LABELS)[LABELS] ** -balance
    return weights / weights.mean()


@pytest.mark.parametrize("width", [8, 100])  # fewer and more features than photos
@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_slopes_and_constant_are_those_of_scikit_learn(width: int, balance: float) -> None:
    given = features(width)
    layer = solved(Ridge(100.0, "hard", balance), given, LABELS, 4)
    reference = Reference(100.0).fit(given.double().numpy(), np.eye(4)[LABELS], weights_of(balance))
    temperature = float(np.linalg.norm(reference.coef_) / layer.weight.norm())
    assert_allclose(layer.weight.numpy() * temperature, reference.coef_, rtol=1e-6, atol=1e-10)
    assert_allclose(layer.bias.numpy() * temperature, reference.intercept_, rtol=1e-6, atol=1e-10)


def test_logits_of_a_score_are_a_normal_distribution_with_the_error_of_photos_left_out() -> None:
    given = features(6)
    layer = solved(Ridge(100.0), given, LABELS, 4)
    x = given.double().numpy()
    errors, signs = [], []
    for place in range(60):
        others = np.arange(60) != place
        one = Reference(100.0).fit(x[others], LABELS[others])
        error = LABELS[place] - one.predict(x[place : place + 1])[0]
        errors.append(error**2)
        signs.append(np.sign(error))
    variance = np.mean(errors)
    without = LABELS - np.sqrt(errors) * np.array(signs)
    gaps = (layer.left_out[:, 3] - layer.left_out[:, 0]).numpy()
    assert_allclose(gaps, 3 * (without - 1.5) / variance, rtol=1e-6)
    score = Reference(100.0).fit(x, LABELS).predict(x)
    steps = np.arange(4)
    expected = softmax(-((score[:, None] - steps) ** 2) / (2 * variance), axis=1)
    logits = x @ layer.weight.numpy().T + layer.bias.numpy()
    assert_allclose(softmax(logits, axis=1), expected, rtol=1e-6)
    assert_allclose(logits[:, 3] - logits[:, 0], 3 * (score - 1.5) / variance, rtol=1e-6)


@pytest.mark.parametrize("targets", ["hard", "soft"])
def test_the_temperature_is_that_of_the_highest_likelihood_of_photos_left_out(targets: str) -> None:
    given, ridge = features(6), Ridge(100.0, targets, 0.5)
    x, steps = given.double().numpy(), np.arange(4)
    near = np.eye(4) if targets == "hard" else softmax(-((steps[:, None] - steps) ** 2) / 2, axis=1)
    weights = weights_of(0.5)
    found = np.stack(
        [
            Reference(100.0)
            .fit(np.delete(x, place, 0), near[np.delete(LABELS, place)], np.delete(weights, place))
            .predict(x[place : place + 1])[0]
            for place in range(60)
        ]
    )

    def loss(temperature: float) -> float:
        return -float((weights * np.log(softmax(found / temperature, axis=1))[np.arange(60), LABELS]).mean())

    layer = solved(ridge, given, LABELS, 4)
    whole = Reference(100.0).fit(x, near[LABELS], weights)
    temperature = float(np.linalg.norm(whole.coef_) / layer.weight.norm())
    assert loss(temperature) <= min(loss(temperature * 1.01), loss(temperature / 1.01))


@pytest.mark.parametrize("width", [6, 100])
def test_auto_takes_the_strength_with_the_least_error_of_photos_left_out(width: int) -> None:
    given = features(width)
    x = given.double().numpy()
    errors = []
    for strength in STRENGTHS:
        one = [
            Reference(strength).fit(np.delete(x, p, 0), np.delete(LABELS, p)).predict(x[p : p + 1])[0]
            for p in range(60)
        ]
        errors.append(np.mean((one - LABELS) ** 2))
    best = STRENGTHS[int(np.argmin(errors))]
    automatic, named = solved(Ridge(), given, LABELS, 4), solved(Ridge(best), given, LABELS, 4)
    assert torch.equal(automatic.weight, named.weight) and torch.equal(automatic.bias, named.bias)
    assert 0 < STRENGTHS.index(best) < len(STRENGTHS) - 1  # so this could fail


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_what_a_rule_lets_photos_weigh_is_a_factor_of_the_balance(balance: float) -> None:
    given, own = features(8), (1 - np.arange(60) % 4 / 5).astype(np.float32)
    layer = solved(Ridge(100.0, "hard", balance), given, LABELS, 4, own)
    weights = own.astype(np.float64) * np.array([own[label == LABELS].sum(dtype=float) for label in LABELS]) ** -balance
    reference = Reference(100.0).fit(given.double().numpy(), np.eye(4)[LABELS], weights / weights.mean())
    temperature = float(np.linalg.norm(reference.coef_) / layer.weight.norm())
    assert_allclose(layer.weight.numpy() * temperature, reference.coef_, rtol=1e-6, atol=1e-10)
    assert_allclose(layer.bias.numpy() * temperature, reference.intercept_, rtol=1e-6, atol=1e-10)
    alike = [solved(Ridge(100.0, "hard", balance), given, LABELS, 4, each) for each in (None, np.float32(own > 0))]
    assert_allclose(alike[0].weight, alike[1].weight, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(alike[0].weight, layer.weight, rtol=1e-3)


def test_strengths_are_half_powers_of_ten() -> None:
    assert_allclose(STRENGTHS, [31.6227766, 100, 316.227766, 1000, 3162.27766, 1e4, 31622.7766, 1e5])


def test_a_class_without_photos_and_a_fit_without_error_are_no_trouble() -> None:
    given = torch.zeros(4, 3)
    for targets in ("score", "hard", "soft"):
        layer = solved(Ridge(targets=targets, balance=1.0), given, np.zeros(4, dtype=np.int64), 3)
        assert bool(layer.weight.isfinite().all()) and bool(layer.bias.isfinite().all()), targets
        assert int(layer.bias.argmax()) == 0


def test_texts() -> None:
    assert str(Ridge()) == "ridge regression on score targets"
    assert str(Ridge(targets="hard", judged="left_out")) == "ridge regression on hard targets, judged left out"
    assert str(Ridge(100, "soft", 0.5)) == "ridge regression on soft targets, strength 100, balance 0.5"
    for knobs, words in [
        ({"ridge": -1}, "ridge: -1"),
        ({"targets": "x"}, "one of score"),
        ({"balance": 2}, "balance: 2"),
        ({"judged": "x"}, "judged: 'x'; give one of in_sample, left_out"),
    ]:
        with pytest.raises(ValueError, match=words):
            Ridge(**knobs)
    assert math.isclose(STRENGTHS[0], 10**1.5)
