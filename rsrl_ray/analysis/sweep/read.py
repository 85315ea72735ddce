"""Reading a sweep from MLflow: metrics, and the table of photos of every round."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray.analysis.sweep.arrays import Sweep, TrialRounds
from rsrl_ray.analysis.sweep.round_files import (
    CONFIDENCE,
    PREDICTED,
    ReadPhotos,
    ReadRound,
    TrialFold,
    read_column,
    read_fold,
    read_photos,
    read_round,
)
from rsrl_ray.analysis.sweep.rows import Bits, ByRound, OnDemand
from rsrl_ray.config import Experiment
from rsrl_ray.core.selection import Curve
from rsrl_ray.core.trial import STATES, TrialKey
from rsrl_ray.method import methods_of
from rsrl_ray.tracking.find import Found, find_results
from rsrl_ray.tracking.histories import THREADS
from rsrl_ray.tracking.names import predictions_path
from rsrl_ray.tracking.read import TrackedRun

PHOTOS_SEEN = "photos_seen"  # a metric
HELD = 2**29  # bytes of all trials' predictions and self-confidences; the rest is read when it is asked for


def read_sweep(experiment: Experiment, found: Found | None = None) -> Sweep:
    """Read the experiment's sweep. found : what `rsrl_ray.tracking.find.find_results` gave, if it was called before.

    Trials that the experiment file does not name (any more), and rounds beyond those that it asks for, are left out.

    Raises
    ------
    ValueError
        If there is no sweep, no round of it is logged yet, or a logged round cannot be read.
    """
    found = found or find_results(experiment)
    begun = [run for run in found.trials.values() if run.rounds]
    if not begun:
        raise ValueError(f"no round of {experiment.name} is logged yet; `rsrl show` tells how far it is")
    photos = begun[0].artifacts.read(predictions_path(1), read_photos)
    threads = ThreadPoolExecutor(THREADS)
    try:
        names = sorted({name for run in begun for name in run.metrics})
        curves_of = {name: threads.submit(found.results.curves, begun, name) for name in names}
        firsts = {run.fold: run for run in reversed(begun)}
        folds = {fold: threads.submit(read_fold, run.artifacts) for fold, run in firsts.items()}
        rows = np.cumsum([run.rounds for run in begun]) * len(photos.scores)
        are_held = rows * (photos.score_type.itemsize + np.dtype(np.float32).itemsize) <= HELD
        read = {
            run.key: _TrialReading(run, photos, folds[run.fold], threads, bool(held))
            for run, held in zip(begun, are_held, strict=True)
        }
        metrics = {name: values.result() for name, values in curves_of.items()}
        trials = {key: reading.trial(metrics, experiment.training.epochs) for key, reading in read.items()}
    finally:
        threads.shutdown(cancel_futures=True)  # if one round could not be read, the others need not be tried
    methods = methods_of(experiment)
    return Sweep(
        name=experiment.name,
        run_id=found.sweep.id,
        images=photos.images,
        scores=photos.scores,
        classes=photos.classes,
        rounds=experiment.rounds,
        methods=experiment.method_names(),
        folds=tuple(experiment.fold_numbers()),
        trials=trials,
        majority=experiment.revision.majority_classes,
        missing=(*found.differs, *_missing(experiment, found.trials)),
        is_noisy=photos.are_noisy,
        chooses=found.split,
        measure=experiment.measure,
        solved=tuple(name for name, method in methods.items() if method.learning.ridge is not None),
        judged_otherwise=tuple(name for name, method in methods.items() if not method.judged_in_sample),
    )


class _TrialReading:
    """A trial whose rounds are being read by threads. is_held : whether its predictions stay in memory."""

    def __init__(
        self, run: TrackedRun, photos: ReadPhotos, fold: "Future[TrialFold]", threads: ThreadPoolExecutor, is_held: bool
    ) -> None:
        self._run, self._photos, self._fold, self._is_held = run, photos, fold, is_held
        self._rounds = [threads.submit(self._read, number) for number in range(1, run.rounds + 1)]

    def _read(self, number: int) -> ReadRound:
        # The threads that read folds were started before these, so this wait always ends.
        return read_round(self._run.artifacts, number, self._fold.result(), self._photos, self._is_held)

    def trial(self, metrics: Mapping[str, Mapping[str, Curve]], epochs: int) -> TrialRounds:
        """The trial, once everything is read; metrics : by name and run."""
        rounds = [each.result() for each in self._rounds]
        self._rounds.clear()
        run, fold = self._run, self._fold.result()
        numbers = pd.RangeIndex(1, run.rounds + 1, name="round")
        frame = pd.DataFrame({name: metrics[name][run.id] for name in sorted(run.metrics)}, index=numbers)
        kept = Bits(np.stack([each.kept for each in rounds]), len(fold.split))
        return TrialRounds(
            fold=run.fold,
            method=run.method,
            status=run.status,
            reason=run.reason,
            run_id=run.id,
            metrics=frame,
            split=fold.split,
            scores=fold.scores,
            photos_seen=_photos_seen(frame, kept, epochs),
            predicted=self._values(PREDICTED, self._photos.score_type, [each.predicted for each in rounds]),
            kept=kept,
            self_confidence=self._values(CONFIDENCE, np.dtype(np.float32), [each.self_confidence for each in rounds]),
            confusions=np.stack([each.confusion for each in rounds]),
        )

    def _values(self, column: str, kind: "np.dtype[Any]", read: Sequence[NDArray[Any] | None]) -> ByRound:
        if not self._is_held:
            return OnDemand(self._run.rounds, partial(read_column, self._run.artifacts, column, kind))
        return np.stack([values for values in read if values is not None])


def _photos_seen(metrics: pd.DataFrame, kept: ByRound, epochs: int) -> NDArray[np.float64]:
    """As logged; versions up to 0.1 did not log it, and passed ``epochs`` times over the kept photos."""
    if PHOTOS_SEEN in metrics and metrics[PHOTOS_SEEN].notna().all():
        return metrics[PHOTOS_SEEN].to_numpy(dtype=np.float64)
    return np.cumsum([mask.sum() * epochs for mask in kept], dtype=np.float64)


def _missing(experiment: Experiment, runs: dict[TrialKey, TrackedRun]) -> list[str]:
    """A sentence for every trial that was begun and lacks rounds, and one for the folds of a method that wait."""
    lines = []
    for name in experiment.method_names():
        for fold in experiment.fold_numbers():
            run = runs.get(TrialKey(fold, name))
            if run is not None and run.rounds < experiment.rounds:
                state = f"still {STATES[run.status]}" if run.status == "RUNNING" else STATES[run.status]
                reason = f" ({run.reason})" if run.reason else ""
                lines.append(
                    f"{name}, fold {fold}: {state}{reason}; {run.rounds} of {experiment.rounds} rounds logged."
                )
        waiting = [str(fold) for fold in experiment.fold_numbers() if TrialKey(fold, name) not in runs]
        if waiting:
            lines.append(f"{name}, fold {', '.join(waiting)}: not begun yet.")
    return lines
