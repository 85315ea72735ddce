"""Classes from the logits of rounds, by hand and against all that could have been decided."""

import re
import tracemalloc
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax

from rsrl_ray.core.folds import Fold
from rsrl_ray.core.prediction import (
    LARGEST_LOGIT,
    Decision,
    HeldOut,
    Prediction,
    Predictor,
    averaged,
    best_temperature,
    expected_f,
    log_prior,
)
from rsrl_ray.core.value import build

NONE = np.array([], dtype=np.int64)


def _held(counts: list[int], labels: list[int]) -> HeldOut:
    """The photos with these labels, the first of all, are held out."""
    return HeldOut(np.array(counts), np.arange(len(labels)), np.array(labels, dtype=np.int64))


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


def test_a_class_without_photos_is_not_moved() -> None:
    np.testing.assert_allclose(log_prior(np.array([3, 0, 1])), [np.log(0.75), 0, np.log(0.25)], rtol=1e-15)


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


@pytest.mark.parametrize(
    ("right", "expected"),
    [(3, 1 / np.log(3)), (4, 0.05), (2, 20), (0, 20)],  # sigmoid(1 / T) is the share of 4 photos that are right
)
def test_the_temperature_makes_the_likelihoods_shares(right: int, expected: float) -> None:
    logits = np.tile([1.0, 0.0], (4, 1))
    labels = (np.arange(4) >= right).astype(np.int64)
    assert best_temperature(logits, labels) == pytest.approx(expected, rel=1e-3)


def test_a_rare_class_gets_the_photos_that_it_gains_most_from() -> None:
    # N = 2.1, .9. By p / N the last two photos go to class 1: TP = .9, .8, m = 1, 2, F = 1.8 / 3.1, 1.6 / 2.9. There is
    # nothing better: all photos in class 0 give 4.2 / 5.1 and 0. So the first weights remain.
    weight, offset = expected_f(np.array([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4]]))
    np.testing.assert_allclose(weight, [1 / 2.1, 1 / 0.9], rtol=1e-15)
    assert offset.tolist() == [0, 0]


def test_the_second_weights_by_hand() -> None:
    likelihoods = np.array([[0.95, 0.05], [0.75, 0.25], [0.8, 0.2]])
    # N = 2.5, .5 and w = .4, 2: the scores are .38, .1; .3, .5; .32, .4. TP = .95, .45, m = 1, 2, F = 1.9 / 3.5 and
    # .9 / 2.5: mean .451. Then w = .28 + .3 / 3.5, 1.4 + .3 / 2.5 = .3657, 1.52 and t = .3 F / 2 = .0814, .054: scores
    # of .318, -.006; .2445, .298; .2628, .2219. TP = 1.75, .25, m = 2, 1, F = 3.5 / 4.5, .5 / 1.5: mean .556, and no
    # assignment has a better one.
    weight, offset = expected_f(likelihoods)
    np.testing.assert_allclose(weight, [0.28 + 0.3 / 3.5, 1.4 + 0.3 / 2.5], rtol=1e-14)
    np.testing.assert_allclose(offset, [0.3 * 0.95 / 3.5, 0.3 * 0.45 / 2.5], rtol=1e-14)
    assert _best(likelihoods) == pytest.approx((3.5 / 4.5 + 0.5 / 1.5) / 2)


def _mean_f(likelihoods: NDArray[np.float64], assigned: Any) -> float:
    """Mean of 2 TP / (N + m), expected."""
    classes = range(likelihoods.shape[1])
    one = np.array(assigned)[:, None] == list(classes)
    return float(np.mean(2 * (likelihoods * one).sum(axis=0) / (likelihoods.sum(axis=0) + one.sum(axis=0))))


def _best(likelihoods: NDArray[np.float64]) -> float:
    """Over all assignments."""
    every = product(range(likelihoods.shape[1]), repeat=len(likelihoods))
    return max(_mean_f(likelihoods, assigned) for assigned in every)


@pytest.mark.parametrize("seed", range(20))
def test_hardly_any_assignment_is_better(seed: int) -> None:
    generator = np.random.default_rng(seed)
    likelihoods = generator.dirichlet([3, 1, 0.4], size=7)
    weight, offset = expected_f(likelihoods)
    found = _mean_f(likelihoods, (weight * (likelihoods - offset)).argmax(axis=1))
    assert found > _mean_f(likelihoods, likelihoods.argmax(axis=1)) - 1e-12
    assert found > 0.95 * _best(likelihoods)


def test_a_class_that_no_photo_can_be_of_is_never_decided_on() -> None:
    generator = np.random.default_rng(0)
    likelihoods = np.column_stack([generator.dirichlet([2, 2], size=50), np.zeros(50)])
    weight, offset = expected_f(likelihoods)
    assert np.isfinite(weight).all() and (weight > 0).all()
    unsure = np.log([[0.34, 0.33, 0.33], [1e-9, 1e-9, 1.0]])  # below both other classes' offsets
    assert 2 not in Decision(np.zeros(3), 1.0, weight, offset)(unsure)
    np.testing.assert_allclose(expected_f(likelihoods[:, :2]), (weight[:2], offset[:2]), rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("labels", [[0], [1, 1, 1, 1], [0, 1, 2, 3, 3, 3, 3]])
def test_decisions_are_finite_however_sure_the_network_is(scale: float, labels: list[int]) -> None:
    logits = np.random.default_rng(0).normal(size=(40, 4)) * scale
    decision = Prediction(2, "validation", "expected_f").learn(averaged([logits]), _held([90, 5, 0, 5], labels))
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


# all together


@pytest.mark.parametrize("decision", ["argmax", "expected_f"])
@pytest.mark.parametrize("tau", [0.0, 1.0, "validation"])
def test_a_decision_is_of_one_photo_and_learns_from_validation_photos_alone(tau: float | str, decision: str) -> None:
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 3, 50)
    fold = Fold(0, np.arange(20), np.arange(20, 35), np.arange(35, 50))
    logits = generator.normal(size=(50, 3)).astype(np.float32)
    prediction = Prediction("half", tau, decision)
    found = Predictor(prediction, labels, fold)(logits)
    others = logits.copy()
    others[fold.test] = 5 * others[fold.test][::-1]
    others[fold.train] = 0
    again = Predictor(prediction, labels, fold)(others)
    assert found is not None and again is not None
    np.testing.assert_array_equal(again[fold.validation], found[fold.validation])
    learnt = prediction.learn(averaged([logits]), HeldOut.of(labels, fold))
    np.testing.assert_array_equal(learnt(averaged([logits[7:9]])), found[7:9])


def test_counts_are_of_the_training_photos() -> None:
    held = HeldOut.of(np.array([0, 2, 2, 1, 0, 3]), Fold(0, np.array([0, 1, 2]), np.array([4]), np.array([3, 5])))
    assert held.counts.tolist() == [1, 0, 2, 0]
    assert (held.places.tolist(), held.labels.tolist()) == ([4], [0])


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
        ({"decision": "f"}, "decision: 'f'; give one of argmax, expected_f"),
        ({"tau": 1}, "tau: no knob of predict; it has average, logit_adjustment, decision"),
    ],
)
def test_wrong_knobs_are_told_in_a_line(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        build(Prediction, knobs, "predict")
