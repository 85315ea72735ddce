"""Groups fall together, classes are shared as evenly as groups allow."""

from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from rsrl_ray.core.dealing import Deal, deal
from rsrl_ray.core.draw import DEALING, Draw
from rsrl_ray.core.folds import make_folds


def dealt(labels: Any, groups: Any, count: Any, seed: Any) -> Any:
    return deal(Deal(labels, groups, np.full(count, 1 / count)), np.random.default_rng(seed))


def test_a_dealing_by_hand() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    groups = np.array([7, 7, 8, 8, 1, 2, 3, 4])  # two pairs of one class, four photos alone
    part = dealt(labels, groups, 2, 0)
    assert part[0] == part[1] != part[2] == part[3]
    assert np.bincount(part[4:]).tolist() == [2, 2]


def bursts(seed: Any, photos: int = 600) -> Any:
    """Photos in bursts of 1 to 12, whose scores are alike, as people have them."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(photos), generator.integers(1, 13, photos))[:photos]
    means = generator.normal(4.5, 1.3, photos)
    labels = np.clip(np.rint(means[groups] + generator.normal(0, 0.5, photos)), 2, 7).astype(np.int64) - 2
    return labels, groups


def unevenness(labels: Any, part: Any, count: Any) -> Any:
    table = np.array([np.bincount(labels[part == place], minlength=6) for place in range(count)])
    return float((table / table.sum(axis=0)).std(axis=0).mean())


def test_as_even_as_scikit_learn_has_it() -> None:
    ours, theirs = [], []
    for seed in range(10):
        labels, groups = bursts(seed)
        ours.append(unevenness(labels, dealt(labels, groups, 5, seed), 5))
        part = np.zeros(len(labels), dtype=int)
        for place, (_, test) in enumerate(
            StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, groups)
        ):
            part[test] = place
        theirs.append(unevenness(labels, part, 5))
    assert np.mean(ours) <= np.mean(theirs)


@pytest.mark.parametrize("kind", ["stratified", "random"])
@pytest.mark.parametrize("validation", [0.0, 0.03, 0.1, 0.29])
def test_a_group_is_in_one_part_of_every_fold(kind: str, validation: float) -> None:
    labels, groups = bursts(3)
    folds = make_folds(labels, Draw(5, kind, validation, 0, 2), groups)
    assert [fold.number for fold in folds] == list(range(10))
    for fold in folds:
        parts = [set(groups[part].tolist()) for part in (fold.train, fold.validation, fold.test)]
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
        assert sorted([*fold.train, *fold.validation, *fold.test]) == list(range(len(labels)))
        rest = len(fold.train) + len(fold.validation)
        assert abs(len(fold.validation) - validation * rest) <= 1
        assert abs(len(fold.test) - 120) <= 1
        assert set(labels[fold.train]) == set(labels[fold.train]) | set(labels[fold.validation])
    for repeat in (folds[:5], folds[5:]):
        assert sorted(np.concatenate([fold.test for fold in repeat])) == list(range(len(labels)))
    assert not np.array_equal(folds[0].test, folds[5].test)


def test_the_draw_depends_on_the_seed_and_on_nothing_else() -> None:
    labels, groups = bursts(0)
    one, same, other = (make_folds(labels, Draw(5, "stratified", 0.1, seed, 1), groups) for seed in (0, 0, 1))
    assert all(np.array_equal(a.train, b.train) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a.train, b.train) for a, b in zip(one, other, strict=True))


def test_the_last_training_photos_of_a_class_stay() -> None:
    labels = np.array([0] * 40 + [1] * 4)
    groups = np.array([*range(40), 99, 99, 99, 98])
    for fold in make_folds(labels, Draw(2, "stratified", 0.5, 0, 3), groups):
        assert (labels[fold.train] == 1).any()


def test_fewer_groups_than_folds() -> None:
    with pytest.raises(ValueError, match=r"^folds\.count: 5, but the photos are in 4 groups, .*; give 4 or fewer$"):
        make_folds(np.array([0, 1] * 8), Draw(5, "stratified", 0.1, 0), np.arange(16) // 4)


def test_a_quarter_of_a_million_photos_that_are_nearly_all_alone() -> None:
    labels = np.random.default_rng(0).integers(0, 9, 255_000)
    groups = np.arange(255_000)
    groups[1::1000] = groups[::1000]
    part = dealt(labels, groups, 5, 0)
    table = np.array([np.bincount(labels[part == place]) for place in range(5)])
    assert (table.max(axis=0) - table.min(axis=0)).max() <= 1


PAPER = np.random.default_rng(7).permutation(np.repeat(np.arange(8), [93, 697, 1488, 512, 186, 113, 9, 2]))


@pytest.mark.parametrize("validation", [0.02, 0.025, 0.03, 0.1])
@pytest.mark.parametrize("kind", ["stratified", "random"])
def test_a_photo_that_is_added_twice_leaves_all_others_where_they_are(kind: str, validation: float) -> None:
    draw, others = Draw(5, kind, validation, 3, 2), np.setdiff1d(np.arange(3100), [50])
    folds = make_folds(np.append(PAPER, PAPER[50]), draw, np.append(np.arange(3100), 50), named=False)
    for before, fold in zip(make_folds(PAPER, draw), folds, strict=True):
        for part in ("train", "validation", "test"):
            rows = getattr(fold, part)
            np.testing.assert_array_equal(np.intersect1d(rows, others), np.intersect1d(getattr(before, part), others))
            assert np.isin([50, 3100], rows).sum() in (0, 2)
        assert abs(len(fold.validation) - validation * (3101 - len(fold.test))) <= 2
        assert abs(len(fold.test) - 3101 / 5) <= 2


def test_many_equal_photos_are_shared_evenly() -> None:
    labels, groups = np.append(PAPER, PAPER[:1500]), np.append(np.arange(3100), np.arange(1500))
    for fold in make_folds(labels, Draw(5, "stratified", 0.1, 0, 2), groups, named=False):
        assert abs(len(fold.test) - 920) <= 1
        assert abs(len(fold.validation) - 368) <= 1
        assert set(groups[fold.train]).isdisjoint(groups[fold.validation])


@pytest.mark.parametrize("seed", range(0, 200, 10))
def test_with_few_groups_every_part_has_one(seed: Any) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, 120)
    for groups in (np.repeat(np.arange(6), 20), np.repeat([0, 1, 2, 3, 4, 5], [40, 50, 27, 1, 1, 1])):
        for fold in make_folds(labels, Draw(5, "stratified", 0.1, seed), groups):
            assert len(fold.train) and len(fold.validation) and len(fold.test)


def test_two_groups_leave_none_to_hold_out() -> None:
    with pytest.raises(ValueError, match=r"holds out none .* another share \(.*, and no group is divided\)"):
        make_folds(np.array([0, 1] * 8), Draw(2, "stratified", 0.1, 0), np.arange(16) // 8)


def test_every_class_that_can_be_is_in_each_part() -> None:
    for seed in range(10):
        generator = np.random.default_rng(seed)
        labels, groups = bursts(seed)
        for rare in (6, 7):  # each in two bursts, one photo of each
            for group in generator.choice(np.unique(groups), 2, replace=False):
                labels[generator.choice(np.flatnonzero(groups == group))] = rare
        held_by = [len(np.unique(groups[labels == one])) for one in range(8)]
        for fold in make_folds(labels, Draw(5, "stratified", 0.1, seed), groups):
            assert set(labels[fold.train]) >= {one for one in range(8) if held_by[one] > 1}
            enough = [one for one in range(8) if held_by[one] >= 5 and (labels == one).sum() >= 5]
            assert set(labels[fold.test]) >= set(enough)
            assert set(labels[fold.validation]) >= {one for one in enough if (labels == one).sum() * 0.08 >= 2}


def test_grouped_draws_do_not_change_unnoticed() -> None:
    # A change here needs another number in `draw.DEALING`: a sweep never has two deals.
    labels = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 2, 2, 0, 1])
    assert DEALING == 2
    pairs = np.array([0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    assert parts(labels, pairs, True) == [
        ([7, 9], [0, 1, 5, 8, 10]),
        ([6, 7], [2, 3, 12, 13]),
        ([0, 1], [4, 6, 7, 9, 11]),
    ]
    twins = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 4, 7])
    assert parts(labels, twins, False) == [
        ([6, 10], [0, 2, 3, 5]),
        ([7, 9, 13], [1, 4, 8, 11, 12]),
        ([2, 5], [6, 7, 9, 10, 13]),
    ]


def parts(labels: Any, groups: Any, named: Any) -> Any:
    folds = make_folds(labels, Draw(3, "stratified", 0.25, 0), groups, named)
    return [(fold.validation.tolist(), fold.test.tolist()) for fold in folds]
