"""What readers should know of rules that drop photos: they were judged by memories, or they drop much of a class."""

import math
from collections.abc import Mapping

import numpy as np

from rsrl_ray.analysis.numbers.words import number
from rsrl_ray.analysis.sweep.arrays import TRAINING_PHOTO, Sweep, TrialRounds
from rsrl_ray.core import statistics
from rsrl_ray.rounds.table import MUCH

BY_HEART = 0.95  # training accuracy above which likelihoods of training photos are memories
IN_A_SENTENCE = 4  # methods in a sentence


def cautions(sweep: Sweep) -> list[str]:
    """One sentence for all methods that were judged by memories, and one for those that drop much of a class."""
    dropping = [name for name in sweep.begun if any(trial.dropped().any() for trial in sweep.trials_of(name))]
    judged = [name for name in dropping if name not in sweep.judged_otherwise]
    return [said for said in (_memories(sweep, judged), _large_drops(sweep, dropping)) if said]


def _memories(sweep: Sweep, dropping: list[str]) -> str:
    """By the training accuracy `_fit`, mean over the folds.

    "" if no method is above `BY_HEART`, or if the metric was not logged.
    """
    fits = {name: statistics.mean(np.array([*map(_fit, sweep.trials_of(name))])) for name in dropping}
    found = {name: fit for name, fit in fits.items() if fit > BY_HEART}
    if not found:
        return ""
    named = _named(found, {name: number(fit, 2) for name, fit in found.items()})
    return (
        f"The networks that judge photos fit more than {BY_HEART:g} of their own training labels: {named} (in the last "
        f"round that judges and keeps {100 * (1 - MUCH):.0f} % of the photos or more, mean over the folds). So their "
        "likelihoods are memories, and what rules drop by these cannot be trusted. With trainable: head, learn: "
        "{ridge: auto, judged: left_out} judges each photo by a layer that has not seen it; network.standardise, "
        "learning_rate: 0.001, head_factor: 1 and weight_decay: 0.3 hold a trained one back; with trainable: all "
        "give a larger weight_decay or fewer epochs."
    )


def _fit(trial: TrialRounds) -> float:
    """Training accuracy of the last round that judges and was itself trained on most photos; nan if it is not known.

    The last round of all judges for no revision. A network that trains on a small rest fits it whatever its training.
    """
    dropped, size = trial.dropped()[:-1].sum(axis=1), int((trial.split == TRAINING_PHOTO).sum())
    judges = np.flatnonzero(dropped <= MUCH * size)
    return float(trial.curve("train_accuracy")[judges[-1]]) if len(judges) else math.nan


def _large_drops(sweep: Sweep, dropping: list[str]) -> str:
    """By the largest share of a class that is dropped, over classes, rounds and folds; "" if none is large."""
    shares = {name: max(_share(sweep, trial) for trial in sweep.trials_of(name)) for name in dropping}
    found = {name: share for name, (share, _) in shares.items() if share > MUCH}
    if not found:
        return ""
    words = {name: f"up to {100 * share:.0f} % of score {shares[name][1]}" for name, share in found.items()}
    return (
        f"Rules drop more than {100 * MUCH:.0f} % of a class: {_named(found, words)} (the largest share of "
        "all rounds and folds). Compare them with as many photos dropped at random (pick: random); a lower K, or a "
        "rule that drops a share (quantile: 0.2), drops fewer."
    )


def _share(sweep: Sweep, trial: TrialRounds) -> tuple[float, int]:
    """The largest share of a class's training photos that a round drops, and the score."""
    places = sweep.places(trial.scores)
    sizes = np.bincount(places[trial.split == TRAINING_PHOTO], minlength=len(sweep.classes))
    dropped = np.array([np.bincount(places[gone], minlength=len(sizes)) for gone in trial.dropped()]).max(axis=0)
    shares = dropped / np.maximum(sizes, 1)
    return float(shares.max()), int(sweep.classes[shares.argmax()])


def _named(values: Mapping[str, float], words: Mapping[str, str]) -> str:
    """``strict up to 81 % of score 4, paper ...``: those with the largest values, and how many more there are."""
    order = sorted(values, key=lambda name: -values[name])
    rest = len(order) - IN_A_SENTENCE
    more = [f"and {rest} more method{'s' * (rest > 1)}"] if rest > 0 else []
    return ", ".join([*(f"{name} {words[name]}" for name in order[:IN_A_SENTENCE]), *more])
