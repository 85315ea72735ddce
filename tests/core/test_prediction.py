"""Classes from the logits of rounds, by hand."""

import re
import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from rsrl_ray.core.decisions import Decision, HeldOut
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.prediction import LARGEST_LOGIT, Prediction, Predictor, averaged
from rsrl_ray.core.value import build

NONE = np.array([], dtype=np.int64)


def _held(counts: list[int], labels: list[int]) -> HeldOut:
    """The photos with these labels, the first of all, are held out; the photos after them are trained on."""
    train = np.arange(len(labels), len(labels) + sum(counts))
    return HeldOut(np.array(counts), np.arange(len(labels)), np.array(labels, dtype=np.int64), train)


# rounds


def test_the_mean_is_of_log_softmax() -> None:
    one, other = np.log([[0.5, 0.25, 0.25]]), np.log([[0.125, 0.5, 0.375]])
    expected = np.log(np.sqrt([[0.5 * 0.125, 0.25 * 0.5, 0.25 * 0.375]]))
    np.testing.assert_allclose(averaged([one + 7, other - 100]), expected, rtol=1e-13)
    np.testing.assert_allclose(averaged([(one + 7).astype(np.float32)]), one, rtol=1e-6)


def test_rounds_are_averaged_one_at_a_time_to_the_bits_of_their_mean() -> None:
    rounds = [np.random.default_rng(number).normal(size=(700, 5)).astype(np.float32) for number in range(40)]
    whole = np.mean([log_softmax(each.astype(np.float64), axis=1) for each in rounds], axis=0)
    tracemalloc.start()
    found = averaged(rounds)
    assert tracemalloc.get_traced_memory()[1] < 10 * whole.nbytes  # and not 80 times as much
    tracemalloc.stop()
    np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize(
    ("average", "expected"),
    [("half", [1, 1, 2, 2, 3, 3]), (1, [1] * 6), (3, [1, 2, 3, 3, 3, 3]), (9, [1, 2, 3, 4, 5, 6])],
)
def test_how_many_rounds_are_averaged(average: int | str, expected: list[int]) -> None:
    assert [list(Prediction(average).rounds(number)) for number in range(1, 7)] == [
        list(range(number - count + 1, number + 1)) for number, count in enumerate(expected, 1)
    ]


# One photo; its rounds prefer the classes 0, 1, 1, 2, 2.
ROUNDS = [
    np.log([row]).astype(np.float32) for row in ([0.9, 0.05, 0.05], *[[0.2, 0.6, 0.2]] * 2, *[[0.1, 0.4, 0.5]] * 2)
]
FOLD = Fold(0, np.array([0]), NONE, NONE)


@pytest.mark.parametrize(
    ("average", "expected"),
    [
        # Products: of 2 and 3 .04, .36, .04; of 3 and 4 .02, .24, .1; of 3 to 5 .002, .096, .05.
        ("half", [0, 1, 1, 1, 1]),
        # Of 1 and 2 .18, .03, .01.
        (2, [0, 0, 1, 1, 2]),
        # Of all: .18, .03, .01; .036, .018, .002; .0036, .0072, .001; .00036, .00288, .0005.
        (5, [0, 0, 0, 1, 1]),
    ],
)
def test_round_after_round(average: int | str, expected: list[int]) -> None:
    predictor = Predictor(Prediction(average), np.array([2]), FOLD)
    found = [predictor(logits) for logits in ROUNDS]
    assert [None if each is None else each.tolist() for each in found] == [[label] for label in expected]
    assert all(each is not None and each.dtype == np.int16 for each in found)


def test_the_rounds_that_are_averaged_need_no_memory() -> None:
    rounds = [np.random.default_rng(number).normal(size=(20_000, 10)).astype(np.float32) for number in range(8)]
    predictor = Predictor(Prediction("half"), np.zeros(20_000, dtype=np.int64), FOLD)
    tracemalloc.start()
    for logits in rounds:
        found = predictor(logits.copy())
    assert tracemalloc.get_traced_memory()[0] < rounds[0].nbytes  # and not four rounds
    tracemalloc.stop()
    assert found is not None
    np.testing.assert_array_equal(found, averaged(rounds[4:]).argmax(axis=1))


def test_the_largest_logit_needs_no_predictor() -> None:
    assert Predictor(LARGEST_LOGIT, np.array([2]), FOLD)(ROUNDS[0]) is None
    assert Prediction(1, 0, "argmax").plain
    assert not Prediction(2).plain


# logit adjustment


@pytest.mark.parametrize(("tau", "expected"), [(0, [0, 0]), (0.5, [0, 0]), (1, [0, 1]), (2.5, [1, 1])])
def test_tau_times_the_log_of_the_prior_is_taken_away(tau: float, expected: list[int]) -> None:
    # p / pi^tau of the second photo: .7 / .894 and .3 / .447, then .7 / .8 and .3 / .2; of the first .95 and .05.
    logits = np.log([[0.95, 0.05], [0.7, 0.3]])
    decision = Prediction(logit_adjustment=tau).learn(logits, _held([80, 20], []))
    assert decision(logits).tolist() == expected
    np.testing.assert_allclose(decision.shift, tau * np.log([0.8, 0.2]), rtol=1e-15)


def test_tau_is_the_smallest_of_the_best_on_the_validation_photos() -> None:
    # Photo 0 stays in its class up to a tau of ln 5 / ln 4 = 1.16, photo 1 comes to its own from ln 2.5 / ln 4 = .66.
    # What the third would like is of no interest: it is no validation photo.
    logits = np.log([[5, 1], [2.5, 1], [1000, 1]])
    prediction = Prediction(logit_adjustment="validation")
    decision = prediction.learn(logits, _held([80, 20], [0, 1]))
    np.testing.assert_allclose(decision.shift, 0.7 * np.log([0.8, 0.2]), rtol=1e-15)
    assert decision(logits).tolist() == [0, 1, 0]
    assert prediction.learn(logits, _held([80, 20], [0, 0])).shift.tolist() == [0, 0]
    assert prediction.learn(logits, _held([50, 50], [0, 1])).shift.tolist() == [0, 0]


# expected F


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("labels", [[0], [1, 1, 1, 1], [0, 1, 2, 3, 3, 3, 3]])
def test_decisions_are_finite_however_sure_the_network_is(scale: float, labels: list[int]) -> None:
    logits = np.random.default_rng(0).normal(size=(40, 4)) * scale
    for prior in ("none", "validation"):
        prediction = Prediction(2, "validation", "expected_f", prior)
        _assert_finite(prediction.learn(averaged([logits]), _held([90, 5, 0, 5], labels)))


def _assert_finite(decision: Decision) -> None:
    assert np.isfinite([*decision.shift, decision.temperature, *decision.weight, *decision.offset]).all()
    assert (decision.weight > 0).all()
    assert (decision.offset >= 0).all()
    assert decision.temperature > 0


def test_the_decision_by_expected_f_is_one_of_calibrated_likelihoods() -> None:
    # Logits of twice the scale are the same photos to a network that is twice as sure.
    generator = np.random.default_rng(1)
    logits, labels = averaged([generator.normal(size=(60, 3))]), generator.integers(0, 3, 30).tolist()
    logits[np.arange(30), labels] += 1
    prediction, held = Prediction(decision="expected_f"), _held([80, 15, 5], labels)
    one, other = prediction.learn(logits, held), prediction.learn(2 * logits, held)
    assert other.temperature == pytest.approx(2 * one.temperature, rel=1e-3)
    np.testing.assert_array_equal(one(logits), other(2 * logits))
    assert (one(logits) != logits.argmax(axis=1)).any()


# least expected error

UNSURE = np.log([0.55, 0.09, 0.36])  # the median of these is class 0; of their roots .74, .3, .6 it is 1


def test_the_median_is_of_likelihoods_at_the_temperature_of_validation_photos() -> None:
    # Of four photos with a margin of 2 ln 3, three are right: sigmoid(2 ln 3 / T) = 3 / 4 at T = 2.
    logits = np.array([[2 * np.log(3), 0, -1000]] * 4 + [UNSURE])
    decision = Prediction(decision="expected_error").learn(logits, _held([50, 30, 20], [0, 0, 0, 1]))
    assert decision.temperature == pytest.approx(2, rel=1e-3)
    assert decision(logits).tolist() == [0, 0, 0, 0, 1]
    assert decision.median and decision.cuts is None


def test_without_validation_photos_the_median_is_of_the_softmax() -> None:
    logits = np.array([UNSURE, np.log([0.4, 0.2, 0.4])])
    prediction = Prediction(decision="expected_error", prior="validation", guard=True)
    decision = prediction.learn(logits, _held([50, 30, 20], []))
    assert (decision.temperature, decision.shift.tolist()) == (1, [0, 0, 0])
    assert decision(logits).tolist() == [0, 1]


# shares

EXPECTED = [0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 0.8, 0.7, 0.6, 0.5]  # scores of two classes, of ten photos


@pytest.mark.parametrize(
    ("held", "cut"),
    [
        # .1 to .5 are validation photos: three quarters of the way is .4.
        (HeldOut(np.array([3, 1]), np.arange(5), np.ones(5, dtype=np.int64), np.arange(5, 9)), 0.4),
        # There are none, and .9 to .6 are training photos: .6 + 2.25 * .1.
        (HeldOut(np.array([3, 1]), NONE, NONE, np.arange(5, 9)), 0.825),
    ],
)
def test_shares_are_cut_at_validation_photos_or_else_at_training_photos(held: HeldOut, cut: float) -> None:
    logits = np.log(np.stack([1 - np.array(EXPECTED), EXPECTED], axis=1))
    decision = Prediction(decision="shares").learn(logits, held)
    assert decision.cuts is not None
    np.testing.assert_allclose(decision.cuts, [cut], rtol=1e-12)
    expected = [score > cut + 1e-9 for score in EXPECTED]
    place = EXPECTED.index(0.4)  # is the cut itself, up to the last bit
    assert np.delete(decision(logits), place).tolist() == np.delete(expected, place).tolist()
    others = logits.copy()
    others[9] = [0, 50]  # a test photo
    np.testing.assert_array_equal(Prediction(decision="shares").learn(others, held).cuts, decision.cuts)


def test_shares_are_of_adjusted_logits() -> None:
    logits, held = np.log([[0.8, 0.2], [0.5, 0.5]]), _held([80, 20], [0, 1])
    decision = Prediction(logit_adjustment=1, decision="shares").learn(logits, held)
    # Divided by .8 and .2 they are even, and .2 to .8. The cut is four fifths of the way from .5 to .8.
    assert decision.cuts == pytest.approx([0.74])


# prior and guard


@pytest.mark.parametrize("tau", [0, 1])
@pytest.mark.parametrize("decision", ["expected_f", "expected_error"])
def test_a_prior_is_fitted_with_the_temperature(decision: str, tau: float) -> None:
    # See `test_temperature_and_prior_make_the_likelihoods_shares`. What tau has taken away, the prior gives back.
    logits = np.repeat([[1.0, 0.0], [0.0, 1.0]], 4, axis=0)
    held = _held([90, 10], [0, 0, 0, 1, 0, 0, 1, 1])
    found = Prediction(1, tau, decision, "validation").learn(logits, held)
    assert found.temperature == pytest.approx(2 / np.log(3), rel=1e-3)
    np.testing.assert_allclose(found.shift, -0.5 / np.log(3) * np.log([0.9, 0.1]), rtol=2e-3)
    np.testing.assert_allclose(found.probabilities(logits[3:5]), [[0.75, 0.25], [0.5, 0.5]], rtol=1e-3)
    assert found.median == (decision == "expected_error")
    assert (found.weight.tolist() != [1, 1]) == (decision == "expected_f")


# Ten photos with a margin of 2, ten with a margin of 1. The calibrated likelihoods are lower for the second ten, so the
# expected-F decision gives these to class 1.
MARGINS = np.repeat([[2.0, 0.0], [1.0, 0.0]], 10, axis=0)


@pytest.mark.parametrize(
    ("first", "second", "keeps"),
    [
        # F of class 0 and 1: 12 / 25 and 2 / 15. With the argmax they are 30 / 35 and 0, which is more.
        (4, 1, False),
        # 18 / 25 and 8 / 15 are more than 30 / 35 and 0.
        (1, 4, True),
    ],
)
def test_the_guard_keeps_the_argmax_if_validation_is_worse(first: int, second: int, keeps: bool) -> None:
    """``first``, ``second``: photos of class 1 of the first ten and of the second ten."""
    labels = [0] * (10 - first) + [1] * first + [0] * (10 - second) + [1] * second
    bare, guarded = (Prediction(decision="expected_f", guard=guard) for guard in (False, True))
    assert bare.learn(MARGINS, _held([75, 25], labels))(MARGINS).tolist() == [0] * 10 + [1] * 10
    found = guarded.learn(MARGINS, _held([75, 25], labels))
    assert found(MARGINS).tolist() == [0] * 10 + [1] * 10 * keeps + [0] * 10 * (not keeps)
    assert (found.temperature == 1) != keeps


def test_a_decision_that_is_as_good_as_the_argmax_is_kept() -> None:
    logits, held = np.array([[2.0, 0.0]] * 3 + [[0.0, 2.0]]), _held([75, 25], [0, 0, 0, 1])
    found = Prediction(decision="expected_f", guard=True).learn(logits, held)
    assert found(logits).tolist() == [0, 0, 0, 1]
    assert found.weight.tolist() != [1, 1]


@pytest.mark.parametrize(
    ("labels", "guarded"),
    [
        ([0, 0, 0, 1, 2], 0),  # in class 1 the errors add up to 4, in class 0 to 3
        ([0, 0, 1, 2, 2], 1),  # to 4 and 5; macro F would prefer class 0: 4 / 7 against 2 / 6
    ],
)
def test_the_guard_of_the_median_looks_at_the_error(labels: list[int], guarded: int) -> None:
    # Four of five photos are in one of the likelier classes, so at T = 1 / ln 2 the likelihoods are .4, .2, .4.
    logits, held = np.array([[1.0, 0.0, 1.0]] * 5), _held([60, 20, 20], labels)
    bare, safe = (Prediction(decision="expected_error", guard=guard).learn(logits, held) for guard in (False, True))
    assert bare.temperature == pytest.approx(1 / np.log(2), rel=1e-3)
    assert (bare(logits).tolist(), safe(logits).tolist()) == ([1] * 5, [guarded] * 5)


# all together


@pytest.mark.parametrize(
    "decision",
    [
        {"decision": "argmax"},
        {"decision": "expected_f"},
        {"decision": "expected_f", "prior": "validation", "guard": True},
        {"decision": "expected_error"},
        {"decision": "expected_error", "prior": "validation"},
        {"decision": "shares"},
    ],
    ids=str,
)
@pytest.mark.parametrize("tau", [0.0, 1.0, "validation"])
def test_a_decision_is_of_one_photo_and_learns_from_validation_photos_alone(
    tau: float | str, decision: dict[str, Any]
) -> None:
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 3, 50)
    fold = Fold(0, np.arange(20), np.arange(20, 35), np.arange(35, 50))
    logits = generator.normal(size=(50, 3)).astype(np.float32)
    prediction = Prediction("half", tau, **decision)
    found = Predictor(prediction, labels, fold)(logits)
    others = logits.copy()
    others[fold.test] = 5 * others[fold.test][::-1]
    others[fold.train] = 0
    again = Predictor(prediction, labels, fold)(others)
    assert found is not None and again is not None
    np.testing.assert_array_equal(again[fold.validation], found[fold.validation])
    learnt = prediction.learn(averaged([logits]), HeldOut.of(labels, fold))
    np.testing.assert_array_equal(learnt(averaged([logits[7:9]])), found[7:9])


@pytest.mark.parametrize("decision", ["argmax", "expected_f"])
@pytest.mark.parametrize(("tau", "expected"), [(1.0, [0, 1]), ("validation", [0, 0])])
def test_without_validation_photos_nothing_is_learnt(tau: float | str, expected: list[int], decision: str) -> None:
    logits = np.log([[0.95, 0.05], [0.7, 0.3]])
    found = Prediction(2, tau, decision).learn(logits, _held([80, 20], []))
    assert found(logits).tolist() == expected


# knobs


@pytest.mark.parametrize(
    ("knobs", "text", "learns"),
    [
        ({}, "argmax", False),
        ({"average": 1, "logit_adjustment": 0}, "argmax", False),
        ({"average": "half"}, "mean of the last half of the rounds", False),
        ({"average": 3, "logit_adjustment": 1}, "mean of 3 rounds, logit adjustment 1", False),
        ({"logit_adjustment": 1.0}, "logit adjustment 1", False),
        ({"logit_adjustment": "validation"}, "logit adjustment validation", True),
        ({"decision": "expected_f"}, "expected-F decision", True),
        ({"decision": "expected_f", "prior": "none", "guard": False}, "expected-F decision", True),
        (
            {"decision": "expected_f", "prior": "validation", "guard": True},
            "expected-F decision (prior: validation, guard: true)",
            True,
        ),
        (
            {"average": "half", "decision": "expected_error", "guard": True},
            "mean of the last half of the rounds, decision of least expected error (guard: true)",
            True,
        ),
        ({"decision": "shares"}, "decision by class shares", True),
    ],
)
def test_in_words(knobs: dict[str, Any], text: str, learns: bool) -> None:
    prediction = build(Prediction, knobs, "predict")
    assert (str(prediction), prediction.learns) == (text, learns)
    assert prediction.plain == (text == "argmax")


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"average": 0}, "average: 0; give half or a whole number, 1 or more"),
        ({"average": "third"}, "average: 'third'; give half or a whole number, 1 or more"),
        ({"average": 2.0}, "average: 2.0; give half or a whole number, 1 or more"),
        ({"average": True}, "average: True; give half or a whole number, 1 or more"),
        ({"logit_adjustment": -1}, "logit_adjustment: -1; give validation or a number, 0 or more"),
        ({"logit_adjustment": None}, "logit_adjustment: None; give validation or a number, 0 or more"),
        ({"decision": "f"}, "decision: 'f'; give one of argmax, expected_f, expected_error, shares"),
        ({"decision": "expected_f", "prior": "train"}, "prior: 'train'; give one of none, validation"),
        ({"decision": "expected_f", "guard": 1}, "guard: 1; give true or false"),
        (
            {"prior": "validation"},
            "prior: validation: of no use with decision: argmax; leave it out, or give decision: expected_f or "
            "expected_error",
        ),
        (
            {"decision": "shares", "prior": "validation", "guard": True},
            "prior: validation and guard: true: of no use with decision: shares; leave it out, or give decision: "
            "expected_f or expected_error",
        ),
        ({"tau": 1}, "tau: no knob of predict; it has average, logit_adjustment, decision, prior, guard"),
    ],
)
def test_wrong_knobs_are_told_in_a_line(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        build(Prediction, knobs, "predict")
