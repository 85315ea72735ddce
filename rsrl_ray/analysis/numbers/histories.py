"""What happened to photos: which of them a method dropped most, which came back, which it never kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray.analysis.numbers.curves import ByFold, by_fold, fold_mean
from rsrl_ray.analysis.sweep.arrays import TEST_PHOTO, TRAINING_PHOTO, VALIDATION_PHOTO, Sweep, TrialRounds

_PER_CENT = np.array([str(share) for share in range(101)], dtype=object)


@dataclass(frozen=True)
class History:
    """What happened to n photos under one method, in the folds that train on them; R rounds of its longest trial.

    dropped : [n, R], share of these folds that dropped the photo for the round; NaN if no fold trains on it.
    folds, dropping : [n], how many folds train on it, and how many of them dropped it for one round or more.
    times, of : [n], in how many of their rounds it was dropped, and how many there are (without round 1, which drops
    nothing).
    returned : [n], how often it came back, in all these folds together.
    away : [n], in how many rounds it was dropped by the folds that keep it in their last round.
    is_never_kept : [n], whether every fold that trains on it dropped it in all rounds from the first that drops any
    photo.
    assigned : [n], the score that most of the folds' last networks assign (ties: the lower); -1 if there is none.
    self_confidence : [n], the mean of their self-confidences; NaN if there is none.
    """

    dropped: NDArray[np.floating]
    folds: NDArray[np.int64]
    dropping: NDArray[np.int64]
    times: NDArray[np.int64]
    of: NDArray[np.int64]
    returned: NDArray[np.int64]
    away: NDArray[np.int64]
    is_never_kept: NDArray[np.bool_]
    assigned: NDArray[np.int64]
    self_confidence: NDArray[np.float64]

    def never_kept(self) -> NDArray[np.int64]:
        """The photos that no network after the first revision was trained on, those of the lowest confidence first."""
        return np.lexsort([self.self_confidence, ~self.is_never_kept])[: self.is_never_kept.sum()]

    def dropped_most(self) -> NDArray[np.int64]:
        """The photos that were dropped, those dropped in most of their rounds first; ties: the least confident."""
        order = np.lexsort([self.self_confidence, -self.times / np.maximum(self.of, 1)])
        return np.asarray(order[self.times[order] > 0])

    def came_back(self) -> NDArray[np.int64]:
        """The dropped photos that the last round keeps, those away longest first; ties: the highest confidence."""
        order = np.lexsort([-self.self_confidence, -self.away / np.maximum(self.of, 1)])
        return np.asarray(order[self.away[order] > 0])


@dataclass(frozen=True)
class Course:
    """How sure networks are of n photos, by round; R rounds of a method's longest trial.

    trained, tested : [n, R], mean self-confidence of the folds that train on the photo, and of those that test on it;
    NaN if there is no such fold. tests : [n], how many folds test on it. as_test : [n], the score that most of the last
    networks of these folds assign (ties: the lower); -1 if there is none.
    """

    trained: NDArray[np.float64]
    tested: NDArray[np.float64]
    tests: NDArray[np.int64]
    as_test: NDArray[np.int64]


def history(sweep: Sweep, method: str, photos: Sequence[int] | None = None) -> History:
    """Put the folds of a method together; at least one has a round. photos : places in the sweep; None: all."""
    trials = sweep.trials_of(method)
    picked = np.arange(len(sweep.images)) if photos is None else np.array(photos, dtype=np.int64)
    rounds = max(len(trial.kept) for trial in trials)
    dropped, judged = np.zeros((2, len(picked), rounds), np.int16)  # folds
    dropping, returned, away, due = np.zeros((4, len(picked)), np.int64)
    confidence, votes = np.zeros(len(picked)), np.zeros((len(picked), len(sweep.classes)), np.int64)
    for trial in trials:
        train, all_gone = trial.split[picked] == TRAINING_PHOTO, trial.dropped()
        gone = all_gone[:, picked].T
        dropped[:, : gone.shape[1]] += gone
        judged[:, : gone.shape[1]] += train[:, None]
        dropping += gone.any(axis=1)
        returned += _returned(gone.T)
        due += train * (gone.shape[1] - _first_drop(all_gone))
        away += np.where(trial.kept[-1, picked], gone.sum(axis=1), 0)
        confidence += np.where(train, trial.self_confidence[-1, picked], 0)
        votes += _votes(sweep, trial.predicted[-1, picked], train)
    folds = votes.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return History(
            dropped=dropped / judged,
            folds=folds,
            dropping=dropping,
            times=dropped.sum(axis=1),
            of=judged[:, 1:].sum(axis=1),
            returned=returned,
            away=away,
            is_never_kept=(due > 0) & (dropped.sum(axis=1) == due),
            assigned=_most(sweep, votes),
            self_confidence=confidence / folds,
        )


def course(sweep: Sweep, method: str, photos: Sequence[int]) -> Course:
    """The course of the photos at these places of the sweep, under a method with a logged round."""
    picked = np.array(photos, dtype=np.int64)

    def confidence(trial: TrialRounds) -> ByFold:
        """Of training and of test photos, [R, n, 2]."""
        is_part = trial.split[picked, None] == np.array([TRAINING_PHOTO, TEST_PHOTO])
        return np.where(is_part, trial.self_confidence[:, picked][..., None], np.nan)

    trained, tested = fold_mean(by_fold(sweep, method, confidence)).mean.T
    votes = np.zeros((len(picked), len(sweep.classes)), np.int64)
    for trial in sweep.trials_of(method):
        votes += _votes(sweep, trial.predicted[-1, picked], trial.split[picked] == TEST_PHOTO)
    return Course(trained, tested, votes.sum(axis=1), _most(sweep, votes))


def fold_words(sweep: Sweep, photo: int) -> str:
    """Which folds use a photo to train, to choose the round and to test, in words."""
    parts = {trial.fold: int(trial.split[photo]) for trial in sweep.trials.values()}
    said = []
    for part, words in ((TEST_PHOTO, "test"), (VALIDATION_PHOTO, "validation"), (TRAINING_PHOTO, "training")):
        folds = sorted(fold for fold, own in parts.items() if own == part)
        if folds:
            said.append(f"{words} photo of fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))}")
    return "; ".join(said)


def ledger_parts(sweep: Sweep) -> Iterator[pd.DataFrame]:
    """The photos that were dropped at least once, a frame a trial, those dropped most often first.

    method, fold, image, score, rounds, dropped (in how many rounds), returned (how often), history (by round, k kept, d
    dropped), mean and last self_confidence, last predicted score, self_confidence_history (by round, per cent),
    train_folds (how many of the method's folds train on the photo, also those that never dropped it). If labels are
    wrong on purpose, also true_score.
    """
    images = np.array(sweep.images, dtype=object)
    for method in sweep.begun:
        trials = sweep.trials_of(method)
        train_folds = np.sum([trial.split == TRAINING_PHOTO for trial in trials], axis=0)
        for trial in trials:
            part = _ledger(trial, images)
            part["train_folds"] = train_folds[part.index]
            if sweep.is_noisy:
                part["true_score"] = sweep.scores[part.index]
            yield part


def _ledger(trial: TrialRounds, images: NDArray[np.object_]) -> pd.DataFrame:
    """Indexed by the photos' places."""
    every = trial.dropped()
    photos = np.flatnonzero(every.any(axis=0))
    dropped, confidence = every[:, photos], trial.self_confidence[:, photos]
    times = dropped.sum(axis=0)
    columns = {
        "method": trial.method,
        "fold": trial.fold,
        "image": images[photos],
        "score": trial.scores[photos],
        "rounds": len(dropped),
        "dropped": times,
        "returned": _returned(dropped),
        "history": ["".join("d" if out else "k" for out in column) for column in dropped.T],
        "self_confidence_mean": confidence.mean(axis=0, dtype=np.float64),
        "self_confidence_last": confidence[-1],
        "predicted_last": trial.predicted[-1, photos].astype(np.int64),
        "self_confidence_history": [" ".join(row) for row in _PER_CENT[np.rint(100 * confidence.T).astype(int)]],
    }
    order = np.lexsort((columns["self_confidence_mean"], -times))
    return pd.DataFrame(columns, index=photos).iloc[order]


def _returned(dropped: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How often each photo of [R, n] came back, [n]."""
    return np.asarray((dropped[:-1] & ~dropped[1:]).sum(axis=0))


def _first_drop(dropped: NDArray[np.bool_]) -> int:
    """The place of the first round that drops a photo, of [R, N]; 1, the first that could, if none does."""
    drops = dropped.any(axis=1)
    return int(drops.argmax()) if drops.any() else 1


def _votes(sweep: Sweep, predicted: NDArray[np.int64], members: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which class a network assigns to each of the photos that are ``members``, [n, C]."""
    return np.asarray((sweep.places(predicted)[:, None] == np.arange(len(sweep.classes))) & members[:, None])


def _most(sweep: Sweep, votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The score that most vote for, [n]; -1 without a vote."""
    return np.where(votes.any(axis=1), sweep.classes[votes.argmax(axis=1)], -1)
