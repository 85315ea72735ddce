"""Losses, compared with numbers computed by hand and with torch's losses."""

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from rsrl_ray.config import Training
from rsrl_ray.core.value import make
from rsrl_ray.vision.class_counts import smoothed
from rsrl_ray.vision.heads import HeadRound, StackedHeads
from rsrl_ray.vision.losses import CROSS_ENTROPY, LOSSES, Balanced, EffectiveNumber, Focal, Ldam, Loss

KNOBS: list[dict[str, Any]] = [
    {"balanced": 0.5},
    {"balanced": 1.0, "ordinal": 1.0},
    {"balanced": 0.0, "ordinal": 0.3},
    {"focal": 2.0},
    {"focal": 0.5},
    {"effective_number": 0.999},
    {"ldam": 0.5},
    {"ldam": 0.5, "drw": 1},
    {"balanced": 1.0, "ordinal": 1.0, "smooth": 1.0},
    {"effective_number": 0.999, "smooth": 2.0},
    {"ldam": 0.5, "drw": 1, "smooth": 0.5},
]
# Two photos, of classes 0 and 1. Their softmax is (1/2, 1/4, 1/4) and (1/8, 1/4, 5/8). Class 2 is the middle one.
LOGITS = torch.tensor([[2.0, 1.0, 1.0], [1.0, 2.0, 5.0]]).log()
LABELS = torch.tensor([0, 1])
COUNTS = torch.tensor([60.0, 10.0, 30.0], dtype=torch.float64)


def _name(knobs: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in knobs.items())


def _loss(knobs: dict[str, Any]) -> Loss:
    return make(knobs, LOSSES, "loss")


def _found(loss: Loss, counts: Tensor = COUNTS, number: int = 1) -> float:
    return float(loss(LOGITS, LABELS, counts, number))


def _batch(photos: int = 40, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(photos, classes, generator=generator) * 3
    return logits, torch.randint(0, classes, (photos,), generator=generator)


# by hand


def test_cross_entropy_is_torchs_bit_by_bit() -> None:
    logits, labels = _batch()
    found = CROSS_ENTROPY(logits, labels, torch.zeros(5), 1)
    assert found.equal(cross_entropy(logits, labels))
    assert _found(CROSS_ENTROPY) == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert str(CROSS_ENTROPY) == "cross-entropy"


def test_balanced_by_hand() -> None:
    # exp(z) pi: 120, 10, 30 and 60, 20, 150.
    assert _found(Balanced(1)) == pytest.approx(-(np.log(120 / 160) + np.log(20 / 230)) / 2)
    # exp(z) pi^(1/2), divided by sqrt(10): 2 sqrt(6), 1, sqrt(3) and sqrt(6), 2, 5 sqrt(3).
    one, other = 2 * 6**0.5 + 1 + 3**0.5, 6**0.5 + 2 + 5 * 3**0.5
    assert _found(Balanced(0.5)) == pytest.approx(-(np.log(2 * 6**0.5 / one) + np.log(2 / other)) / 2)


def test_ordinal_targets_by_hand() -> None:
    # For the first photo T ~ 1 * 60, exp(-1/2) * 10, exp(-2) * 30, for the second exp(-1/2) * 60, 10, exp(-1/2) * 30.
    near, far = np.exp(-0.5), np.exp(-2)
    first, second = np.array([60, 10 * near, 30 * far]), np.array([60 * near, 10, 30 * near])
    one = (first / first.sum()) @ np.log(np.array([120, 10, 30]) / 160)
    other = (second / second.sum()) @ np.log(np.array([60, 20, 150]) / 230)
    assert _found(Balanced(1, ordinal=1)) == pytest.approx(-(one + other) / 2)


def test_ordinal_targets_without_balance_are_a_bell() -> None:
    # exp(-(c - y)^2 / 8): 1, 0.882, 0.607 from class 0 on, and 0.882, 1, 0.882 around class 1.
    first, second = np.exp([0, -1 / 8, -4 / 8]), np.exp([-1 / 8, 0, -1 / 8])
    one, other = (
        first @ np.log([1 / 2, 1 / 4, 1 / 4]) / first.sum(),
        second @ np.log([1 / 8, 1 / 4, 5 / 8]) / second.sum(),
    )
    assert _found(Balanced(0, ordinal=2)) == pytest.approx(-(one + other) / 2)


def test_focal_by_hand() -> None:
    assert _found(Focal()) == pytest.approx((0.5**2 * np.log(2) + 0.75**2 * np.log(4)) / 2)
    assert _found(Focal(1)) == pytest.approx((0.5 * np.log(2) + 0.75 * np.log(4)) / 2)


def test_effective_number_by_hand() -> None:
    # beta = 1/2: (1/2) / (1 - 2^-n) of 1, 2 and 3 photos: 1, 2/3, 4/7; the weights of a batch add up to 1.
    counts = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    expected = (1 * np.log(2) + 2 / 3 * np.log(4)) / (1 + 2 / 3)
    assert _found(EffectiveNumber(0.5), counts) == pytest.approx(expected)


def test_ldam_by_hand() -> None:
    # Margins 0.5 (1/16)^(1/4) = 0.25, 0.5 and 0.5 (1/81)^(1/4) = 1/6.
    counts = torch.tensor([160.0, 10.0, 810.0], dtype=torch.float64)
    first, second = 2 * np.exp(-0.25), 2 * np.exp(-0.5)
    expected = -(np.log(first / (first + 2)) + np.log(second / (second + 6))) / 2
    assert _found(Ldam(), counts) == pytest.approx(expected)


def test_ldam_is_weighted_from_its_round_on() -> None:
    counts = torch.tensor([2.0, 1.0, 3.0], dtype=torch.float64)
    loss = Ldam(0.0, drw=3, beta=0.5)
    plain = (np.log(2) + np.log(4)) / 2
    weighted = (2 / 3 * np.log(2) + 1 * np.log(4)) / (1 + 2 / 3)
    found = [_found(loss, counts, number) for number in (1, 2, 3, 4)]
    assert found == pytest.approx([plain, plain, weighted, weighted])
    assert [_found(Ldam(0.0), counts, number) for number in (1, 30)] == pytest.approx([plain, plain])


HALVING = np.sqrt(1 / (2 * np.log(2)))  # with it a class counts 1/2 in the next one and 1/16 in the one after it


def test_counts_are_smoothed_over_neighbouring_scores_by_hand() -> None:
    # At the ends there is nothing beyond: 160 + 32/2 + 48/16, 160/2 + 32 + 48/2, 160/16 + 32/2 + 48.
    counts = torch.tensor([160.0, 32.0, 48.0], dtype=torch.float64)
    assert smoothed(counts, HALVING).tolist() == pytest.approx([179, 136, 74])
    # The class without photos is passed over, and stays empty: 16 + 32/16 and 16/16 + 32.
    assert smoothed(torch.tensor([16.0, 0.0, 32.0]), HALVING).tolist() == pytest.approx([18, 0, 33])
    assert smoothed(counts, 0) is counts
    assert smoothed(counts, 1e-200).tolist() == [160, 32, 48]
    assert smoothed(counts, 1e9).tolist() == pytest.approx([240] * 3)  # all scores are one


def test_losses_with_smoothed_counts_by_hand() -> None:
    # 160, 32 and 48 photos become 179, 136 and 74.
    counts = torch.tensor([160.0, 32.0, 48.0], dtype=torch.float64)
    one, other = 2 * 179 / (2 * 179 + 136 + 74), 2 * 136 / (179 + 2 * 136 + 5 * 74)
    assert _found(Balanced(1, smooth=HALVING), counts) == pytest.approx(-np.log([one, other]).mean())
    first, second = (1 - 0.99) / (1 - 0.99 ** np.array([179, 136]))
    expected = (first * np.log(2) + second * np.log(4)) / (first + second)
    assert _found(EffectiveNumber(0.99, smooth=HALVING), counts) == pytest.approx(expected)
    first, second = 2 * np.exp(-0.5 * (74 / np.array([179, 136])) ** 0.25)
    expected = -(np.log(first / (first + 2)) + np.log(second / (second + 6))) / 2
    assert _found(Ldam(smooth=HALVING), counts) == pytest.approx(expected)


# against torch


@pytest.mark.parametrize("seed", range(3))
def test_against_torchs_cross_entropy(seed: int) -> None:
    logits, labels = _batch(seed=seed)
    counts = torch.tensor([300.0, 50.0, 800.0, 5.0, 90.0], dtype=torch.float64)
    shares = counts / counts.sum()
    plain = cross_entropy(logits, labels)
    for same in (Balanced(0), Focal(0), EffectiveNumber(0), Ldam(0)):
        assert_close(same(logits, labels, counts, 1), plain)
    adjusted = (logits.double() + 0.7 * shares.log()).float()
    assert_close(Balanced(0.7)(logits, labels, counts, 1), cross_entropy(adjusted, labels))
    weight = (0.01 / (1 - 0.99**counts)).float()
    assert_close(EffectiveNumber(0.99)(logits, labels, counts, 1), cross_entropy(logits, labels, weight))
    bell = torch.exp(-((torch.arange(5) - labels[:, None]) ** 2) / (2 * 1.5**2)) * shares**0.7
    soft = (bell / bell.sum(dim=1, keepdim=True)).float()
    assert_close(Balanced(0.7, 1.5)(logits, labels, counts, 1), cross_entropy(adjusted, soft))
    moved = logits.clone()
    for photo, label in enumerate(labels.tolist()):
        moved[photo, label] -= 0.5 * (5 / float(counts[label])) ** 0.25
    assert_close(Ldam(0.5)(logits, labels, counts, 1), cross_entropy(moved, labels))
    assert_close(Ldam(0.5, 2, 0.99)(logits, labels, counts, 2), cross_entropy(moved, labels, weight))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_against_its_formula(gamma: float) -> None:
    logits, labels = _batch()
    own = torch.softmax(logits.double(), dim=1)[torch.arange(len(labels)), labels]
    expected = -((1 - own) ** gamma * own.log()).mean()
    assert_close(Focal(gamma)(logits, labels, torch.ones(5), 1).double(), expected, rtol=1e-5, atol=0)


# for all of them


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize(
    "loss",
    [
        *(Balanced(0.5, 1.0), Balanced(1.0), Focal(2.0), Focal(0.5), EffectiveNumber(0.9), Ldam(0.5), Ldam(0.5, 2)),
        *(Balanced(0.5, 1.0, 1.0), Balanced(1.0, smooth=2.0), EffectiveNumber(0.9, 1.0), Ldam(0.5, 2, 0.9, 1.0)),
    ],
)
def test_slopes_are_the_gradient(loss: Any, number: int) -> None:
    logits, labels = _batch(classes=4)
    logits[0] = torch.tensor([0.0, 30.0, 0.0, 0.0])
    labels[0] = 1  # learnt so well that focal loss stops at NEARLY_0
    counts = torch.tensor([20.0, 7.5, 0.0, 3.0], dtype=torch.float64)
    labels = labels.where(labels != 2, 3)  # a class without photos
    leaf = logits.clone().requires_grad_()
    loss(leaf, labels, counts, number).backward()
    layer = HeadRound(torch.zeros(4, 1), None, loss.slopes(counts, number), np.ones(1, np.float32), Training())
    found = StackedHeads([layer])._slopes(logits[None], labels)[0]
    assert_close(found, leaf.grad, rtol=1e-5, atol=1e-7)


def test_the_table_is_covered() -> None:
    assert {next(iter(knobs)) for knobs in KNOBS} == set(LOSSES)


@pytest.mark.parametrize("knobs", KNOBS, ids=_name)
def test_a_class_without_photos_takes_no_part(knobs: dict[str, Any]) -> None:
    # The loss of three classes equals that without the first and without the last: their logits do not matter.
    loss = _loss(knobs)
    logits, labels = _batch(classes=3)
    counts = torch.tensor([70.0, 3.0, 20.0], dtype=torch.float64)
    wide = torch.cat([torch.full((40, 1), 80.0), logits, torch.full((40, 1), -80.0)], dim=1).requires_grad_()
    expected = loss(logits, labels, counts, 1)
    found = loss(wide, labels + 1, torch.cat([torch.zeros(1), counts, torch.zeros(1)]), 1)
    assert_close(found, expected)
    torch.autograd.backward(found)
    assert wide.grad is not None
    assert wide.grad[:, [0, 4]].count_nonzero() == 0
    assert wide.grad[:, 1:4].isfinite().all() and wide.grad[:, 1:4].count_nonzero() > 100


@pytest.mark.parametrize("knobs", KNOBS, ids=_name)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_gradients_are_finite_however_sure_the_network_is(knobs: dict[str, Any], scale: float) -> None:
    logits, labels = _batch()
    right = torch.where(torch.arange(5) == labels[:, None], 1.0, -1.0)
    counts = torch.tensor([1.0, 1e6, 0.0, 30.0, 7.0], dtype=torch.float64)
    labels = torch.where(labels == 2, 3, labels)
    for outputs in (logits * scale, right * scale, -right * scale):
        outputs = outputs.clone().requires_grad_()
        loss = _loss(knobs)(outputs, labels, counts, 1)
        torch.autograd.backward(loss)
        assert outputs.grad is not None
        assert loss.isfinite() and outputs.grad.isfinite().all()


@pytest.mark.parametrize("knobs", [{}, *KNOBS], ids=_name)
def test_bfloat16_logits_are_computed_on_in_float32(knobs: dict[str, Any]) -> None:
    loss: Loss = _loss(knobs) if knobs else CROSS_ENTROPY
    logits, labels = _batch()
    half = logits.bfloat16()
    counts = torch.tensor([300.0, 50.0, 800.0, 5.0, 90.0], dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(half, labels, counts, 1)
    assert found.dtype == torch.float32
    assert found.shape == ()
    assert found.equal(loss(half.float(), labels, counts, 1))


@pytest.mark.parametrize("knobs", KNOBS, ids=_name)
def test_no_loss_depends_on_the_shift_of_a_photos_logits(knobs: dict[str, Any]) -> None:
    logits, labels = _batch()
    shift = torch.linspace(-20, 20, 40)[:, None]
    assert_close(_loss(knobs)(logits + shift, labels, torch.ones(5), 1), _loss(knobs)(logits, labels, torch.ones(5), 1))


def test_a_narrow_bell_is_a_hard_target() -> None:
    for sigma in (0.01, 1e-200):
        assert _found(Balanced(1, sigma)) == pytest.approx(_found(Balanced(1)))


def test_a_single_class_has_nothing_to_learn() -> None:
    logits = torch.tensor([[3.0, 5.0], [4.0, 0.0]], requires_grad=True)
    for knobs in KNOBS:
        loss = _loss(knobs)(logits, torch.tensor([0, 0]), torch.tensor([9.0, 0.0], dtype=torch.float64), 1)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert float(loss.detach()) == pytest.approx(0)
        assert gradient.abs().max() == 0


# knobs


@pytest.mark.parametrize(
    ("knobs", "text"),
    [
        ({"balanced": 0.5}, "balanced 0.5"),
        ({"balanced": 1, "ordinal": 1.5}, "balanced 1, ordinal 1.5"),
        ({"focal": 2}, "focal 2"),
        ({"effective_number": 0.9999999}, "weights by effective number, beta 0.9999999"),
        ({"balanced": 1, "ordinal": 0, "smooth": 2}, "balanced 1, counts smoothed by 2"),
        ({"effective_number": 0.9, "smooth": 0.5}, "weights by effective number, beta 0.9, counts smoothed by 0.5"),
        ({"ldam": 0.5, "smooth": 1.0}, "LDAM 0.5, counts smoothed by 1"),
        ({"ldam": 0.5}, "LDAM 0.5"),
        ({"ldam": 0.5, "drw": 16}, "LDAM 0.5, weighted from round 16 (beta 0.9999)"),
    ],
)
def test_in_words(knobs: dict[str, Any], text: str) -> None:
    loss = _loss(knobs)
    assert str(loss) == text
    assert loss == _loss(dict(knobs)) and hash(loss) == hash(_loss(dict(knobs)))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"balanced": -0.5}, "balanced: -0.5; give a number, 0 or more"),
        ({"balanced": None}, "balanced: None; give a number, 0 or more"),
        ({"balanced": 1, "ordinal": float("nan")}, "ordinal: nan; give a number, 0 or more"),
        ({"balanced": 1, "smooth": -1}, "smooth: -1; give a number, 0 or more"),
        ({"effective_number": 0.9, "smooth": True}, "smooth: True; give a number, 0 or more"),
        ({"ldam": 0.5, "smooth": "wide"}, "smooth: 'wide'; give a number, 0 or more"),
        ({"focal": 2, "smooth": 1}, "smooth: no knob of focal; it has focal"),
        ({"focal": "2"}, "focal: '2'; give a number, 0 or more"),
        ({"effective_number": 1}, "effective_number: 1; give a share below 1"),
        ({"effective_number": 999}, "effective_number: 999; give a share, 0 to 1"),
        ({"ldam": 0.5, "drw": 1.5}, "drw: 1.5; give 0 for never, or a whole number, 1 or more"),
        ({"ldam": 0.5, "drw": False}, "drw: False; give 0 for never, or a whole number, 1 or more"),
        ({"ldam": 0.5, "beta": 1.0}, "beta: 1; give a share below 1"),
        ({"ldam": 0.5, "gamma": 2}, "gamma: no knob of ldam; it has ldam, drw, beta, smooth"),
    ],
)
def test_wrong_knobs_are_told_in_a_line(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        _loss(knobs)


def test_losses_are_named_and_checked_without_torch() -> None:
    code = "import sys; from rsrl_ray.vision import losses; print(losses.Balanced(0.5, 1.0), 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout == "balanced 0.5, ordinal 1 False\n"
