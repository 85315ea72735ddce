"""What makes classes of logits, by hand and against all that could have been decided."""

import json
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax

from rsrl_ray.core.decisions import (
    Decision,
    HeldOut,
    best_temperature,
    best_temperature_and_prior,
    expected_f,
    log_prior,
    prior_term,
    share_cuts,
)
from rsrl_ray.core.folds import Fold


def test_counts_are_of_the_training_photos() -> None:
    held = HeldOut.of(np.array([0, 2, 2, 1, 0, 3]), Fold(0, np.array([0, 1, 2]), np.array([4]), np.array([3, 5])))
    assert held.counts.tolist() == [1, 0, 2, 0]
    assert (held.places.tolist(), held.labels.tolist(), held.train.tolist()) == ([4], [0], [0, 1, 2])


def test_a_class_without_photos_is_not_moved() -> None:
    np.testing.assert_allclose(log_prior(np.array([3, 0, 1])), [np.log(0.75), 0, np.log(0.25)], rtol=1e-15)


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


# least expected error


def _median(temperature: float, *shares: list[float]) -> list[int]:
    return Decision.of_largest(np.zeros(len(shares[0])), temperature, median=True)(np.log(shares)).tolist()


def test_the_median_is_the_first_class_at_which_half_is_reached() -> None:
    assert _median(1, [0.4, 0.2, 0.4], [0.2, 0.2, 0.6], [0.6, 0.2, 0.2], [0.3, 0.3, 0.4]) == [1, 2, 0, 1]
    assert _median(1, [1, 1]) == [0]  # exactly half
    assert _median(1, [1, 1, 1, 1]) == [1]


def test_the_median_is_of_tempered_and_moved_likelihoods() -> None:
    # Roots of .55, .09, .36 are .74, .3, .6, of which the first is .45.
    assert [_median(temperature, [0.55, 0.09, 0.36]) for temperature in (1, 2)] == [[0], [1]]
    moved = Decision.of_largest(np.log([4.0, 1.0, 1.0]), median=True)  # to .14, .09, .36 of .59
    assert moved(np.log([[0.55, 0.09, 0.36]])).tolist() == [2]


@pytest.mark.parametrize("seed", range(5))
def test_no_class_has_a_lower_expected_error_however_far_apart_scores_are(seed: int) -> None:
    generator = np.random.default_rng(seed)
    likelihoods, scores = generator.dirichlet([1, 1, 0.5, 2], size=50), generator.uniform(0, 9, 4).cumsum()
    errors = likelihoods @ np.abs(np.subtract.outer(scores, scores))
    found = Decision.of_largest(np.zeros(4), median=True)(np.log(likelihoods))
    np.testing.assert_allclose(errors[np.arange(50), found], errors.min(axis=1), rtol=1e-12)
    assert (found != likelihoods.argmax(axis=1)).any()


# shares of classes


def test_cuts_are_quantiles_of_the_expected_scores_at_the_cumulated_shares() -> None:
    # Expected scores 0, .5, 1, 2 in places 0 to 3; shares of .5 and .75 are the places 1.5 and 2.25.
    likelihoods = np.array([[0, 0, 1], [0.5, 0.5, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float64)
    assert share_cuts(likelihoods, np.array([2, 1, 1])).tolist() == [0.75, 1.25]
    assert share_cuts(likelihoods, np.array([200, 100, 100])).tolist() == [0.75, 1.25]


def _cut(cuts: list[float]) -> Decision:
    zeros = np.zeros(len(cuts) + 1)
    return Decision(zeros, 1.0, zeros + 1, zeros, cuts=np.array(cuts))


def test_the_class_is_the_number_of_cuts_below_the_expected_score() -> None:
    likelihoods = np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [0.1, 0.1, 0.8]])  # .75, 1.25, 1.7
    assert _cut([1.0, 1.5])(np.log(likelihoods)).tolist() == [0, 1, 2]
    assert _cut([0.2, 0.3])(np.log(likelihoods)).tolist() == [2, 2, 2]
    even = np.zeros((1, 4))  # an expected score of exactly 1.5
    assert [_cut([0.0, 1.0, third])(even).tolist() for third in (1.25, 1.5, 1.75)] == [[3], [2], [2]]


def test_a_decision_by_shares_gives_each_class_its_share() -> None:
    logits = np.random.default_rng(0).normal(size=(100, 3))
    cuts = share_cuts(Decision.of_largest(np.zeros(3)).probabilities(logits), np.array([500, 300, 200]))
    assert np.bincount(_cut(cuts.tolist())(logits)).tolist() == [50, 30, 20]


def test_a_class_without_training_photos_gets_no_share() -> None:
    likelihoods, counts = np.eye(5)[[1, 1, 3, 3]], np.array([0, 2, 0, 2, 0])
    cuts = share_cuts(likelihoods, counts)
    assert cuts.tolist() == [-1, 2, 2, 5]
    assert _cut(cuts.tolist())(100 * np.eye(5)).tolist() == [1, 1, 1, 3, 3]


# temperature and prior


def test_a_prior_by_hand() -> None:
    counts = np.array([3, 0, 1])
    np.testing.assert_allclose(prior_term(2, counts), 2 * np.log([0.75, 0.25, 0.25]), rtol=1e-15)
    np.testing.assert_allclose(prior_term(-1, counts), -np.log([0.75, 1, 0.25]), rtol=1e-15)
    assert prior_term(0, counts).tolist() == [0, 0, 0]


def test_temperature_and_prior_make_the_likelihoods_shares() -> None:
    # The margin is 1 / T + b ln 9 for the first four photos, of which 3 are right: it is ln 3. It is -1 / T + b ln 9
    # for the others, of which 2 are of each class: it is 0. So 1 / T = ln 3 / 2 and b = 1 / 4.
    logits, labels = np.repeat([[1.0, 0.0], [0.0, 1.0]], 4, axis=0), np.array([0, 0, 0, 1, 0, 0, 1, 1])
    found = best_temperature_and_prior(logits, labels, np.array([90, 10]))
    assert (found.temperature, found.prior_weight) == pytest.approx((2 / np.log(3), 0.25), rel=1e-4)
    # Without anything to see, .9^b is three times .1^b.
    found = best_temperature_and_prior(np.zeros((4, 2)), labels[:4], np.array([90, 10]))
    assert found.prior_weight == pytest.approx(0.5, rel=1e-4)
    # The prior of equal classes is of no use.
    found = best_temperature_and_prior(logits, labels, np.array([50, 50]))
    assert (found.temperature, found.prior_weight) == (pytest.approx(best_temperature(logits, labels)), 0)


def test_bounds_hold() -> None:
    logits, labels = np.repeat([[1.0, 0.0]], 4, axis=0), np.array([0, 0, 0, 0])
    found = best_temperature_and_prior(1000 * logits, 1 - labels, np.array([90, 10]))
    assert (found.temperature, found.prior_weight) == pytest.approx((20, -5), rel=1e-6)


@pytest.mark.parametrize("counts", [[60, 30, 10], [60, 40, 0]])
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_no_temperature_and_prior_of_a_grid_are_better(counts: list[int], scale: float) -> None:
    generator = np.random.default_rng(0)
    labels = generator.choice(3, 60, p=np.array(counts) / 100)
    logits = scale * (generator.normal(size=(60, 3)) + np.eye(3)[labels])

    def loss(temperature: float, weight: float) -> float:
        moved = logits / temperature + prior_term(weight, np.array(counts))
        return -float(log_softmax(moved, axis=1)[np.arange(60), labels].mean())

    found = best_temperature_and_prior(logits, labels, np.array(counts))
    best = min(loss(t, b) for t in np.geomspace(0.05, 20, 60) for b in np.linspace(-5, 5, 101))
    assert best - 0.01 < loss(found.temperature, found.prior_weight) <= best
    assert found == best_temperature_and_prior(logits, labels, np.array(counts))


# written and read

OLD: dict[str, Any] = {"shift": [0.1, -0.2], "temperature": 1.5, "weight": [1.0, 3.0], "offset": [0.0, 0.25]}


def test_an_old_decision_is_read_and_written_as_before() -> None:
    decision = Decision.of_dict(OLD, 2)
    assert json.dumps(decision.as_dict()) == json.dumps(OLD)
    # Margins of -.3 / 1.5 and .7 / 1.5: p = .45, .55 and .61, .39, so .45 against 3 (.55 - .25), and .61 against .4.
    assert decision(np.array([[0.0, 0.0], [1.0, 0.0]])).tolist() == [1, 0]


@pytest.mark.parametrize("more", [{"cuts": [0.3]}, {"median": True}])
def test_a_later_decision_is_read_bit_for_bit(more: dict[str, Any]) -> None:
    decision = Decision.of_dict({**OLD, **more}, 2)
    assert decision.as_dict() == {**OLD, **more}
    logits = np.random.default_rng(0).normal(size=(50, 2))
    again = Decision.of_dict(json.loads(json.dumps(decision.as_dict())), 2)
    np.testing.assert_array_equal(again(logits), decision(logits))
    assert (decision(logits) != Decision.of_dict(OLD, 2)(logits)).any()


@pytest.mark.parametrize("wrong", [{"cuts": [0.3, 0.4]}, {"cuts": 0.3}, {"median": 1}, {"median": True, "cuts": [0.3]}])
def test_a_damaged_decision_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the decision is "):
        Decision.of_dict({**OLD, **wrong}, 2)
