"""What MLflow holds of a sweep, as arrays."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray.analysis.sweep.rows import ByRound
from rsrl_ray.core.compared import Leading
from rsrl_ray.core.selection import Criterion, Curve, Split, default_criterion, usable_criteria
from rsrl_ray.core.trial import TrialKey, is_complete
from rsrl_ray.rounds.table import SPLITS

TRAINING_PHOTO, VALIDATION_PHOTO, TEST_PHOTO = range(len(SPLITS))  # of a photo


@dataclass(frozen=True)
class TrialRounds:
    """The R rounds of one fold and method that are wholly logged, R >= 1, over the N photos of the sweep.

    status : FINISHED, RUNNING, INTERRUPTED, FAILED or KILLED; reason : why it failed, or "".
    metrics : index round 1 to R, one column for each MLflow metric; nan if a round has none.
    split : [N], 0 train, 1 validation, 2 test. scores : [N], as the trial has them: with `config.Noise` those of
    training and validation photos are the noisy ones.
    photos_seen : [R], how many photos it has trained on by then, each counted as often as it was seen.
    predicted : [R, N], scores, in the smallest type. kept : [R, N], False outside the training photos.
    self_confidence : [R, N], float32. In large sweeps it and ``predicted`` are read when they are asked for.
    confusions : of the test photos, [R, C, C], counted while the rounds are read; None if they were not counted.
    """

    fold: int
    method: str
    status: str
    reason: str
    run_id: str
    metrics: pd.DataFrame
    split: NDArray[np.int8]
    scores: NDArray[np.int64]
    photos_seen: NDArray[np.float64]
    predicted: ByRound
    kept: ByRound
    self_confidence: ByRound
    confusions: NDArray[np.int32] | None = None

    @property
    def key(self) -> TrialKey:
        """Fold and method."""
        return TrialKey(self.fold, self.method)

    def curve(self, metric: str) -> Curve:
        """A metric by round, [R]; nan if a round has none."""
        if metric not in self.metrics:
            return np.full(len(self.metrics), math.nan)
        return self.metrics[metric].to_numpy(dtype=np.float64)

    def dropped(self) -> NDArray[np.bool_]:
        """The training photos that each round left out, [R, N]."""
        return np.asarray(~self.kept[:] & (self.split == TRAINING_PHOTO))


@dataclass(frozen=True)
class Sweep:
    """A sweep as far as it is logged.

    run_id : of the parent run. scores : [N], the true ones. classes : [C], the distinct scores, ascending.
    is_noisy : whether labels are wrong on purpose (`config.Noise`), so that it is known which.
    rounds, methods, folds : as the experiment file asks. trials : those with a logged round, by fold and method.
    majority : how many of the largest classes are revised. chooses : the photos that rounds are chosen on.
    missing : sentences on what is lacking. measure : the one by which methods are compared first.
    solved : the methods whose last layer is solved and not trained. judged_otherwise : those whose rule does not go by
    what networks make of photos that they were trained on.
    """

    name: str
    run_id: str
    images: tuple[str, ...]
    scores: NDArray[np.int64]
    classes: NDArray[np.int64]
    rounds: int
    methods: tuple[str, ...]
    folds: tuple[int, ...]
    trials: dict[TrialKey, TrialRounds]
    majority: int
    missing: tuple[str, ...] = ()
    is_noisy: bool = False
    chooses: Split = "validation"
    measure: Leading = "macro_f1"
    solved: tuple[str, ...] = ()
    judged_otherwise: tuple[str, ...] = ()

    @property
    def criterion(self) -> Criterion:
        """The criterion by which tables and figures choose rounds, see `rsrl_ray.core.selection.default_criterion`."""
        return default_criterion(self.chooses)

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """The criteria that can choose in every trial, see `rsrl_ray.core.selection.usable_criteria`."""
        return usable_criteria(self.chooses)

    @property
    def begun(self) -> list[str]:
        """The methods with a logged round, in the file's order."""
        return [name for name in self.methods if any(key.method == name for key in self.trials)]

    @property
    def incomplete(self) -> tuple[str, ...]:
        """The methods that lack rounds or folds, in the file's order, see `rsrl_ray.core.trial.is_complete`."""
        rounds = {key: len(trial.metrics) for key, trial in self.trials.items()}
        return tuple(name for name in self.methods if not is_complete(name, self.folds, rounds, self.rounds))

    def trials_of(self, method: str) -> list[TrialRounds]:
        """The method's trials with a logged round, by fold."""
        keys = [TrialKey(fold, method) for fold in self.folds]
        return [self.trials[key] for key in keys if key in self.trials]

    def trained_scores(self) -> NDArray[np.int64]:
        """The scores that networks are trained on, [N]; a photo has the same in every fold that trains on it."""
        scores = self.scores.copy()
        for trial in self.trials.values():
            trained = trial.split == TRAINING_PHOTO
            scores[trained] = trial.scores[trained]
        return scores

    def places(self, scores: NDArray[np.int64]) -> NDArray[np.int64]:
        """Scores as indices into ``classes``."""
        return np.searchsorted(self.classes, scores)
