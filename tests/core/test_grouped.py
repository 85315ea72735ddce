"""Groups fall together, classes are shared as evenly as groups allow."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from rsrl_ray.core.folds import make_folds
from rsrl_ray.core.grouped import deal


def test_a_dealing_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    groups = np.array([7, 7, 8, 8, 1, 2, 3, 4])  # two pairs of one class, four photos alone
    part = deal(labels, groups, 2, np.random.default_rng(0))
    assert part[0] == part[1] != part[2] == part[3]
    assert np.bincount(part[4:]).tolist() == [2, 2]


def bursts(seed, photos=600):
    """Photos in bursts of 1 to 12, whose scores are alike, as people have them."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(photos), generator.integers(1, 13, photos))[:photos]
    means = generator.normal(4.5, 1.3, photos)
    labels = np.clip(np.rint(means[groups] + generator.normal(0, 0.5, photos)), 2, 7).astype(np.int64) - 2
    return labels, groups


def unevenness(labels, part, count):
    table = np.array([np.bincount(labels[part == place], minlength=6) for place in range(count)])
    return float((table / table.sum(axis=0)).std(axis=0).mean())


def test_as_even_as_scikit_learn_has_it():
    ours, theirs = [], []
    for seed in range(10):
        labels, groups = bursts(seed)
        ours.append(unevenness(labels, deal(labels, groups, 5, np.random.default_rng(seed)), 5))
        part = np.zeros(len(labels), dtype=int)
        for place, (_, test) in enumerate(
            StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, groups)
        ):
            part[test] = place
        theirs.append(unevenness(labels, part, 5))
    assert np.mean(ours) <= np.mean(theirs)


@pytest.mark.parametrize("kind", ["stratified", "random"])
@pytest.mark.parametrize("validation", [0.0, 0.1, 0.29])
def test_a_group_is_in_one_part_of_every_fold(kind, validation):
    labels, groups = bursts(3)
    folds = make_folds(labels, 5, kind, validation, 0, 2, groups)
    assert [fold.number for fold in folds] == list(range(10))
    for fold in folds:
        parts = [set(groups[part].tolist()) for part in (fold.train, fold.validation, fold.test)]
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
        assert sorted([*fold.train, *fold.validation, *fold.test]) == list(range(len(labels)))
        rest = len(fold.train) + len(fold.validation)
        assert abs(len(fold.validation) / rest - validation) <= 0.04  # whole groups, of 6.5 photos in the mean
        assert abs(len(fold.test) / len(labels) - 0.2) <= 0.03
        assert set(labels[fold.train]) >= set(labels[fold.validation])
    for repeat in (folds[:5], folds[5:]):
        assert sorted(np.concatenate([fold.test for fold in repeat])) == list(range(len(labels)))
    assert not np.array_equal(folds[0].test, folds[5].test)


def test_the_draw_depends_on_the_seed_and_on_nothing_else():
    labels, groups = bursts(0)
    one, same, other = (make_folds(labels, 5, "stratified", 0.1, seed, 1, groups) for seed in (0, 0, 1))
    assert all(np.array_equal(a.train, b.train) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a.train, b.train) for a, b in zip(one, other, strict=True))


def test_the_last_training_photos_of_a_class_stay():
    labels = np.array([0] * 40 + [1] * 4)
    groups = np.array([*range(40), 99, 99, 99, 98])
    for fold in make_folds(labels, 2, "stratified", 0.5, 0, 3, groups):
        assert (labels[fold.train] == 1).any()


def test_fewer_groups_than_folds():
    with pytest.raises(ValueError, match=r"^folds\.count: 5, but the photos are of 4 groups, which are not divided$"):
        make_folds(np.array([0, 1] * 8), 5, "stratified", 0.1, 0, groups=np.arange(16) // 4)


def test_a_quarter_of_a_million_photos_that_are_nearly_all_alone():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 9, 255_000)
    groups = np.arange(255_000)
    groups[1::1000] = groups[::1000]
    part = deal(labels, groups, 5, generator)
    table = np.array([np.bincount(labels[part == place]) for place in range(5)])
    assert (table.max(axis=0) - table.min(axis=0)).max() <= 1
