"""Two parts of the margins of a class, by hand and beside scikit-learn."""

import numpy as np
import pytest
from core.rules.judged import dropped, judged
from numpy.typing import ArrayLike
from sklearn.mixture import GaussianMixture

from rsrl_ray.core.rules.mixture import Mixture, lower_part
from rsrl_ray.core.rules.rule import KEEPS

LABELS = [0] * 10 + [1] * 6 + [2] * 3
# Three photos of class 0 are far below the seven others; class 1 is one part; class 2 is in the minority.
MARGINS = [*[5.0, -4.0, 6.0, 5.5, -5.0, 4.5, 6.5, -4.5, 5.0, 6.0], *[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], *[-9.0, 9.0, 9.0]]
MAJORITY = np.array([0, 1])


def logits(margins: ArrayLike) -> np.ndarray:
    """Of photos with these margins, [n, 3]: the label is so much ahead of one class, and the third class is far off."""
    found = np.full((len(LABELS), 3), -99.0)
    rows = np.arange(len(LABELS))
    found[rows, np.array(LABELS) - 1] = 0.0
    found[rows, LABELS] = margins
    return found


def test_the_lower_of_two_parts_of_a_majority_class_goes() -> None:
    assert dropped(Mixture(0.5), judged(LABELS, logits(MARGINS), majority=MAJORITY)) == [1, 4, 7]


def test_the_margin_is_the_mean_of_all_rounds() -> None:
    # Photo 0 was low in one round of three, photo 1 was high in one; their means are 2 and 0.5 below 6.5 and above -5.
    rounds = [np.array(MARGINS) for _ in range(3)]
    rounds[1][0], rounds[2][1] = -4.0, 5.0
    seen = judged(LABELS, *(logits(each) for each in rounds), majority=MAJORITY)
    assert dropped(Mixture(0.5), seen) == [1, 4, 7]
    assert dropped(Mixture(0.5), judged(LABELS, logits(rounds[1]), majority=MAJORITY)) == [0, 1, 4, 7]
    assert dropped(Mixture(0.5), judged(LABELS, logits(rounds[2]), majority=MAJORITY)) == [4, 7]
    assert Mixture(0.5).looks_back >= 10**6


def test_two_values_are_two_parts_and_one_value_is_one() -> None:
    assert lower_part(np.array([2.0, -1.0, 2.0, 2.0, -1.0])).tolist() == [0, 1, 0, 0, 1]
    for alike in ([], [3.0], [3.0] * 9, [np.inf] * 9):
        assert lower_part(np.array(alike)).tolist() == [0] * len(alike)


def test_a_lower_part_that_is_not_the_smaller_one_stays() -> None:
    assert not lower_part(np.array([-1.0] * 5 + [2.0] * 5)).any()
    assert lower_part(np.array([-1.0] * 4 + [2.0] * 6)).tolist() == [1.0] * 4 + [0.0] * 6
    assert not lower_part(np.array([0.0] * 50 + [100.0])).any()  # one photo is far above a class of equal ones


def test_parts_that_describe_a_class_no_better_than_one_stay() -> None:
    normal = np.random.default_rng(0).normal(size=500)
    assert not lower_part(normal).any()
    assert lower_part(np.concatenate([normal, normal[:100] - 8])).round().tolist() == [0.0] * 500 + [1.0] * 100


def test_the_criterion_by_hand() -> None:
    # Two parts that do not overlap: the variance is 24.008, in the parts 0.008, the weights are 2/5 and 3/5. So
    # 2 (L2 - L1) = 5 ln (24.008 / 0.008) + 10 (2/5 ln 2/5 + 3/5 ln 3/5) = 33.3, above 2 ln 5 = 3.2.
    found = lower_part(np.array([-0.1, 0.1, 9.9, 10.0, 10.1]))
    np.testing.assert_allclose(found, [1, 1, 0, 0, 0], atol=1e-12)
    # Of evenly spread values it is 0.9, as scikit-learn finds too.
    values = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    one, two = (GaussianMixture(k, covariance_type="tied", tol=1e-9, max_iter=2000, random_state=0) for k in (1, 2))
    gain = 10 * (two.fit(values[:, None]).score(values[:, None]) - one.fit(values[:, None]).score(values[:, None]))
    assert 0.8 < gain < 1.0
    assert not lower_part(values).any()


def test_the_criterion_at_its_edge() -> None:
    # One photo of seven is ever further below the others: 2 (L2 - L1) is 3.5 at 0.5 and 4.8 at 0; 2 ln 7 is 3.9.
    rest = [3.0, 3.5, 4.0, 4.5, 5.0, 5.5]
    assert not lower_part(np.array([0.5, *rest])).any()
    assert lower_part(np.array([0.0, *rest])).round().tolist() == [1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("distance", [3.0, 4.0, 6.0])
def test_the_posterior_is_that_of_scikit_learn(distance: float) -> None:
    generator = np.random.default_rng(1)
    values = np.concatenate([generator.normal(size=900), generator.normal(size=200) - distance]) * 3 + 7
    model = GaussianMixture(2, covariance_type="tied", random_state=0, tol=1e-9, max_iter=2000).fit(values[:, None])
    expected = model.predict_proba(values[:, None])[:, model.means_.ravel().argmin()]
    found = lower_part(values)
    np.testing.assert_allclose(found, expected, atol=0.01)
    order = np.argsort(values)
    assert (np.diff(found[order]) <= 0).all()  # no photo stays while one with a higher margin goes
    assert 0.1 < (found > 0.5).mean() < 0.25
    np.testing.assert_allclose(lower_part(values / 1e6 - 3), found, atol=1e-6)


def test_a_higher_posterior_drops_fewer() -> None:
    generator = np.random.default_rng(2)
    margins = np.concatenate([generator.normal(size=80) + 4, generator.normal(size=30)])
    two = np.stack([margins, np.zeros(110)], axis=1)
    seen = judged(np.zeros(110, dtype=int), two, majority=np.array([0]))
    counts = [len(dropped(Mixture(share), seen)) for share in (0.01, 0.5, 0.99, 1)]
    assert counts[0] > counts[1] > counts[2] > counts[3] == 0
    assert abs(counts[1] - 30) <= 3


def test_in_words() -> None:
    assert str(Mixture(0.5)) == "mixture, lower part above 0.5"
    assert Mixture(1).at(1) == KEEPS
    assert Mixture(0.5).at(1) == Mixture(0.5).at(7) != Mixture(0.6).at(1)
    with pytest.raises(ValueError, match="mixture: 2; give a share, 0 to 1"):
        Mixture(2)
