"""The rows of `rsrl show`."""

import numpy as np
import pytest
from rich.console import Console

from rsrl_ray.cli import tables
from rsrl_ray.config import Experiment, Folds
from rsrl_ray.core.selection import TEST, VALIDATION, Split, choose, curve_of, default_criterion
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.tracking.find import Chosen, TrialState
from rsrl_ray.tracking.read import Artifacts, TrackedRun, cut

TESTED = {1: 0.1, 2: 0.3, 3: 0.2, 4: 0.9}
VALIDATED = {1: 0.5, 2: 0.4, 3: 0.8, 4: 0.9}
SIZES = {1: 2000.0, 2: 1900.0, 3: 1800.0, 4: 1700.0}


def chosen(states: dict[TrialKey, TrialState], split: Split) -> Chosen:
    return Chosen(split, choose({key: state.curves for key, state in states.items()}, default_criterion(split)))


def shown(rounds: int, logged: int, split: Split = "validation", **history: dict[int, float]) -> str:
    """The row of a trial with this history, ``logged`` of it wholly, where the file asks for ``rounds``."""
    experiment = Experiment("tiny", "photos.csv", {"none": {1: 0.0}}, rounds=rounds)
    run = cut(TrackedRun("run", 0, "none", "RUNNING", "", logged, tuple(history), {}, {}, Artifacts("", "")), rounds)
    curves = {name: curve_of(history.get(name, {}), run.rounds) for name in (VALIDATION, TEST, "train_size")}
    console = Console(width=120)
    with console.capture() as captured:
        states = {run.key: TrialState(run, curves)}
        console.print(tables.trials(experiment, states, chosen(states, split)))
    return " ".join(next(line for line in captured.get().splitlines() if line.startswith("   0")).split())


@pytest.mark.parametrize(
    ("rounds", "row"),
    [
        (4, "0 none running 4/4 0.900 (0.900) 1,700 round 4: 0.900 (0.900)"),
        (30, "0 none running 4/30 0.900 (0.900) 1,700 round 4: 0.900 (0.900)"),
        (2, "0 none running 2/2 0.400 (0.300) 1,900 round 1: 0.500 (0.100)"),  # two of four are asked for
    ],
)
def test_rounds_that_the_file_does_not_ask_for_are_not_shown(rounds: int, row: str) -> None:
    assert shown(rounds, 4, validation_macro_f1=VALIDATED, test_macro_f1=TESTED, train_size=SIZES) == row


def test_without_validation_photos_the_best_is_that_on_test_photos() -> None:
    row = shown(3, 4, "test", test_macro_f1=TESTED, train_size=SIZES)
    assert row == "0 none running 3/3 0.200 (0.200) 1,800 round 2: 0.300 (0.300)"


def test_a_round_that_is_being_logged_is_not_there_yet() -> None:
    row = shown(4, 1, validation_macro_f1=VALIDATED, test_macro_f1=TESTED, train_size=SIZES)
    assert row == "0 none running 1/4 0.500 (0.100) 2,000 round 1: 0.500 (0.100)"
    assert shown(4, 0) == "0 none running 0/4"


SCHEDULES = {"none": {1: 0.0}, "firm": {1: 0.9}, "mild": {1: 0.5}}


def test_methods_are_summed_up_over_their_folds() -> None:
    experiment = Experiment("tiny", "photos.csv", SCHEDULES, rounds=2, folds=Folds(use=[0, 1]))
    states = {}
    for fold, method, status, test in (
        (0, "none", "FINISHED", [0.1, 0.3]),
        (1, "none", "RUNNING", [0.5, 0.2]),
        (0, "firm", "FAILED", [0.25]),
    ):
        run = TrackedRun("run", fold, method, status, "", len(test), (TEST,), {}, {}, Artifacts("", ""))
        states[run.key] = TrialState(run, {TEST: np.array(test)})
    console = Console(width=120)
    with console.capture() as captured:
        console.print(tables.methods(experiment, states, chosen(states, "test")))
    assert [line.split() for line in captured.get().splitlines()[2:]] == [
        ["none", "2/2", "1", "0.400", "0.141"],  # .3 and .5, each its best
        ["firm", "1/2", "0", "0.250", "so", "far"],
        ["mild", "0/2", "0"],
    ]
