"""A trial's rounds as MLflow gets them, made from the archive; and which of them is the chosen one so far."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.arrays import mask_of, weights_of
from rsrl_ray.core.selection import TEST, VALIDATION, Split, choose, curve_of, default_criterion
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.rounds.files import RoundFiles, draw_again
from rsrl_ray.rounds.loop import RoundResult
from rsrl_ray.store.archive import Archive, Record
from rsrl_ray.sweep.report import Report
from rsrl_ray.sweep.task import Task
from rsrl_ray.tracking.entries import BestSoFar, Round, Trial

_MEASURES = ("test_", "validation_", "f1_", "train_size", "photos_seen")  # how the names of measures begin


class LoggedRounds:
    """Makes the rounds of several trials; it remembers the last round of each."""

    def __init__(self, task: Task) -> None:
        self._task, self._archive = task, Archive(task.experiment.storage)
        self._previous: dict[str, Record] = {}
        self._files: dict[int, RoundFiles] = {}  # by fold

    def rounds(self, trial: Trial, reports: Sequence[Report], choices: Sequence[BestSoFar]) -> list[Round]:
        """Reported rounds that follow one another; ``choices`` : of all rounds of the trial, as `choices` makes them.

        The trial's first and its last round, and the one chosen so far, get a picture.
        """
        chosen = {choice.number: choice for choice in choices}
        drawn = {1, *list(chosen)[-1:], *(report.number for report in reports if report.last)}
        return [self._round(trial, one, chosen.get(one.number), one.number in drawn) for one in reports]

    def _round(self, trial: Trial, report: Report, choice: BestSoFar | None, is_drawn: bool) -> Round:
        """A round, which is read from the archive when it is written: several at once may be large."""

        def write(folder: Path) -> None:
            before, record = self._before(trial, report), self._record(trial, report.key)
            kept, weights = mask_of(record.kept), weights_of(record.kept)
            returned, predicted = kept & ~before, report.predicted
            done = RoundResult(report.number, kept, returned, record.logits, predicted=predicted, weights=weights)
            files = self._files_of(trial.key.fold, done)
            files.write(folder, done, record.conv1)
            if is_drawn:
                files.draw(folder, done, trial.key)
            self._previous[trial.id] = record

        return Round(report.number, report.metrics, report.note, report.link, report.created, write, choice)

    def _files_of(self, number: int, done: RoundResult) -> RoundFiles:
        if number not in self._files:
            fold = next(fold for fold in self._task.folds if fold.number == number)
            membership = self._task.experiment.revision.membership
            self._files[number] = RoundFiles(self._task.table(fold, done), membership)
        return self._files[number]

    def forget(self, trial: Trial) -> None:
        """The trial has ended. The logits of a thousand trials would fill the memory."""
        self._previous.pop(trial.id, None)

    def _before(self, trial: Trial, report: Report) -> NDArray[np.bool_]:
        """The kept mask of the round before, [N]; all photos for round 1, so that none counts as returned."""
        if report.number == 1:
            return np.ones(len(self._task.photos.scores), dtype=bool)
        return mask_of(self._record(trial, report.parent_key).kept)

    def _record(self, trial: Trial, key: str) -> Record:
        known = self._previous.get(trial.id)
        record = known if known is not None and known.key == key else self._archive.read(key)
        if record is None:
            raise FileNotFoundError(f"round {key} is no longer in the archive")
        return record


def pictured(rounds: int, choices: Sequence[BestSoFar]) -> Collection[int]:
    """Which of a trial's rounds have a picture at its end: the first, the last and the chosen one."""
    return sorted({1, rounds, choices[-1].number}) if rounds else []


def draw(folder: Path, trial: Trial, number: int, predictions: Path) -> None:
    """Draw a round's picture from what is logged of it, see `rsrl_ray.tracking.write.PictureOf`."""
    draw_again(predictions, folder, trial.key, number)


def choices(chain: Sequence[Report], chooses: Split) -> list[BestSoFar]:
    """Those of a trial's rounds 1, 2, ... that are better than all before them; the last of them is the chosen one.

    chooses : the photos on which rounds are chosen.
    """
    curves = {
        name: curve_of({report.number: report.metrics[name] for report in chain if name in report.metrics}, len(chain))
        for name in (VALIDATION, TEST)
    }
    criterion, trial = default_criterion(chooses), TrialKey(0, "")  # any key does
    so_far = [{name: curve[: end + 1] for name, curve in curves.items()} for end in range(len(chain))]
    chosen = [choose({trial: each}, criterion)[trial] for each in so_far]
    return [_choice(chain[:number]) for number in dict.fromkeys(chosen)]


def _choice(chain: Sequence[Report]) -> BestSoFar:
    """The last of these rounds. A measure is nan if the round lacks it and another round has it."""
    last, names = chain[-1], dict.fromkeys(name for report in chain for name in report.metrics)
    values = {name: last.metrics.get(name, math.nan) for name in names if name.startswith(_MEASURES)}
    return BestSoFar(last.number, last.created, {"round": float(last.number), **values})
