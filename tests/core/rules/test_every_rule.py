"""What holds for every rule of the table, whatever it drops."""

import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from core.rules.judged import judged

from rsrl_ray.core.revision import revise
from rsrl_ray.core.rules.keep import Keep
from rsrl_ray.core.rules.rule import KEEPS, Rule, Seen
from rsrl_ray.core.rules.table import RULES
from rsrl_ray.core.schedule import make_schedule
from rsrl_ray.core.value import make

KNOBS: list[dict[str, Any]] = [
    {"thresholds": make_schedule({1: 0.5, 3: [0.6, 0.5, 0.4]})},
    {"thresholds": make_schedule({1: 0.5}), "pick": "random"},
    {"thresholds": make_schedule({1: 0.5}), "pick": "most_likely"},
    {"random": 0.3},
    {"quantile": 0.3},
    {"quantile": 0.3, "likelihood": "mean"},
    {"margin": 0.5},
    {"disagreement": 1},
    {"disagreement": 3},
    {"imposters": 0.3},
    {"lowest_loss": 0.7},
    {"edited_neighbours": 3},
    {"edited_neighbours": 4, "ordered": True},
    {"mixture": 0.5},
    {"quota": 1.5},
    {"quota": 1.5, "pick": "random"},
    {"soft": 0.9},
    {"soft": 0.5, "power": 2.0, "likelihood": "mean"},
]
BY_THEIR_OWN = {"disagreement", "edited_neighbours", "mixture", "quota", "soft"}  # these have no share that may be all
STEADY = {"edited_neighbours", "soft"}  # these drop the same photos after every round, or none
GREEDY: list[dict[str, Any]] = [
    {"thresholds": make_schedule({1: 1.0})},
    {"thresholds": make_schedule({1: 1.0}), "pick": "random"},
    {"thresholds": make_schedule({1: 1.0}), "pick": "most_likely"},
    {"random": 1},
    {"quantile": 1},
    {"margin": 1e6},
    {"imposters": 1, "smallest": 1},
    {"lowest_loss": 0},
]
IDLE: list[dict[str, Any]] = [
    {"thresholds": make_schedule({1: 0.0})},
    {"thresholds": make_schedule({6: 0.9}), "pick": "random"},
    {"random": 0},
    {"quantile": 0.0, "likelihood": "mean"},
    {"disagreement": 2, "start": 6},
    {"imposters": 0},
    {"lowest_loss": 1.0},
    {"mixture": 1},
]
SIZES = (40, 12, 30, 25, 3)  # of class 3 is the third largest, class 4 has fewer photos than the guard keeps
SEEDS = range(5)


def _name(knobs: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in knobs.items())


def _rule(knobs: dict[str, Any]) -> Rule:
    return make(knobs, RULES, "rule")


def _seen(seed: int, rounds: int = 1, sizes: tuple[int, ...] = SIZES, **other: Any) -> Seen:
    """Photos in random order. Every round knows the labels of four in five; the features know a little of all."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    own = np.arange(len(sizes)) == labels[:, None]
    known = np.where(np.arange(len(labels)) % 5 == 0, -6, 4)[:, None]
    logits = [(generator.normal(size=own.shape) * 2 + own * known).astype(np.float32) for _ in range(rounds)]
    features = (generator.normal(size=own.shape) + own).astype(np.float32)
    return judged(labels, *logits, stream=(seed, 0), features_of=lambda: features, **other)


def test_the_table_is_covered() -> None:
    assert {next(iter(knobs)) for knobs in KNOBS} == set(RULES)
    assert {next(iter(knobs)) for knobs in GREEDY} == set(RULES) - BY_THEIR_OWN


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("min_kept", [0.0, 0.01, 0.4, 1.0])
@pytest.mark.parametrize("knobs", KNOBS + GREEDY, ids=_name)
def test_the_guard_holds(knobs: dict[str, Any], min_kept: float, seed: int) -> None:
    seen = _seen(seed, 3, min_kept=min_kept)
    revision = revise(_rule(knobs), seen)
    for label, size in enumerate(SIZES):
        stay = int(revision.kept[seen.labels == label].sum())
        assert stay >= max(min(size, 5), math.ceil(min_kept * size))
        assert revision.counts[label] == (size, size - stay)


@pytest.mark.parametrize("knobs", GREEDY, ids=_name)
def test_a_class_never_goes_as_a_whole(knobs: dict[str, Any]) -> None:
    seen = _seen(0)
    if "imposters" in knobs:
        seen = replace(seen, logits=[np.tile([0.0, 100.0, 0.0, 0.0, 0.0], (110, 1))])
    revision = revise(_rule(knobs), seen)
    dropped = [count for _, count in revision.counts]
    small = 12 - 5 if "lowest_loss" in knobs else 0
    assert dropped == [35, small, 25, 20, 0]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("knobs", KNOBS, ids=_name)
def test_photos_are_dropped_or_weighed_of_majority_classes_only(knobs: dict[str, Any], seed: int) -> None:
    seen = _seen(seed, 3)
    rule = _rule(knobs)
    drops = rule.weights(seen) < 1
    assert drops.any()
    assert drops[~np.isin(seen.labels, [0, 2, 3])].any() == ("lowest_loss" in knobs)
    np.testing.assert_array_equal(rule.drops(seen), rule.weights(seen) == 0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("knobs", [knobs for knobs in KNOBS if not STEADY & set(knobs)], ids=_name)
def test_photos_that_were_dropped_can_come_back(knobs: dict[str, Any], seed: int) -> None:
    rule, first = _rule(knobs), _seen(seed)
    kept = revise(rule, first).kept
    own = np.arange(5) == first.labels[:, None]
    returned = 0
    for others in (
        9.0,
        -9.0,
    ):  # the next network is sure of those dropped; of the others it is nearly so, or not at all
        logits = np.where(own, np.where(kept, others, 10.0)[:, None], 0.0).astype(np.float32)
        seen = replace(first, revision=2, logits=[*first.logits, logits], kept=kept)
        returned += (revise(rule, seen).kept & ~kept).sum()
    assert returned > 0


@pytest.mark.parametrize("knobs", [*KNOBS, *IDLE, {}], ids=_name)
def test_a_rule_is_its_knobs_under_whatever_name(knobs: dict[str, Any]) -> None:
    one, other = (_rule(dict(knobs)) if knobs else Keep() for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert str(one) == str(other) != ""
    for revision in (1, 2, 3):
        assert one.at(revision) == other.at(revision)
        seen = _seen(revision, revision)
        np.testing.assert_array_equal(revise(one, seen).kept, revise(other, seen).kept)
        np.testing.assert_array_equal(revise(one, seen).weights, revise(other, seen).weights)


@pytest.mark.parametrize("knobs", KNOBS, ids=_name)
def test_random_numbers_depend_on_seed_fold_and_revision(knobs: dict[str, Any]) -> None:
    rule, seen = _rule(knobs), _seen(0, 2)
    draws = "random" in knobs.values() or "random" in knobs
    base = revise(rule, seen).kept
    others = [replace(seen, stream=(1, 0)), replace(seen, stream=(0, 1)), replace(seen, revision=1)]
    for other in others:
        assert (revise(rule, other).kept != base).any() == draws
    np.testing.assert_array_equal(revise(rule, replace(seen)).kept, base)


@pytest.mark.parametrize("knobs", KNOBS, ids=_name)
def test_what_a_rule_decides_depends_neither_on_memory_order_nor_does_it_change_what_it_sees(
    knobs: dict[str, Any],
) -> None:
    rule, seen = _rule(knobs), _seen(0, 3)
    before = [logits.copy() for logits in seen.logits]
    revision = revise(rule, seen)
    by_column = replace(seen, logits=[np.asfortranarray(logits) for logits in seen.logits])
    np.testing.assert_array_equal(revise(rule, by_column).kept, revision.kept)
    np.testing.assert_array_equal(revise(rule, by_column).weights, revision.weights)
    np.testing.assert_array_equal(seen.logits, before)
    assert seen.kept.all()


@pytest.mark.parametrize("knobs", KNOBS + GREEDY, ids=_name)
@pytest.mark.parametrize("sizes", [(1,), (9,), (3, 0, 20), (2, 2), (0, 0, 0, 7)])
def test_few_classes_and_few_photos(knobs: dict[str, Any], sizes: tuple[int, ...]) -> None:
    steps = knobs.get("thresholds")
    rule, seen = _rule(knobs), _seen(0, 2, sizes, majority=np.arange(len(sizes))[:3])
    if steps is not None:
        rule = _rule(knobs | {"thresholds": make_schedule({1: steps.thresholds(1)[0]}, len(seen.majority))})
    revision = revise(rule, seen)
    assert [size for size, _ in revision.counts] == list(sizes)
    assert all(size - dropped >= min(size, 5) for size, dropped in revision.counts)


@pytest.mark.parametrize("knobs", IDLE, ids=_name)
def test_a_rule_that_drops_nothing_is_as_good_as_none(knobs: dict[str, Any]) -> None:
    rule = _rule(knobs)
    for revision in (1, 2, 3, 4, 5):
        assert rule.at(revision) == KEEPS == Keep().at(revision)
        assert not rule.drops(_seen(revision, revision)).any()


def test_rules_that_do_the_same_so_far_drop_the_same() -> None:
    rules = [_rule(knobs) for knobs in KNOBS + GREEDY + IDLE]
    rules += [_rule({"disagreement": k, "start": start}) for k in (1, 2, 3) for start in (1, 2, 3)]
    rules += [_rule({"thresholds": make_schedule({1: 0.5, 2: k}), "pick": "random"}) for k in (0.5, 0.6)]
    rules += [Keep(), _rule({"quantile": 0.3000001}), _rule({"lowest_loss": 0.3}), _rule({"margin": 0.3})]
    shared = 0
    for revision in (1, 2, 3):
        seen = _seen(7, revision)
        for one, other in combinations(rules, 2):
            if one.at(revision) == other.at(revision):
                assert hash(one.at(revision)) == hash(other.at(revision))
                np.testing.assert_array_equal(one.drops(seen), other.drops(seen))
                shared += one.at(revision) != KEEPS
    assert shared
