"""What was dropped against labels that are wrong on purpose, from the sweep of conftest.py, by hand."""
# ruff: noqa: RUF001

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from rsrl_ray.analysis.data import Sweep
from rsrl_ray.analysis.ledger import history, ledger
from rsrl_ray.analysis.measures import majority, trained_scores
from rsrl_ray.analysis.noise import average_precision, noise_rows, over_rounds
from rsrl_ray.analysis.summary import ledger_parts, summarise
from rsrl_ray.analysis.tables import tables
from rsrl_ray.core.trial import TrialKey

NAN = math.nan


@pytest.fixture
def noisy(by_hand: Sweep) -> Sweep:
    """Photo 5, truly 5, is labelled 3; it is trained on in both folds.

    Fold 0 trains on 3, 5, 6, 7, 10 of the score 3, and drops 5 and 6, then 6; fold 1 on 0, 1, 3, 5, 10, and drops 0.
    """
    labelled = by_hand.scores.copy()
    labelled[5] = 3
    trials = {key: dataclasses.replace(trial, scores=labelled) for key, trial in by_hand.trials.items()}
    trials[TrialKey(0, "paper")].kept[1, [3, 5]] = True, False
    return dataclasses.replace(by_hand, trials=trials, is_noisy=True)


def test_dropped_against_flipped(noisy: Sweep) -> None:
    frame = noise_rows(noisy)
    assert frame.columns.tolist() == [
        *("method", "fold", "round", "candidates", "flipped", "base_rate", "dropped"),
        *("precision", "recall", "average_precision"),
    ]
    paper = frame[(frame["method"] == "paper") & (frame["fold"] == 0)]
    # by doubt, 1 - (.1 + .05 photo): 3, 5, 6, 7, 10
    expected = [
        [1, 5, 1, 0.2, 0, NAN, 0, NAN],
        [2, 5, 1, 0.2, 2, 1 / 2, 1, 1 / 2],
        [3, 5, 1, 0.2, 1, 0, 0, 1 / 2],
    ]
    np.testing.assert_allclose(paper.iloc[:, 2:].to_numpy(dtype=float), expected)
    other = frame[(frame["method"] == "paper") & (frame["fold"] == 1)]
    np.testing.assert_allclose(other["average_precision"], [NAN, 1 / 4, 1 / 4])  # 0, 1, 3, 5, 10
    assert (len(frame), len(frame[frame["round"] == 1])) == (13, 5)


def test_the_network_that_judged_is_that_of_the_round_before(noisy: Sweep) -> None:
    confidence = noisy.trials[TrialKey(0, "paper")].self_confidence
    confidence[0, 5] = 0.0
    found = noise_rows(noisy)["average_precision"].to_numpy(dtype=float)[:3]
    np.testing.assert_allclose(found, [NAN, 1, 1 / 2])


def test_means_over_rounds_then_over_folds(noisy: Sweep) -> None:
    means = over_rounds(noise_rows(noisy)).set_index(["method", "fold"])
    # a round that drops nothing has a recall of 0 and no precision
    np.testing.assert_allclose(means.loc[("paper", 0)], [3 / 2, 0.2, 1 / 4, 1 / 2, 1 / 2])
    np.testing.assert_allclose(means.loc[("paper", 1)], [1 / 2, 0.2, 0, 0, 1 / 4])
    (table,) = (table for table in tables(noisy, summarise(noisy)) if table.name == "noise")
    assert table.columns == ("method", "dropped", "precision", "recall", "average precision", "base rate")
    assert table.rows == (
        ("paper", "1 ± 1", "0.125 ± 0.177", "0.250 ± 0.354", "0.375 ± 0.177", "0.200 ± 0.000"),
        ("none", "0 ± 0", "–", "0.000 ± 0.000", "0.375 ± 0.177", "0.200 ± 0.000"),
    )


def test_without_noise_there_is_nothing_to_say(by_hand: Sweep) -> None:
    frames = summarise(by_hand)
    assert len(frames.noise) == 0 and not any("true_score" in part for part in ledger_parts(by_hand))
    assert "noise" not in [table.name for table in tables(by_hand, frames)]


def test_labels_of_training_photos_are_those_that_were_trained_on(noisy: Sweep) -> None:
    assert trained_scores(noisy).tolist() == [3, 3, 3, 3, 5, 3, 3, 3, 5, 5, 3, 7]
    assert majority(noisy, noisy.trials[TrialKey(0, "paper")]).tolist() == [0]
    frame = pd.concat(ledger_parts(noisy), ignore_index=True)
    photo = frame[frame["image"] == "5.jpg"].iloc[0]
    assert (photo["method"], photo["score"], photo["true_score"], photo["history"]) == ("paper", 3, 5, "kdk")
    assert frame.columns[-1] == "true_score"
    axes = ledger(noisy, "paper", history(noisy, "paper")).axes[0]
    assert axes.get_title() == "score 3\n(7 photos)"  # 0, 1, 3, 5, 6, 7, 10: and not 2, which validates


def test_test_photos_are_measured_by_their_true_scores(by_hand: Sweep, noisy: Sweep) -> None:
    trials = {
        key: dataclasses.replace(trial, scores=np.where(trial.split == 2, by_hand.scores, 7))
        for key, trial in by_hand.trials.items()
    }
    wrong = dataclasses.replace(noisy, trials=trials)
    before, after = (summarise(sweep).summary["macro_f1_mean"].tolist()[1:] for sweep in (by_hand, wrong))
    assert before == after


@pytest.mark.parametrize("decimals", [6, 1])
def test_average_precision_is_scikit_learns(decimals: int) -> None:
    generator = np.random.default_rng(decimals)
    wrong = generator.random(500) < 0.2
    doubt = np.round(generator.random(500) * 0.6 + wrong * 0.3, decimals)  # to one decimal, many are equal
    assert average_precision(wrong, doubt) == pytest.approx(average_precision_score(wrong, doubt), rel=1e-12)
    assert math.isnan(average_precision(wrong & False, doubt))
