"""What a sweep says while it runs, where there is no terminal."""

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.console import Console
from sweep.reports import FIRM, ORIGIN, carried, report

from rsrl_ray.core.trial import TrialKey
from rsrl_ray.sweep.driver.progress import SweepProgress
from rsrl_ray.sweep.report import Failure, as_result, told_in
from rsrl_ray.terminal import Terminal

METRICS = {
    **{"validation_macro_f1": 0.5, "test_macro_f1": 0.25, "train_size": 1900.0, "dropped": 100.0},
    **{"seconds": 160.0, "reused": 0.0},
}


def said(*results: dict[str, Any]) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    progress = SweepProgress(Terminal(console), [TrialKey(0, "firm")], 30)
    trial: Any = SimpleNamespace(config=carried(0, "firm"))
    for result in results:
        progress.on_trial_result(0, [], trial, result)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def result(number: int, made: bool, note: str = "") -> dict[str, Any]:
    return as_result([report(number, made=made, metrics=METRICS, note=note)])


def test_a_round_that_the_same_trial_replays_is_from_the_archive() -> None:
    replayed, trained = said(result(1, False), result(2, True))
    assert replayed == (
        "fold 0, firm: round 1 of 30, 0.500 (test 0.250), kept 1,900 of 2,000, from the archive"  # not: 160 s
    )
    assert trained == "fold 0, firm: round 2 of 30, 0.500 (test 0.250), kept 1,900 of 2,000, 160 s"


def test_a_note_and_a_failure() -> None:
    _, note, failure = said(result(1, True, "a note"), as_result([Failure(FIRM, "it [/] is over", ORIGIN)]))
    assert note == "fold 0, firm, round 1: a note"
    assert failure == "fold 0, firm failed: it [/] is over"


def test_a_report_comes_back_from_what_tune_makes_of_it() -> None:
    given = report(2, metrics=METRICS, last=True, predicted=np.array([2, 0, 1], dtype=np.int16))
    told = as_result([given]) | {"training_iteration": 2, "time_total_s": 1.0, "config": {}}
    assert told_in(told) == [given]
    assert (given.value, given.seconds, told["done"]) == (0.5, 160.0, True)
