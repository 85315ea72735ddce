"""The method with a learner that reads a table of logits."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from rsrl_ray import config
from rsrl_ray.core.arrays import MaskOrWeights, mask_of
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.likelihood import likelihood
from rsrl_ray.core.rules.rule import Rule, Seen
from rsrl_ray.core.rules.soft import Soft
from rsrl_ray.core.rules.thresholds import Thresholds
from rsrl_ray.core.schedule import make_schedule
from rsrl_ray.rounds.loop import Plan, RoundResult, run_rounds

# Photos 0 to 8 are of class 0, 9 to 16 of class 1. 7 and 6 of them are training photos.
LABELS = np.array([0] * 9 + [1] * 8)
FOLD = Fold(0, np.array([0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14]), np.array([7]), np.array([8, 15, 16]))
TRAIN = FOLD.train.tolist()
LARGEST = config.Revision(majority_classes=1)


@dataclass
class TableLearner:
    """Network ``i`` has the logits ``tables[i - 1]``, whatever it is trained on."""

    tables: list[NDArray[np.float32]]
    trained: list[tuple[int, list[int]]] = field(default_factory=list)

    def learn(self, number: int, kept: NDArray[np.bool_]) -> NDArray[np.float32]:
        self.trained.append((number, np.flatnonzero(kept).tolist()))
        return self.tables[number - 1]


def _logits(*unlike: int, labels: NDArray[np.int64] = LABELS) -> NDArray[np.float32]:
    """Logits [N, 3] whose likelihood at the label is 0.9, or 0.1 for the photos in ``unlike``."""
    table = np.zeros((len(labels), 3), dtype=np.float32)
    table[np.arange(len(labels)), labels] = np.log(9)
    table[list(unlike), labels[list(unlike)]] = -np.log(9)
    return table


def _run(
    tables: list[NDArray[np.float32]],
    steps: dict[int, float | list[float]],
    settings: config.Revision = LARGEST,
    fold: Fold = FOLD,
    labels: NDArray[np.int64] = LABELS,
) -> tuple[list[RoundResult], TableLearner]:
    learner = TableLearner(tables)
    rule = Thresholds(make_schedule(steps, settings.majority_classes))
    return list(run_rounds(learner, labels, fold, rule, Plan(len(tables), settings))), learner


def _without(*photos: int) -> list[int]:
    return [photo for photo in TRAIN if photo not in photos]


def _photos(mask: NDArray[np.bool_]) -> list[int]:
    return np.flatnonzero(mask).tolist()


def test_a_dropped_photo_comes_back_when_a_later_network_finds_it_like_its_label() -> None:
    results, learner = _run([_logits(0, 3), _logits(3, 5), _logits(), _logits()], {1: 0.5})
    assert learner.trained == [(1, TRAIN), (2, _without(0, 3)), (3, _without(3, 5)), (4, TRAIN)]
    assert [result.number for result in results] == [1, 2, 3, 4]
    assert [_photos(result.kept) for result in results] == [kept for _, kept in learner.trained]
    assert [_photos(result.returned) for result in results] == [[], [], [0], [3, 5]]


def test_results_carry_the_logits_and_what_led_to_the_kept_mask() -> None:
    tables = [_logits(0, 3), _logits(3)]
    (first, second), _ = _run(tables, {1: 0.5})
    assert first.logits is tables[0]
    assert second.logits is tables[1]
    assert first.revision is None
    assert second.revision is not None
    assert second.revision.counts == ((7, 2), (6, 0), (0, 0))
    assert second.revision.guarded == ()


def test_only_training_photos_are_kept_and_only_they_are_judged() -> None:
    results, _ = _run([_logits(7, 8, 16), _logits(0, 7, 8)], {1: 0.5})
    assert [_photos(result.kept) for result in results] == [TRAIN, TRAIN]


def test_photos_of_minority_classes_stay() -> None:
    results, _ = _run([_logits(9, 10, 11, 12), _logits()], {1: 0.5})
    assert _photos(results[1].kept) == TRAIN


def test_majority_classes_are_those_of_the_training_photos() -> None:
    # Class 0 has more photos in all, class 1 more training photos.
    fold = Fold(0, np.array([0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15]), np.array([7]), np.array([6, 8, 16]))
    results, _ = _run([_logits(0, 9), _logits()], {1: 0.5}, fold=fold)
    assert set(fold.train.tolist()) - set(_photos(results[1].kept)) == {9}


def test_majority_classes_stay_the_same_when_another_class_has_become_larger() -> None:
    # Round 2 keeps 5 photos of class 0 and 6 of class 1; still class 0 is the one that is revised.
    results, _ = _run([_logits(0, 3), _logits(0, 9, 10), _logits()], {1: 0.5})
    assert [_photos(result.kept) for result in results] == [TRAIN, _without(0, 3), _without(0)]


def test_of_equally_large_classes_the_lower_score_is_revised() -> None:
    fold = Fold(0, np.array([0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14]), np.array([7]), np.array([6, 8, 15, 16]))
    results, _ = _run([_logits(0, 9), _logits()], {1: 0.5}, fold=fold)
    assert set(fold.train.tolist()) - set(_photos(results[1].kept)) == {0}


def test_the_guard_keeps_the_most_likely_photos_and_the_round_says_so() -> None:
    unlike = _logits(0, 1, 2, 3, 4, 5, 6)
    unlike[[2, 4], 0] += 1
    results, _ = _run([unlike, _logits(), _logits()], {1: 0.5})
    assert _photos(results[1].kept) == _without(5, 6)
    assert [result.revision.guarded for result in results if result.revision] == [(0,), ()]
    assert _photos(results[2].returned) == [5, 6]


def test_the_guards_share_is_the_settings() -> None:
    settings = config.Revision(majority_classes=1, min_kept=0.8)  # 5.6 of 7 photos
    results, _ = _run([_logits(0, 1, 2, 3, 4, 5, 6), _logits()], {1: 0.5}, settings)
    assert _photos(results[1].kept) == _without(6)


def test_revision_r_uses_network_r_and_makes_the_training_set_of_network_r_plus_1() -> None:
    tables = [_logits() for _ in range(5)]
    for number, table in enumerate(tables):
        table[:9, 0] = np.log(99)
        table[number, 0] = np.log(12)  # the photo's likelihood is 0.92
    results, _ = _run(tables, {1: 0.9, 3: 0.95})
    assert [_photos(result.kept) for result in results] == [TRAIN, TRAIN, TRAIN, _without(2), _without(3)]


def test_without_dropping_every_round_trains_on_all_training_photos() -> None:
    results, learner = _run([_logits(*range(17))] * 3, {1: 0.0})
    assert [kept for _, kept in learner.trained] == [TRAIN] * 3
    assert not any(result.returned.any() for result in results)


def test_nothing_is_dropped_before_the_first_step_of_a_schedule() -> None:
    results, _ = _run([_logits(0)] * 4, {3: 0.5})
    assert [_photos(result.kept) for result in results] == [TRAIN, TRAIN, TRAIN, _without(0)]


def test_thresholds_go_to_the_classes_by_size() -> None:
    # Class 1 is larger here, so K1 is its own; at K2 = 0 nothing of class 0 is dropped.
    labels = 1 - LABELS
    settings = config.Revision(majority_classes=2)
    results, _ = _run([_logits(0, 9, labels=labels)] * 2, {1: [0.5, 0.0]}, settings, labels=labels)
    assert _photos(results[1].kept) == _without(0)
    results, _ = _run([_logits(0, 9, labels=labels)] * 2, {1: [0.0, 0.5]}, settings, labels=labels)
    assert _photos(results[1].kept) == _without(9)


@pytest.mark.parametrize(
    ("membership", "dropped"),
    # Photo 0: (2, 0, 0), photo 1: (9, 10, 8), photo 2: (0.1, -3, -3), all others (9, 0, 0) at their own label.
    [("sigmoid", [2]), ("centred", [1]), ("softmax", [1])],
)
def test_the_membership_decides_what_a_logit_is_worth(membership: str, dropped: list[int]) -> None:
    table = np.zeros((17, 3), dtype=np.float32)
    table[np.arange(17), LABELS] = 9
    table[:3] = [[2, 0, 0], [9, 10, 8], [0.1, -3, -3]]
    settings = config.Revision(membership=membership, majority_classes=1)  # type: ignore[arg-type]
    results, _ = _run([table, table], {1: 0.75}, settings)
    assert _photos(results[1].kept) == _without(*dropped)


@dataclass(frozen=True)
class Watcher(Rule):
    """Drops the first photo, and remembers what it saw."""

    back: int
    recalling: bool = False
    seen: list[Seen] = field(default_factory=list)

    def __str__(self) -> str:
        return "watcher"

    @property
    def looks_back(self) -> int:
        return self.back

    @property
    def recalls(self) -> bool:
        return self.recalling

    def drops(self, seen: Seen) -> NDArray[np.bool_]:
        self.seen.append(seen)
        return np.arange(len(seen.labels)) == 0


@pytest.mark.parametrize(("back", "rounds"), [(1, [[0], [1], [2]]), (2, [[0], [0, 1], [1, 2]])])
def test_a_rule_sees_the_training_photos_in_the_rounds_that_it_looks_back_at(
    back: int, rounds: list[list[int]]
) -> None:
    tables, rule = [_logits(0), _logits(1), _logits(2), _logits(3)], Watcher(back)
    settings = config.Revision(majority_classes=2, membership="centred", min_kept=0.3)
    fold = Fold(4, FOLD.train, FOLD.validation, FOLD.test)
    list(run_rounds(TableLearner(tables), LABELS, fold, rule, Plan(4, settings, seed=7)))
    assert [seen.revision for seen in rule.seen][:3] == [1, 2, 3]
    for seen, numbers in zip(rule.seen, rounds, strict=False):
        assert len(seen.logits) == len(numbers)
        for logits, number in zip(seen.logits, numbers, strict=True):
            np.testing.assert_array_equal(logits, tables[number][FOLD.train])
        assert seen.labels.tolist() == LABELS[FOLD.train].tolist()
        assert (seen.majority.tolist(), seen.membership, seen.min_kept, seen.stream) == ([0, 1], "centred", 0.3, (7, 4))
    assert [TRAIN[0] not in FOLD.train[seen.kept] for seen in rule.seen][:3] == [False, True, True]


def test_a_rule_recalls_how_sure_all_rounds_were_and_none_of_their_logits() -> None:
    tables, rule = [_logits(0), _logits(1), _logits(2), _logits(3)], Watcher(1, recalling=True)
    list(run_rounds(TableLearner(tables), LABELS, FOLD, rule, Plan(4, config.Revision(majority_classes=2))))
    for seen, number in zip(rule.seen, range(4), strict=True):
        assert (len(seen.logits), len(seen.before)) == (1, number)
        for confidence, table in zip([*seen.before, seen.confidence], tables, strict=False):
            logits = table[FOLD.train]
            np.testing.assert_array_equal(confidence, likelihood(logits)[np.arange(len(logits)), LABELS[FOLD.train]])


class Seeing(TableLearner):
    """With features of frozen layers, [N, 2], which are row numbers."""

    def features(self) -> NDArray[np.float32]:
        return np.arange(len(LABELS), dtype=np.float32)[:, None].repeat(2, axis=1)


class Nothing(TableLearner):
    """Without frozen layers."""

    def features(self) -> None:
        return None


class ByFeature(Watcher):
    """Looks at the features too."""

    def drops(self, seen: Seen) -> NDArray[np.bool_]:
        return super().drops(seen) | (seen.features[:, 0] < 0)


def test_a_rule_sees_the_features_of_the_training_photos() -> None:
    plan, rule = Plan(3, config.Revision(majority_classes=2)), ByFeature(1)
    list(run_rounds(Seeing([_logits(0), _logits(1), _logits(2)]), LABELS, FOLD, rule, plan))
    for seen in rule.seen:
        np.testing.assert_array_equal(seen.features, np.stack([FOLD.train, FOLD.train], axis=1))
    with pytest.raises(ValueError, match=r"no features of frozen layers; in a sweep, give training\.trainable: head"):
        list(run_rounds(Nothing([_logits(0), _logits(1)]), LABELS, FOLD, rule, plan))


def test_rounds_are_made_one_at_a_time() -> None:
    learner = TableLearner([_logits(0), _logits(), _logits()])
    rounds = run_rounds(learner, LABELS, FOLD, Thresholds(make_schedule({1: 0.5}, 1)), Plan(3, LARGEST))
    assert learner.trained == []
    next(rounds)
    assert [number for number, _ in learner.trained] == [1]
    next(rounds)
    assert [number for number, _ in learner.trained] == [1, 2]


@dataclass
class WeighedLearner(TableLearner):
    """It remembers all that it is given of each round."""

    given: list[NDArray[np.generic]] = field(default_factory=list)

    def learn(self, number: int, kept: MaskOrWeights) -> NDArray[np.float32]:
        self.given.append(kept)
        return super().learn(number, mask_of(kept))


def test_weights_reach_the_training_and_the_result_and_a_photo_of_weight_zero_is_not_kept() -> None:
    learner = WeighedLearner([_logits(0, 3), _logits(), _logits(3)])
    learner.tables[0][5, 0] = -1e4  # of photo 5 the likelihood is 0
    results = list(run_rounds(learner, LABELS, FOLD, Soft(0.5), Plan(3, LARGEST)))
    expected = np.zeros(17, np.float32)
    expected[FOLD.train] = 1
    first, second, third = learner.given
    np.testing.assert_array_equal(first, expected > 0)
    assert first.dtype == third.dtype == bool  # each photo weighs the same, as without the rule
    expected[[0, 3]], expected[5] = 0.2, 0
    assert second.dtype == np.float32
    np.testing.assert_allclose(second, expected, rtol=1e-6)
    assert results[1].weights is second
    assert (results[0].weights, results[2].weights) == (None, None)
    assert [_photos(result.kept) for result in results] == [TRAIN, _without(5), TRAIN]
    assert [_photos(result.returned) for result in results] == [[], [], [5]]
