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
from rsrl_ray.core.trial import STATES, TrialKey
from rsrl_ray.round_table import SPLITS
from rsrl_ray.tracking.find import find_results
from rsrl_ray.tracking.names import predictions_path
from rsrl_ray.tracking.read import Results, TrackedRun

THREADS = 8  # readers at once: a tracking server answers several, a disk is as fast with few
Chosen = Mapping[TrialKey, int]
"""The chosen round of every trial that has one."""


@dataclass(frozen=True)
class Trial:
    """The R rounds of one fold and schedule that are wholly logged, R >= 1, over the N photos of the sweep.

    status : FINISHED, RUNNING, INTERRUPTED, FAILED or KILLED; reason : why it failed, or "".
    metrics : index round 1 to R, one column for each MLflow metric; nan where a round has none.
    split : [N], 0 train, 1 validation, 2 test.
    predicted : [R, N], scores. kept : [R, N], False outside the training photos. self_confidence : [R, N].
    """

    fold: int
    schedule: str
    status: str
    reason: str
    run_id: str
    metrics: pd.DataFrame
    split: NDArray[np.int8]
    predicted: NDArray[np.int64]
    kept: NDArray[np.bool_]
    self_confidence: NDArray[np.float32]


@dataclass(frozen=True)
class Sweep:
    """A sweep as far as it is logged.

    run_id : of the parent run. scores : [N]. classes : [C], the distinct scores, ascending.
    rounds, schedules, folds : as the experiment file asks. trials : those with a logged round, by fold and schedule.
    majority : how many of the largest classes are revised. missing : sentences on what is not there.
    """

    name: str
    run_id: str
    images: tuple[str, ...]
    scores: NDArray[np.int64]
    classes: NDArray[np.int64]
    rounds: int
    schedules: tuple[str, ...]
    folds: tuple[int, ...]
    trials: dict[TrialKey, Trial]
    majority: int
    missing: tuple[str, ...] = field(default=())


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
        read = {key: _Reading(tracker, run, threads) for key, run in runs.items() if run.rounds}
        trials = {key: reading.trial() for key, reading in read.items()}
    finally:
        threads.shutdown(cancel_futures=True)  # what one could not read, a thousand others need not try
    first = next(iter(trials))
    images, scores = tracker.read_artifact(runs[first], predictions_path(1), _photos)
    return Sweep(
        name=experiment.name,
        run_id=found.sweep.id,
        images=images,
        scores=scores,
        classes=np.unique(scores),
        rounds=experiment.rounds,
        schedules=tuple(experiment.schedules),
        folds=tuple(experiment.fold_numbers()),
        trials=trials,
        majority=experiment.revision.majority_classes,
        missing=(*found.differs, *_missing(experiment, runs)),
    )


class _Reading:
    """A trial whose rounds and metrics are being read by threads, into arrays made beforehand."""

    def __init__(self, tracker: Results, run: TrackedRun, threads: ThreadPoolExecutor) -> None:
        self._run = run
        self._split = threads.submit(tracker.read_artifact, run, predictions_path(1), _split)
        self._tables = [
            threads.submit(tracker.read_artifact, run, predictions_path(number), _round)
            for number in range(1, run.rounds + 1)
        ]
        self._histories = {name: threads.submit(tracker.history, run, name) for name in sorted(run.metrics)}

    def trial(self) -> Trial:
        """The trial, once everything is read."""
        predicted, kept, confidence = zip(*(table.result() for table in self._tables), strict=True)
        self._tables.clear()
        numbers = pd.RangeIndex(1, self._run.rounds + 1, name="round")
        metrics = {name: pd.Series(found.result(), dtype="float64") for name, found in self._histories.items()}
        run = self._run
        return Trial(
            fold=run.fold,
            schedule=run.schedule,
            status=run.status,
            reason=run.reason,
            run_id=run.id,
            metrics=pd.DataFrame({name: values.reindex(numbers) for name, values in metrics.items()}, index=numbers),
            split=self._split.result(),
            predicted=np.stack(predicted),
            kept=np.stack(kept),
            self_confidence=np.stack(confidence),
        )


def _photos(file: Path) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    table = _columns(file, ["image", "score"])
    return tuple(table["image"].to_pylist()), table["score"].to_numpy().astype(np.int64)


def _split(file: Path) -> NDArray[np.int8]:
    names = _columns(file, ["split"])["split"].cast(pa.string())
    return np.asarray(pc.index_in(names, pa.array(SPLITS)), dtype=np.int8)


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
    """A sentence for every trial that was begun and lacks rounds, and one for the waiting folds of a schedule."""
    lines = []
    for name in experiment.schedules:
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
