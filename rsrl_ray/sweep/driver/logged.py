"""A trial's rounds as MLflow is given them, made of what the archive holds."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.selection import TEST
from rsrl_ray.rounds.files import write_round
from rsrl_ray.rounds.table import Judged
from rsrl_ray.store.archive import Archive, Record
from rsrl_ray.sweep.report import Report
from rsrl_ray.sweep.task import Task
from rsrl_ray.tracking.entries import Choice, Round, Trial


class LoggedRounds:
    """Makes round after round of several trials; of each it remembers the round before."""

    def __init__(self, task: Task, archive: Archive) -> None:
        self._task, self._archive = task, archive
        self._previous: dict[str, tuple[str, Record]] = {}

    def round(self, trial: Trial, report: Report, choice: Choice | None) -> Round:
        """A reported round; choice : where it is better than all before it."""
        record, before = self._record(trial, report.key), self._before(trial, report)
        fold = next(fold for fold in self._task.folds if fold.number == trial.key.fold)
        title = f"{trial.name}, round {report.number}: macro F {report.metrics[TEST]:.3f}"

        def write(folder: Path) -> None:
            judged = Judged(record.kept, record.kept & ~before, record.logits, report.predicted)
            write_round(folder, self._task.table(fold, judged), record.conv1, title)

        self._previous[trial.id] = (report.key, record)
        return Round(report.number, report.metrics, report.note, report.link, report.created, write, choice)

    def forget(self, trial: Trial) -> None:
        """It has ended: logits of a thousand trials would fill the memory."""
        self._previous.pop(trial.id, None)

    def _before(self, trial: Trial, report: Report) -> NDArray[np.bool_]:
        """The kept mask of the round before, [N]; round 1 has none, and no photo has come back."""
        if report.number == 1:
            return np.ones(len(self._task.photos.scores), dtype=bool)
        return self._record(trial, report.parent_key).kept

    def _record(self, trial: Trial, key: str) -> Record:
        known = self._previous.get(trial.id)
        record = known[1] if known is not None and known[0] == key else self._archive.read(key)
        if record is None:
            raise FileNotFoundError(f"round {key} is no longer in the archive")
        return record
