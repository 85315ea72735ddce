"""Which rounds of a trial have a picture of their confusion matrix in MLflow, also after a kill."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import put_database
from sweep.reports import carried, report, six_photos

from rsrl_ray import config
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.store.archive import Archive, Record
from rsrl_ray.sweep.driver import tracked
from rsrl_ray.sweep.driver.board import Board
from rsrl_ray.sweep.driver.log import Log
from rsrl_ray.sweep.report import as_result
from rsrl_ray.sweep.task import Task

MACRO_F = {1: 0.1, 2: 0.2, 3: 0.5, 4: 0.3, 5: 0.4}  # by round: the third is chosen
KEY, FOLD = TrialKey(0, "none"), Fold(0, np.array([0, 1]), np.array([2, 3]), np.array([4, 5]))
TRIAL: Any = SimpleNamespace(config=carried(0, "none"), max_failures=-1)


@dataclass
class Driver:
    """Logs rounds of one trial into a folder, in as many drivers as are started, one after the other."""

    folder: Path

    def log(self, rounds: Sequence[int], asked: int, one_by_one: bool = False, killed: bool = False) -> set[int]:
        """Start a driver that is told of these rounds and of the trial's end; the rounds that have a picture then.

        asked : how many the file asks for. one_by_one : each is logged before the next one comes, else all at once.
        killed : the driver ends before the trial does.
        """
        log = self._started(asked)
        with log._writer._changed:  # nothing is logged before all is told
            for number in () if one_by_one else rounds:
                log.on_trial_result(0, [], TRIAL, self._result(number, asked))
        for number in rounds if one_by_one else ():
            log.on_trial_result(0, [], TRIAL, self._result(number, asked))
            _wait(log)
        _wait(log)
        if not killed:
            log.end(KEY, "FINISHED", "", None)
            log.close("FINISHED")
            assert log._board.closing() == []
        return self._pictured()

    def _started(self, asked: int) -> Log:
        experiment = config.Experiment(
            name="tiny",
            photos="photos.csv",
            storage=str(self.folder),
            folds=config.Folds(count=3, use=[0]),
            schedules={"none": {1: 0.0}},
            rounds=asked,
        )
        task = Task(experiment, six_photos(self.folder), [FOLD], {}, "start", None)  # type: ignore[arg-type]
        sweep = tracked.sweep_run(task)
        return Log(task, tracked.open_tracker(task, sweep, print), sweep, tracked.trials_of(task), Board())

    def _result(self, number: int, asked: int) -> dict[str, Any]:
        key, kept = f"{number:02d}", np.isin(np.arange(6), FOLD.train)
        logits = np.random.default_rng(number).normal(size=(6, 2)).astype(np.float32)
        record = Record(number, logits, kept, {}, "maker", 1.0, 1.0, "")
        Archive(str(self.folder)).write(key, record, {"w": np.zeros(1, np.float32)})
        metrics = {"validation_macro_f1": MACRO_F[number], "test_macro_f1": MACRO_F[number], "seconds": 1.0}
        before = f"{number - 1:02d}"
        return as_result(
            [
                report(
                    number, trial=TrialKey(0, "none"), key=key, parent_key=before, metrics=metrics, last=number == asked
                )
            ]
        )

    def _pictured(self) -> set[int]:
        folders = list(self.folder.glob("artifacts/**/rounds/*"))
        for place in folders:
            assert (place / "predictions.parquet").exists() and (place / "classes.csv").exists()
        return {int(place.name) for place in folders if (place / "confusion.png").exists()}


def _wait(log: Log) -> None:
    """Until all is logged that the trial has told."""
    done = threading.Event()
    log._writer.put(str(KEY), done.set)
    assert done.wait(60)


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    put_database(tmp_path / "mlflow.db")
    return Driver(tmp_path)


def test_the_first_the_chosen_and_the_last_round_and_those_that_were_chosen_for_a_while(driver: Driver) -> None:
    assert driver.log([1, 2, 3, 4, 5], asked=5) == {1, 3, 5}
    assert driver.log([1, 2, 3, 4, 5], asked=5) == {1, 3, 5}  # the same command again


def test_while_rounds_come_in_slowly_the_best_one_so_far_has_a_picture(driver: Driver) -> None:
    assert driver.log([1, 2], asked=5, one_by_one=True, killed=True) == {1, 2}
    assert driver.log([1, 2, 3, 4, 5], asked=5, one_by_one=True) == {1, 2, 3, 5}


def test_a_sweep_that_is_extended_or_asks_for_fewer_rounds(driver: Driver) -> None:
    assert driver.log([1, 2], asked=2) == {1, 2}
    assert driver.log([1, 2, 3, 4, 5], asked=5) == {1, 2, 3, 5}
    assert driver.log([1, 2, 3, 4], asked=4) == {1, 2, 3, 4, 5}


def test_a_trial_that_ends_early_after_a_kill_has_the_picture_of_its_last_round(driver: Driver) -> None:
    """The driver is killed when round 4 is logged, and the same command is stopped before round 5."""
    assert driver.log([1, 2, 3, 4], asked=5, killed=True) == {1, 3}
    for picture in driver.folder.glob("artifacts/**/confusion.png"):
        picture.unlink()  # as if the kill had come before them
    assert driver.log([1, 2, 3, 4], asked=5) == {1, 3, 4}
