"""Sentences on rules whose judges are memories, and on those that drop much of a class."""

import dataclasses

import pytest
from analysis.numbers.test_comparisons import few

from rsrl_ray.analysis.numbers.cautions import cautions
from rsrl_ray.analysis.numbers.frames import summarise
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.core.trial import TrialKey

# Fold 0 drops 2 of its 4 training photos of score 3 for round 2, fold 1 1 of 5; `none` drops nothing.
HALF = (
    "Rules drop more than 30 % of a class: paper up to 50 % of score 3 (the largest share of all rounds and folds). "
    "Compare them with as many photos dropped at random (pick: random); a lower K, or a rule that drops a share "
    "(quantile: 0.2), drops fewer."
)


def fitting(sweep: Sweep, fits: dict[str, tuple[list[float], list[float]]]) -> Sweep:
    """With these training accuracies of the folds 0 and 1, round by round."""
    for method, by_fold in fits.items():
        for fold, values in enumerate(by_fold):
            trial = sweep.trials[TrialKey(fold, method)]
            metrics = trial.metrics.assign(train_accuracy=values)
            sweep.trials[trial.key] = dataclasses.replace(trial, metrics=metrics)
    return sweep


def test_one_sentence_for_what_was_judged_by_memories(by_hand: Sweep) -> None:
    judged = {"paper": ([0.5, 0.99, 0.2], [0.6, 0.95, 0.3]), "none": ([1.0] * 3, [1.0] * 3)}
    memories, drops = cautions(fitting(by_hand, judged))
    assert memories == (
        "The networks that judge photos fit more than 0.95 of their own training labels: paper 0.97 (in the last round "
        "that judges and keeps 70 % of the photos or more, mean over the folds). So their likelihoods are memories, "
        "and what rules drop by these cannot be trusted. With trainable: head, learn: {ridge: auto, judged: left_out} "
        "judges each photo by a layer that has not seen it; network.standardise, learning_rate: 0.001, head_factor: 1 "
        "and weight_decay: 0.3 hold a trained one back; with trainable: all give a larger weight_decay or fewer epochs."
    )
    assert drops == HALF
    assert set(cautions(by_hand)) <= set(summarise(by_hand).notes)
    assert cautions(dataclasses.replace(by_hand, judged_otherwise=("paper",))) == [HALF]


@pytest.mark.parametrize("fit", [0.95, 0.2])
def test_no_sentence_up_to_the_limit_nor_for_the_last_network_which_judges_nothing(by_hand: Sweep, fit: float) -> None:
    assert cautions(fitting(by_hand, {"paper": ([1.0, fit, 1.0], [1.0, fit, 1.0])})) == [HALF]


def test_a_network_that_was_trained_on_a_small_rest_does_not_count(by_hand: Sweep) -> None:
    trial = by_hand.trials[TrialKey(1, "paper")]
    trial.kept[1, [1, 2, 3]] = False  # of its 7 training photos round 2 keeps 4
    sweep = fitting(by_hand, {"paper": ([0.5, 0.96, 0.5], [0.96, 1.0, 0.5])})
    assert cautions(sweep)[0].startswith(
        "The networks that judge photos fit more than 0.95 of their own training labels: paper 0.96 (in"
    )


def test_no_sentence_of_sweeps_without_the_metric_nor_of_a_first_round(by_hand: Sweep) -> None:
    assert cautions(by_hand) == [HALF]
    assert cautions(few(few(by_hand, TrialKey(0, "paper"), 1), TrialKey(1, "paper"), 1)) == []


def test_a_drop_of_30_percent_is_not_much(by_hand: Sweep) -> None:
    assert cautions(few(by_hand, TrialKey(0, "paper"), 1)) == []  # fold 1 drops 1 of 5


def test_the_four_largest_are_named(by_hand: Sweep) -> None:
    methods = tuple(f"m{place}" for place in range(6))
    trials = {
        TrialKey(fold, name): dataclasses.replace(by_hand.trials[TrialKey(fold, "paper")], method=name)
        for name in methods
        for fold in (0, 1)
    }
    many = dataclasses.replace(by_hand, methods=methods, trials=trials)
    fits = {name: ([0.0, 0.96 + place / 200, 0.0],) * 2 for place, name in enumerate(methods)}
    memories, drops = cautions(fitting(many, fits))
    assert "labels: m5 0.98, m4 0.98, m3 0.97, m2 0.97, and 2 more methods (in" in memories
    assert "m3 up to 50 % of score 3, and 2 more methods (the" in drops
