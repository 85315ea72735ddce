"""What became of photos, and the ledger that shows it."""

from dataclasses import replace

import numpy as np
from analysis.figures.conftest import NAN
from numpy.testing import assert_allclose, assert_array_equal

from rsrl_ray.analysis.figures.ledger import ledger
from rsrl_ray.analysis.numbers.histories import history
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.core.trial import TrialKey


def test_history(sweep: Sweep) -> None:
    found = history(sweep, "paper")
    assert found.times.tolist() == [0, 0, 3, 2, 0, 0, 0, 1, 1, 0, 0, 0]
    assert found.of.tolist() == [1, 0, 3, 3, 3, 3, 0, 2, 3, 3, 1, 2]
    assert found.away.tolist() == [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]
    assert np.flatnonzero(found.is_never_kept).tolist() == [2]
    assert found.assigned.tolist() == [3, -1, 4, 3, 3, 3, -1, 4, 2, 4, 2, 2]  # of two scores the lower
    assert_allclose(found.self_confidence[[0, 2, 3, 7, 8]], [0.5, 0.2, 0.7, 0.8, 0.4])
    assert np.isnan(found.self_confidence[[1, 6]]).all()
    assert_array_equal(found.dropped[[1, 2, 3, 7]], [[NAN] * 3, [0, 1, 1], [0, 1, 0], [0, 1, 0]])
    assert_array_equal(found.dropped[8], [0, 0, 1])
    assert_array_equal(found.dropped[0], [0, 0, NAN])  # only the second fold trains on it


def test_the_ledger_of_one_fold(sweep: Sweep) -> None:
    alone = replace(sweep, trials={TrialKey(0, "paper"): sweep.trials[0, "paper"]})
    figure = ledger(alone, "paper", history(alone, "paper"))
    threes, fours, bar = figure.axes
    assert_array_equal(threes.images[0].get_array(), [[0, 1, 1], [0, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert_array_equal(fours.images[0].get_array(), [[0, 1, 0], [0, 0, 1], [0, 0, 0]])  # as often, the earlier first
    assert threes.images[0].get_extent() == [0.5, 3.5, 4, 0]
    assert (threes.get_title(), fours.get_title()) == ("score 3\n(4 photos)", "score 4\n(3 photos)")
    assert [label.get_text() for label in bar.get_xticklabels()] == ["kept", "dropped"]
    assert threes.images[0].get_cmap().N == 2


def test_the_ledger_of_two_folds_shades_by_the_share_of_them(sweep: Sweep) -> None:
    sweep.trials[1, "paper"].kept[1, 8] = False
    figure = ledger(sweep, "paper", history(sweep, "paper"))
    fours = figure.axes[1].images[0]
    # photo 8: dropped by one fold of two, then by one of one
    assert_array_equal(fours.get_array(), [[0, 0.5, 1], [0, 1, 0], [0, 0, 0]])
    assert fours.get_cmap().N == 3
    assert [label.get_text() for label in figure.axes[2].get_xticklabels()] == ["none", "all"]
