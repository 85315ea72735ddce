"""What MLflow holds of a sweep, as arrays."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rsrl_ray.config import Experiment
from rsrl_ray.core.selection import curve_of
from rsrl_ray.core.trial import STATES, TrialKey
from rsrl_ray.photos.table import public_name
from rsrl_ray.round_table import SPLITS
from rsrl_ray.tracking.find import find_results
from rsrl_ray.tracking.names import predictions_path
from rsrl_ray.tracking.read import THREADS, Results, TrackedRun

TRUE_SCORE, PHOTOS_SEEN = "true_score", "photos_seen"  # a column of a round's table, a metric
Chosen = Mapping[TrialKey, int]
"""The chosen round of every trial that has one."""


@dataclass(frozen=True)
class Trial:
    """The R rounds of one fold and method that are wholly logged, R >= 1, over the N photos of the sweep.

    status : FINISHED, RUNNING, INTERRUPTED, FAILED or KILLED; reason : why it failed, or "".
    metrics : index round 1 to R, one column for each MLflow metric; nan where a round has none.
    split : [N], 0 train, 1 validation, 2 test. scores : [N], as the trial has them: with `config.Noise` those of
    training and validation photos are the noisy ones.
    photos_seen : [R], how many photos it has trained on by then, each as often as it was seen.
    predicted : [R, N], scores. kept : [R, N], False outside the training photos. self_confidence : [R, N].
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
    predicted: NDArray[np.int64]
    kept: NDArray[np.bool_]
    self_confidence: NDArray[np.float32]


@dataclass(frozen=True)
class Sweep:
    """A sweep as far as it is logged.

    run_id : of the parent run. scores : [N], the true ones. classes : [C], the distinct scores, ascending.
    is_noisy : whether labels are wrong on purpose (`config.Noise`), so that it is known which.
    rounds, methods, folds : as the experiment file asks. trials : those with a logged round, by fold and method.
    majority : how many of the largest classes are revised. missing : sentences on what is not there.
    """

    name: str
    run_id: str
    images: tuple[str, ...]
    scores: NDArray[np.int64]
    classes: NDArray[np.int64]
    rounds: int
    methods: tuple[str, ...]
    folds: tuple[int, ...]
    trials: dict[TrialKey, Trial]
    majority: int
    missing: tuple[str, ...] = field(default=())
    is_noisy: bool = False


def read_sweep(experiment: Experiment) -> Sweep:
    """Read the experiment's sweep, see `rsrl_ray.tracking.find.find_results`.

    Trials that the experiment file does not name (any more), and rounds beyond those that it asks for, are left out.

    Raises
    ------
    ValueError
        Where there is no sweep, no round of it is logged yet, or a logged round cannot be read.
    """
    found = find_results(experiment)
    tracker, runs = found.results, found.trials
    if not any(run.rounds for run in runs.values()):
        raise ValueError(f"no round of {experiment.name} is logged yet; `rsrl show` tells how far it is")
    threads = ThreadPoolExecutor(THREADS)
    try:
        epochs = experiment.training.epochs
        begun = [run for run in runs.values() if run.rounds]
        names = sorted({name for run in begun for name in run.metrics})
        histories = {
            name: threads.submit(tracker.histories, [run for run in begun if name in run.metrics], name)
            for name in names
        }
        read = {run.key: _Reading(tracker, run, threads) for run in begun}
        metrics = {name: values.result() for name, values in histories.items()}
        trials = {key: reading.trial(metrics, epochs) for key, reading in read.items()}
    finally:
        threads.shutdown(cancel_futures=True)  # what one could not read, a thousand others need not try
    first = next(iter(trials))
    photos = tracker.read_artifact(runs[first], predictions_path(1), _photos)
    return Sweep(
        name=experiment.name,
        run_id=found.sweep.id,
        images=photos.images,
        scores=photos.scores,
        classes=np.unique(photos.scores),
        rounds=experiment.rounds,
        methods=experiment.method_names(),
        folds=tuple(experiment.fold_numbers()),
        trials=trials,
        majority=experiment.revision.majority_classes,
        missing=(*found.differs, *_missing(experiment, runs)),
        is_noisy=photos.are_noisy,
    )


class _Reading:
    """A trial whose rounds are being read by threads."""

    def __init__(self, tracker: Results, run: TrackedRun, threads: ThreadPoolExecutor) -> None:
        self._run = run
        self._fold = threads.submit(tracker.read_artifact, run, predictions_path(1), _fold)
        self._tables = [
            threads.submit(tracker.read_artifact, run, predictions_path(number), _round)
            for number in range(1, run.rounds + 1)
        ]

    def trial(self, metrics: Mapping[str, Mapping[str, Mapping[int, float]]], epochs: int) -> Trial:
        """The trial, once everything is read; metrics : by name, run and round."""
        predicted, kept, confidence = zip(*(table.result() for table in self._tables), strict=True)
        self._tables.clear()
        run = self._run
        numbers = pd.RangeIndex(1, run.rounds + 1, name="round")
        frame = pd.DataFrame(
            {name: curve_of(metrics[name][run.id], run.rounds) for name in sorted(run.metrics)}, index=numbers
        )
        split, scores = self._fold.result()
        return Trial(
            fold=run.fold,
            method=run.method,
            status=run.status,
            reason=run.reason,
            run_id=run.id,
            metrics=frame,
            split=split,
            scores=scores,
            photos_seen=_photos_seen(frame, np.stack(kept), epochs),
            predicted=np.stack(predicted),
            kept=np.stack(kept),
            self_confidence=np.stack(confidence),
        )


@dataclass(frozen=True)
class _Photos:
    """The photos of a sweep and their true scores, [N]; are_noisy : whether trials have others."""

    images: tuple[str, ...]
    scores: NDArray[np.int64]
    are_noisy: bool


def _photos(file: Path) -> _Photos:
    are_noisy = TRUE_SCORE in pq.read_schema(file).names
    score = TRUE_SCORE if are_noisy else "score"
    table = _columns(file, ["image", score])
    images = tuple(map(public_name, table["image"].to_pylist()))  # those of older versions hold keys
    return _Photos(images, table[score].to_numpy().astype(np.int64), are_noisy)


def _fold(file: Path) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Splits and scores of the photos, [N] each, as the trial's fold has them."""
    table = _columns(file, ["split", "score"])
    split = np.asarray(pc.index_in(table["split"].cast(pa.string()), pa.array(SPLITS)), dtype=np.int8)
    return split, table["score"].to_numpy().astype(np.int64)


def _photos_seen(metrics: pd.DataFrame, kept: NDArray[np.bool_], epochs: int) -> NDArray[np.float64]:
    """As logged; versions up to 0.1 did not log it, and trained for ``epochs`` passes over what is kept."""
    if PHOTOS_SEEN in metrics and metrics[PHOTOS_SEEN].notna().all():
        return metrics[PHOTOS_SEEN].to_numpy(dtype=np.float64)
    return np.cumsum(kept.sum(axis=1) * epochs, dtype=np.float64)


def _round(file: Path) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float32]]:
    """Predicted scores, kept mask and self-confidence of one round, [N] each."""
    table = _columns(file, ["predicted", "kept", "self_confidence"])
    return (
        table["predicted"].to_numpy().astype(np.int64),
        pc.fill_null(table["kept"], False).to_numpy().astype(np.bool_),
        table["self_confidence"].to_numpy().astype(np.float32),
    )


def _columns(file: Path, names: Sequence[str]) -> pa.Table:
    return pq.read_table(file, columns=list(names), use_threads=False)


def _missing(experiment: Experiment, runs: dict[TrialKey, TrackedRun]) -> list[str]:
    """A sentence for every trial that was begun and lacks rounds, and one for the waiting folds of a method."""
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
