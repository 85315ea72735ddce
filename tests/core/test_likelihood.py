"""Likelihoods of logits, by hand."""

import numpy as np
import pytest

from rsrl_ray.core.likelihood import Membership, likelihood, log_shares, self_confidence

MEMBERSHIPS: tuple[Membership, ...] = ("sigmoid", "centred", "softmax")


def test_sigmoid_of_each_output_by_itself() -> None:
    logits = np.array([[np.log(9), 0.0, -np.log(9)], [np.log(3), np.log(3), np.log(3)]])
    np.testing.assert_allclose(likelihood(logits), [[0.9, 0.5, 0.1], [0.75, 0.75, 0.75]], rtol=1e-15)


def test_centred_takes_the_mean_of_each_photo_away() -> None:
    logits = np.array([[5 + np.log(9), 5.0, 5 - np.log(9)], [-100.0, -100.0, -100.0]])
    np.testing.assert_allclose(likelihood(logits, "centred"), [[0.9, 0.5, 0.1], [0.5, 0.5, 0.5]], rtol=1e-14)


def test_softmax_makes_the_classes_share_one() -> None:
    logits = np.log([[1.0, 2.0, 5.0], [4.0, 4.0, 8.0]]) + np.array([[0.0], [300.0]])
    expected = [[1 / 8, 2 / 8, 5 / 8], [1 / 4, 1 / 4, 1 / 2]]
    np.testing.assert_allclose(likelihood(logits, "softmax"), expected, rtol=1e-12)


@pytest.mark.parametrize("membership", MEMBERSHIPS)
def test_large_outputs_neither_overflow_nor_lose_float64(membership: Membership) -> None:
    found = likelihood(np.array([[3000.0, -3000.0]], dtype=np.float32), membership)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[1.0, 0.0]])


@pytest.mark.parametrize("membership", MEMBERSHIPS)
def test_bits_depend_neither_on_memory_order_nor_on_the_other_photos(membership: Membership) -> None:
    # A table read back holds its columns one by one, a network's outputs come row by row, a fold is a part of them.
    logits = (np.random.default_rng(0).normal(size=(500, 9)) * 4).astype(np.float32)
    expected = likelihood(logits, membership)
    np.testing.assert_array_equal(likelihood(np.asfortranarray(logits), membership), expected)
    np.testing.assert_array_equal(likelihood(logits[3::7], membership), expected[3::7])


def test_self_confidence_is_the_likelihood_at_the_own_label() -> None:
    likelihoods = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])
    assert self_confidence(likelihoods, np.array([2, 0, 1])).tolist() == [0.3, 0.4, 0.8]


def test_log_shares_are_finite_where_the_softmax_is_zero() -> None:
    found = log_shares(np.array([[0.0, 3000.0], [np.log(3), 0.0]], dtype=np.float32))
    np.testing.assert_array_equal(found[0], [-3000.0, 0.0])
    np.testing.assert_allclose(found[1], np.log([0.75, 0.25]), rtol=1e-7)
    assert found.dtype == np.float64


def test_bits_of_log_shares_depend_neither_on_memory_order_nor_on_the_other_photos() -> None:
    logits = (np.random.default_rng(0).normal(size=(500, 9)) * 4).astype(np.float32)
    expected = log_shares(logits)
    np.testing.assert_array_equal(log_shares(np.asfortranarray(logits)), expected)
    np.testing.assert_array_equal(log_shares(logits[3::7]), expected[3::7])
