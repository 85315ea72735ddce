from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st
from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial
from sweep.reports import FIRM, ORIGIN, carried, report

from rsrl_ray.core.prediction import Prediction
from rsrl_ray.core.rules.keep import Keep
from rsrl_ray.core.rules.quantile import Quantile
from rsrl_ray.core.rules.thresholds import Thresholds
from rsrl_ray.core.schedule import make_schedule
from rsrl_ray.core.trial import Block
from rsrl_ray.learning import Learning
from rsrl_ray.method import Method
from rsrl_ray.sweep.driver.scheduler import PENDING_AT_ONCE, Outline, Prefix, SharingScheduler, outline, slots
from rsrl_ray.sweep.report import Failure, as_result
from rsrl_ray.vision.losses import Balanced

STEPS = {"firm": {1: 0.5}, "later": {1: 0.5, 3: 0.6}, "none": {1: 0.0}}


def method(steps: dict[int, Any]) -> Method:
    return Method(Thresholds(make_schedule(steps)), is_schedule=True)


OUTLINES = {(fold, name): outline(fold, method(steps), 4) for name, steps in STEPS.items() for fold in (0, 1)}


def one(trial: Trial) -> int:
    """A machine that runs one trial at a time."""
    return 1


def scheduler_of(outlines: Mapping[tuple[int, str], Outline], slots: Callable[[Trial], int] = one) -> SharingScheduler:
    """Of trials that run each by itself."""
    return SharingScheduler({Block(fold, (name,)): rounds for (fold, name), rounds in outlines.items()}, slots)


@dataclass
class Tune:
    """The scheduler's side of Ray Tune: trials with a status."""

    scheduler: SharingScheduler = field(default_factory=lambda: scheduler_of(OUTLINES))
    trials: dict[tuple[int, str], Any] = field(default_factory=dict)

    def get_trials(self) -> list[Any]:
        return list(self.trials.values())

    def add(self, fold: int, name: str) -> Any:
        config = carried(fold, name)
        trial = SimpleNamespace(
            trial_id=f"{fold}-{name}", config=config, status=Trial.PENDING, init_local_path=lambda: None
        )
        self.trials[fold, name] = trial
        self.scheduler.on_trial_add(self, trial)  # type: ignore[arg-type]
        return trial

    def start(self) -> str | None:
        """The trial that the scheduler hands out and that then runs."""
        trial = self.scheduler.choose_trial_to_run(self)  # type: ignore[arg-type]
        if trial is None:
            return None
        trial.status = Trial.RUNNING
        return trial.trial_id

    def report(self, fold: int, name: str, number: int) -> None:
        self.scheduler.on_trial_result(self, self.trials[fold, name], as_result([report(number)]))  # type: ignore[arg-type]


@pytest.fixture
def tune() -> Tune:
    tune = Tune()
    for fold, name in [(0, "firm"), (0, "later"), (0, "none"), (1, "none")]:
        tune.add(fold, name)
    return tune


def test_an_outline_names_rounds_by_the_thresholds_that_lead_to_them() -> None:
    half, more = ((Thresholds, "least_likely", k, k, k) for k in (0.5, 0.6))
    first = (0, Learning())
    assert OUTLINES[0, "later"] == (first, (*first, half), (*first, half, half), (*first, half, half, more))
    assert OUTLINES[0, "firm"][:3] == OUTLINES[0, "later"][:3]
    assert OUTLINES[0, "firm"][3] != OUTLINES[0, "later"][3]


def test_methods_have_the_names_of_rounds_that_they_train_alike() -> None:
    half = Thresholds(make_schedule({1: 0.5}))
    firm, none = OUTLINES[0, "firm"], OUTLINES[0, "none"]
    assert outline(0, Method(half, prediction=Prediction("half")), 4) == firm
    assert outline(0, Method(Keep()), 4) == none == outline(0, Method(Quantile(0.0)), 4)
    assert outline(0, Method(Thresholds(make_schedule({3: 0.5}))), 4)[:3] == none[:3]
    assert outline(0, Method(Quantile(0.2)), 4)[0] == none[0]
    parted = [Method(Quantile(0.2)), Method(Quantile(0.3)), Method(Quantile(0.2, "mean")), Method(Keep())]
    assert len({outline(0, method, 4)[1] for method in parted}) == 4
    others = [Learning(Balanced(1.0)), Learning(sampling="class_balanced"), Learning(warm_start="cold"), Learning()]
    assert len({outline(0, Method(Keep(), learning), 4)[0] for learning in others}) == 4


def test_rounds_have_one_name_until_a_method_is_balanced() -> None:
    plain = outline(0, Method(Keep()), 4)
    late = outline(0, Method(Keep(), Learning(sampling="class_balanced", balanced_from=3)), 4)
    assert late[:2] == plain[:2]
    assert late[2] != plain[2] and late[3] != plain[3]


def test_new_trials_hold_nothing(tune: Tune) -> None:
    assert {trial.status for trial in tune.get_trials()} == {Trial.PAUSED}


def test_a_trial_waits_only_while_another_makes_its_next_round(tune: Tune) -> None:
    assert tune.start() == "0-firm"
    assert tune.start() == "1-none"  # another fold shares nothing
    assert tune.start() is None
    tune.report(0, "firm", 1)
    assert tune.start() == "0-none"  # round 1 is made; its own round 2 is nobody else's
    tune.report(0, "firm", 2)
    assert tune.start() is None  # later still shares round 3
    tune.report(0, "firm", 3)
    assert tune.start() == "0-later"


@pytest.mark.parametrize("event", ["on_trial_complete", "on_trial_error", "on_trial_remove"])
def test_no_round_is_expected_of_a_trial_that_ended(tune: Tune, event: str) -> None:
    assert tune.start() == "0-firm"
    trial = tune.trials[0, "firm"]
    trial.status = Trial.ERROR
    arguments = [tune, trial] + ([{}] if event == "on_trial_complete" else [])
    getattr(tune.scheduler, event)(*arguments)
    assert tune.start() == "0-later"


def test_a_trial_that_ray_puts_back_keeps_its_turn_and_its_rounds(tune: Tune) -> None:
    assert tune.start() == "0-firm"
    trial = tune.trials[0, "firm"]
    tune.scheduler.on_trial_error(tune, trial)  # type: ignore[arg-type]
    trial.status = Trial.PENDING
    tune.scheduler.on_trial_add(tune, trial)  # type: ignore[arg-type]
    assert trial.status == Trial.PENDING
    assert tune.start() == "1-none"  # and not 0-later, whose rounds are expected again
    assert tune.start() == "0-firm"


def test_a_trial_that_gave_up_has_made_no_round(tune: Tune) -> None:
    assert tune.start() == "0-firm"
    trial = tune.trials[0, "firm"]
    tune.scheduler.on_trial_result(tune, trial, as_result([Failure(FIRM, "diverged", ORIGIN)]))  # type: ignore[arg-type]
    tune.scheduler.on_trial_complete(tune, trial, {})  # type: ignore[arg-type]
    trial.status = Trial.TERMINATED
    assert tune.start() == "0-later"
    assert tune.start() == "1-none"
    assert tune.start() is None  # round 1 of fold 0 is still to be made, now by 0-later


def test_only_some_trials_ask_for_resources_at_a_time() -> None:
    many = PENDING_AT_ONCE + 3
    scheduler = scheduler_of({(fold, "none"): ((fold,),) for fold in range(many)})
    tune = Tune(scheduler)
    for fold in range(many):
        tune.add(fold, "none")
    for _ in range(many):
        scheduler.choose_trial_to_run(tune).status = Trial.PENDING  # type: ignore
    assert sum(trial.status == Trial.PENDING for trial in tune.get_trials()) == PENDING_AT_ONCE


def test_a_free_process_goes_to_a_trial_whose_own_is_not_being_started() -> None:
    """Two run at once: one has ended, and Ray is starting a process for the first of those that ask."""
    tune = Tune(scheduler_of({(fold, "none"): ((fold,),) for fold in range(4)}, lambda trial: 2))
    ended, starting, asks, waits = [tune.add(fold, "none") for fold in range(4)]
    assert tune.start() == "0-none"
    for trial in (starting, asks, waits):
        assert tune.scheduler.choose_trial_to_run(tune) is trial  # type: ignore[arg-type]
        trial.status = Trial.PENDING
    ended.status = Trial.TERMINATED
    tune.scheduler.on_trial_complete(tune, ended, {})  # type: ignore[arg-type]
    assert tune.start() == "2-none"
    assert tune.scheduler.choose_trial_to_run(tune) is starting  # type: ignore[arg-type]  # both places are taken
    starting.status = Trial.RUNNING
    asks.status = Trial.TERMINATED
    tune.scheduler.on_trial_complete(tune, asks, {})  # type: ignore[arg-type]
    assert tune.start() == "3-none"


def test_a_block_of_several_trials_waits_for_none() -> None:
    """Two blocks of a fold: what one of them tells makes nobody wait or go on."""
    several = [Block(0, ("firm", "none")), Block(0, ("later", "other"))]
    scheduler = SharingScheduler(dict.fromkeys(several, ()), one)
    trials = [
        SimpleNamespace(
            trial_id=block.methods[0], config=carried(*block[:1], *block.methods), status="", init_local_path=int
        )
        for block in several
    ]
    tune: Any = SimpleNamespace(get_trials=lambda: trials)
    for trial in trials:
        scheduler.on_trial_add(tune, trial)  # type: ignore[arg-type]
    for trial in trials:
        assert scheduler.choose_trial_to_run(tune) is trial  # type: ignore[comparison-overlap]
        trial.status = Trial.RUNNING
    scheduler.on_trial_result(tune, trials[0], as_result([report(1), Failure(FIRM, "diverged", ORIGIN)]))  # type: ignore
    assert scheduler.choose_trial_to_run(tune) is None


def test_slots_are_what_the_scarcest_resource_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 16.0, "GPU": 2.0, "memory": 1e9})
    needs = PlacementGroupFactory([{"CPU": 2, "GPU": 0.3}])
    assert slots(SimpleNamespace(placement_group_factory=needs)) == 6  # type: ignore[arg-type]


GRID = {
    (fold, f"{first}-{second}"): outline(fold, method({1: first, 3: second}), 5)
    for first in (0.5, 0.6)
    for second in (0.7, 0.8)
    for fold in (0, 1)
}


@given(st.lists(st.tuples(st.sampled_from(["start", "report", "end", "crash"]), st.integers(0, 99)), max_size=80))
def test_the_choice_is_that_of_looking_at_every_waiting_trial(events: list[tuple[str, int]]) -> None:
    """Trials start, report, end and are put back in any order; the choice is checked against the rule itself."""
    tune = Tune(scheduler_of(GRID))
    for fold, name in GRID:
        tune.add(fold, name)
    rounds, done = dict.fromkeys(GRID, 0), set[Prefix]()

    def expected() -> str | None:
        live = [key for key in GRID if tune.trials[key].status in (Trial.RUNNING, Trial.PENDING)]
        claimed = {prefix for key in live for prefix in GRID[key]}
        for key, rounds_of in GRID.items():
            needed = next((prefix for prefix in rounds_of if prefix not in done), None)
            if tune.trials[key].status == Trial.PAUSED and needed not in claimed:
                return str(tune.trials[key].trial_id)
        pending = [trial.trial_id for trial in tune.get_trials() if trial.status == Trial.PENDING]
        return pending[0] if pending else None

    for event, pick in events:
        running = [key for key in GRID if tune.trials[key].status == Trial.RUNNING]
        if event == "start" or not running:
            wanted = expected()
            assert tune.start() == wanted
            continue
        key = running[pick % len(running)]
        trial = tune.trials[key]
        if event == "report" and rounds[key] < len(GRID[key]):
            rounds[key] += 1
            done.add(GRID[key][rounds[key] - 1])
            tune.report(*key, rounds[key])
        elif event == "end":
            tune.scheduler.on_trial_complete(tune, trial, {})  # type: ignore[arg-type]
            trial.status = Trial.TERMINATED
        elif event == "crash":
            rounds[key] = 0
            tune.scheduler.on_trial_error(tune, trial)  # type: ignore[arg-type]
            trial.status = Trial.PENDING
            tune.scheduler.on_trial_add(tune, trial)  # type: ignore[arg-type]


@pytest.mark.parametrize(("at_a_time", "in_a_row"), [(1, 440), (2, 234), (8, 59), (15, 30), (64, 30)])
def test_the_papers_sweep_takes_as_many_rounds_in_a_row_as_the_readme_says(at_a_time: int, in_a_row: int) -> None:
    steps = {"paper": {1: 0.9, 3: 0.95}, "strict": {1: [0.95, 0.95, 0.9]}, "none": {1: 0.0}}
    outlines = {(fold, name): outline(fold, method(steps[name]), 30) for name in steps for fold in range(5)}
    tune, made, done = Tune(scheduler_of(outlines)), set[Prefix](), dict.fromkeys(outlines, 0)
    for fold, name in outlines:
        tune.add(fold, name)
    running: list[tuple[int, str]] = []

    def report(key: tuple[int, str]) -> None:
        made.add(outlines[key][done[key]])
        done[key] += 1
        tune.report(*key, done[key])
        if done[key] == 30:
            running.remove(key)
            tune.trials[key].status = Trial.TERMINATED
            tune.scheduler.on_trial_complete(tune, tune.trials[key], {})  # type: ignore[arg-type]

    def start() -> None:
        while len(running) < at_a_time and (name := tune.start()) is not None:
            fold, _, rest = name.partition("-")
            running.append(key := (int(fold), rest))
            while key in running and outlines[key][done[key]] in made:  # from the archive: no time
                report(key)

    start()
    rows = 0
    while running:
        rows += 1
        for key in running.copy():
            assert outlines[key][done[key]] not in made
            report(key)
        start()
    assert (rows, len(made), set(done.values())) == (in_a_row, 440, {30})
