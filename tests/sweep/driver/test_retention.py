"""Whose weights stay, with a real archive that several sweeps share."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep.reports import report

from rsrl_ray.core.prediction import Prediction
from rsrl_ray.core.rules.thresholds import Thresholds
from rsrl_ray.core.schedule import make_schedule
from rsrl_ray.core.trial import Origin, TrialKey
from rsrl_ray.method import Method
from rsrl_ray.store.archive import Archive, Record
from rsrl_ray.store.holders import trial_holder
from rsrl_ray.sweep.driver.retention import Hold, WeightRetention
from rsrl_ray.sweep.driver.scheduler import Outline, Prefix, outline
from rsrl_ray.sweep.driver.weights import KeptWeights

FIRM, LATER = TrialKey(0, "firm"), TrialKey(0, "later")
STEPS: dict[str, Any] = {"firm": {1: 0.5}, "later": {1: 0.5, 2: 0.6}}  # share rounds 1 and 2


def thresholds(steps: Mapping[int, float], **more: Any) -> Method:
    return Method(Thresholds(make_schedule(steps)), **more)


def outlines(rounds: int, *names: str) -> dict[TrialKey, Outline]:
    return {TrialKey(0, name): outline(0, thresholds(STEPS[name]), rounds) for name in names}


@dataclass
class Sweep:
    """A sweep's driver, whose notes on weights are made at once, in their order."""

    root: Path
    retention: WeightRetention
    name: str = "a"
    jobs: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.archive = Archive(str(self.root))
        trials: Any = {key: SimpleNamespace(id=self.id(key)) for key in self.retention._outlines}
        writer: Any = SimpleNamespace(put=lambda line, job: self.jobs.append(job))
        task: Any = SimpleNamespace(experiment=SimpleNamespace(name=self.name, storage=str(self.root)))
        self.weights = KeptWeights(task, self.retention, trials, writer)

    def id(self, trial: TrialKey) -> str:
        return f"recipe-{trial.method}"  # trials of one recipe are the same trials, whatever the file is called

    def done(self, trial: TrialKey, number: int, key: str, value: float, later: bool = False, **more: Any) -> None:
        """A trial has made the round, or found it; ``later``: the background is behind."""
        made = self.archive.read(key) is None
        holder = trial_holder(self.name, trial, self.id(trial))
        self.archive.hold(key, holder.id, holder.words)
        if made:
            record = Record(number, np.zeros((2, 3), np.float32), np.ones(2, bool), {}, "maker", 0.0, 0.0, "")
            self.archive.write(key, record, {"w": np.zeros(1, np.float32)})
        origin = Origin(more.pop("start", "start"), "cpu", ("2",))
        told = report(number, trial=trial, key=key, value=value, made=made, origin=origin)
        self.weights.on_round(Any, told)
        if not later:
            self.work()

    def work(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(str(tmp_path))


def kept(root: Path) -> set[str]:
    """The rounds that have weights."""
    return {path.parent.name for path in root.glob("rounds/*/*/weights.safetensors")}


def markers(root: Path) -> int:
    return len(list(root.glob("rounds/*/*/held/*")))


def test_newest_best_and_the_branch_point_of_a_waiting_trial_stay(archive: Archive, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, WeightRetention("id", outlines(4, "firm", "later")))
    for number, value in [(1, 0.1), (2, 0.3), (3, 0.2), (4, 0.2)]:
        sweep.done(FIRM, number, f"firm{number}", value)
    # later shares rounds 1 and 2 and has still to go on from round 2, which is also firm's best; 4 is the newest
    assert kept(tmp_path) == {"firm2", "firm4"}
    sweep.done(LATER, 1, "firm1", 0.1)
    sweep.done(LATER, 2, "firm2", 0.3)
    sweep.done(LATER, 3, "later3", 0.4)
    assert kept(tmp_path) == {"firm2", "firm4", "later3"}  # 2 is still firm's best
    assert archive.read("firm1") is not None  # records stay
    assert markers(tmp_path) == 3


def test_a_branch_point_goes_once_the_waiting_trial_is_past_it(archive: Archive, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, WeightRetention("id", outlines(4, "firm", "later")))
    for number in (1, 2, 3):
        sweep.done(FIRM, number, f"firm{number}", number / 10)
    assert kept(tmp_path) == {"firm2", "firm3"}
    for number, key in enumerate(["firm1", "firm2", "later3"], start=1):
        sweep.done(LATER, number, key, number / 10)
    assert kept(tmp_path) == {"firm3", "later3"}
    assert markers(tmp_path) == 2


def test_equal_values_keep_the_earlier_round(archive: Archive, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, WeightRetention("id", outlines(4, "firm")))
    for number in (1, 2, 3):
        sweep.done(FIRM, number, f"firm{number}", 0.5)
    assert kept(tmp_path) == {"firm1", "firm3"}


def swept(sweep: Sweep, rounds: int, trial: TrialKey = FIRM, best: int = 0) -> None:
    for number in range(1, rounds + 1):
        sweep.done(trial, number, f"{trial.method}{number}", 1.0 if number == best else number / 100)


def test_a_method_that_averages_keeps_what_its_best_and_its_next_round_are_averaged_with(
    archive: Archive, tmp_path: Path
) -> None:
    halves = {FIRM: Prediction(average="half")}
    sweep = Sweep(tmp_path, WeightRetention("id", outlines(8, "firm"), predictions=halves))
    swept(sweep, 6, best=4)
    assert kept(tmp_path) == {"firm3", "firm4", "firm5", "firm6"}  # 3 and 4; of round 7, which takes 4 to 7
    sweep.done(FIRM, 7, "firm7", 2.0)
    assert kept(tmp_path) == {"firm4", "firm5", "firm6", "firm7"}


def test_rounds_that_others_make_for_a_method_that_averages_wait_for_it(archive: Archive, tmp_path: Path) -> None:
    half = TrialKey(0, "half")
    both = {**outlines(4, "firm"), half: outlines(4, "firm")[FIRM]}
    sweep = Sweep(tmp_path, WeightRetention("id", both, predictions={half: Prediction(average="half")}))
    swept(sweep, 4, best=4)
    assert kept(tmp_path) == {"firm1", "firm2", "firm3", "firm4"}
    for number, value in enumerate([0.9, 0.1, 0.1, 0.1], 1):
        sweep.done(half, number, f"firm{number}", value)
    assert kept(tmp_path) == {"firm1", "firm3", "firm4"}  # its best; of round 5, which takes 3 to 5


def test_rounds_that_are_found_are_held_before_the_driver_hears_of_them(archive: Archive, tmp_path: Path) -> None:
    ours = Sweep(tmp_path, WeightRetention("a", outlines(3, "firm")), "a")
    swept(ours, 2)
    theirs = Sweep(tmp_path, WeightRetention("b", outlines(2, "firm"), keep_all=True), "b")
    for number in (1, 2):
        theirs.done(FIRM, number, f"firm{number}", number / 100, later=True)
    ours.done(FIRM, 3, "firm3", 0.9)  # from here on a needs neither
    assert kept(tmp_path) == {"firm2", "firm3"}  # 1 was gone before b came
    theirs.work()
    assert kept(tmp_path) == {"firm2", "firm3"}


def test_another_sweep_of_the_storage_never_deletes_what_one_needs(archive: Archive, tmp_path: Path) -> None:
    """a.yaml, all weights of 3 rounds; then b.yaml, the same recipe under another name, 8 rounds, what is needed."""
    swept(Sweep(tmp_path, WeightRetention("recipe", outlines(3, "firm"), keep_all=True), "a"), 3)
    swept(Sweep(tmp_path, WeightRetention("recipe", outlines(8, "firm")), "b"), 8)
    assert kept(tmp_path) == {"firm1", "firm2", "firm3", "firm8"}


def test_a_file_that_asks_for_less_later_keeps_what_it_asked_for_before(archive: Archive, tmp_path: Path) -> None:
    swept(Sweep(tmp_path, WeightRetention("recipe", outlines(3, "firm"), keep_all=True)), 3)
    swept(Sweep(tmp_path, WeightRetention("recipe", outlines(8, "firm"))), 8)
    assert kept(tmp_path) == {"firm1", "firm2", "firm3", "firm8"}


def test_a_method_that_is_removed_keeps_its_newest_and_its_best(archive: Archive, tmp_path: Path) -> None:
    both = Sweep(tmp_path, WeightRetention("recipe", outlines(4, "firm", "later")))
    swept(both, 4, best=2)
    for number, key in enumerate(["firm1", "firm2", "later3", "later4"], start=1):
        both.done(LATER, number, key, {2: 0.9}.get(number, 0.1))
    assert kept(tmp_path) == {"firm2", "firm4", "later4"}
    swept(Sweep(tmp_path, WeightRetention("recipe", outlines(6, "firm"))), 6)  # firm's best is now its last
    assert kept(tmp_path) == {"firm2", "later4", "firm6"}


def test_two_sweeps_at_once(archive: Archive, tmp_path: Path) -> None:
    one, other = (Sweep(tmp_path, WeightRetention("recipe", outlines(8, "firm")), name) for name in ("a", "b"))
    swept(one, 3)
    swept(other, 2)
    assert kept(tmp_path) == {"firm3"}  # b goes on from 1 and 2, whose weights had gone before
    other.done(FIRM, 3, "firm3", 0.03)
    for number in (4, 5, 6):
        one.done(FIRM, number, f"firm{number}", number / 100)
    assert kept(tmp_path) == {"firm3", "firm6"}
    other.done(FIRM, 4, "firm4", 0.04)
    assert kept(tmp_path) == {"firm6"}


def test_what_a_driver_that_was_killed_still_held_is_let_go_by_the_next(archive: Archive, tmp_path: Path) -> None:
    killed = Sweep(tmp_path, WeightRetention("recipe", outlines(8, "firm", "later")))
    swept(killed, 3)
    killed.done(FIRM, 4, "firm4", 0.04, later=True)  # round 3 is still held
    swept(Sweep(tmp_path, WeightRetention("recipe", outlines(8, "firm", "later"))), 5)
    assert kept(tmp_path) == {"firm2", "firm5"}  # 2 is where `later` goes on
    assert markers(tmp_path) == 2


def test_rounds_that_are_replayed_in_passing_leave_no_marker(archive: Archive, tmp_path: Path) -> None:
    swept(Sweep(tmp_path, WeightRetention("recipe", outlines(4, "firm")), "a"), 4)
    again = Sweep(tmp_path, WeightRetention("recipe", outlines(4, "firm")), "b")
    for number in range(1, 5):
        again.done(FIRM, number, f"firm{number}", number / 100, later=True)
    again.work()
    assert [path.parent.parent.name for path in tmp_path.glob("rounds/*/*/held/*")] == ["firm4"] * 2  # of a and of b


def test_a_registered_round_stays(archive: Archive, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, WeightRetention("recipe", outlines(3, "firm")))
    swept(sweep, 1)
    archive.hold("firm1", "registered-paper", {"model": "paper"})
    swept(sweep, 3)
    assert kept(tmp_path) == {"firm1", "firm3"}


def test_rounds_of_before_it_was_noted_who_needs_them_keep_their_weights(archive: Archive, tmp_path: Path) -> None:
    record = Record(1, np.zeros((2, 3), np.float32), np.ones(2, bool), {}, "maker", 0.0, 0.0)
    archive.write("firm1", record, {"w": np.zeros(1, np.float32)})
    swept(Sweep(tmp_path, WeightRetention("recipe", outlines(3, "firm"))), 3)
    assert kept(tmp_path) == {"firm1", "firm3"}


def test_each_chain_of_a_trial_has_its_own_newest_and_best(archive: Archive, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, WeightRetention("recipe", outlines(4, "firm")))
    for number, value in [(1, 0.1), (2, 0.9), (3, 0.2)]:
        sweep.done(FIRM, number, f"firm{number}", value)
    for number, value in [(1, 0.1), (2, 0.3), (3, 0.2), (4, 0.2)]:  # started again on another kind of device
        sweep.done(FIRM, number, f"other{number}", value, start="elsewhere")
    assert kept(tmp_path) == {"firm2", "firm3", "other2", "other4"}


def test_markers_say_to_people_who_it_is(archive: Archive, tmp_path: Path) -> None:
    swept(Sweep(tmp_path, WeightRetention("recipe", outlines(3, "firm"), keep_all=True)), 1)
    words = [json.loads(path.read_text()) for path in tmp_path.glob("rounds/*/*/held/*")]
    who = [{"experiment": "a", "trial": said} for said in ("every round", "fold 0, firm")]
    assert sorted(words, key=str) == who


def test_a_round_that_many_share_is_told_once() -> None:
    steps = {TrialKey(0, f"late{k}"): outline(0, thresholds({1: 0.5, 4: k / 10}), 5) for k in range(5)}
    retention, told = WeightRetention("id", steps), list[tuple[list[str], list[str]]]()
    for trial in steps:
        for number in (1, 2, 3, 4):
            changes = retention.finished(trial, report(number, key=f"round{number}", value=number / 10))
            shared = [sorted(hold.key for hold in holds if hold.trial is None) for holds in vars(changes).values()]
            told.append((shared[0], shared[1]))
    first = [(["round1"], []), (["round2"], ["round1"]), (["round3"], ["round2"]), (["round4"], ["round3"])]
    assert told[:4] == first
    assert told[4:-1] == [([], [])] * 15
    assert told[-1] == ([], ["round4"])  # nobody is behind


GRID: dict[TrialKey, Outline] = {
    TrialKey(fold, f"{first}-{second}"): outline(fold, thresholds({1: first, 3: second}), 5)
    for fold in (0, 1)
    for first in (0.5, 0.6)
    for second in (0.7, 0.8)
}


class Asking:
    """What `WeightRetention` must know, found by asking every trial at each result."""

    def __init__(self, outlines: Mapping[TrialKey, Outline]) -> None:
        self.outlines = outlines
        self.keys: dict[Prefix, str] = {}
        self.newest: dict[TrialKey, tuple[int, str]] = {}
        self.best: dict[TrialKey, tuple[float, str]] = {}

    def finished(self, trial: TrialKey, number: int, key: str, value: float) -> set[Hold]:
        self.keys[self.outlines[trial][number - 1]] = key
        if number >= self.newest.get(trial, (0, ""))[0]:
            self.newest[trial] = number, key
        if trial not in self.best or value > self.best[trial][0]:
            self.best[trial] = value, key
        needed = {Hold(key, trial) for known in (self.newest, self.best) for trial, (_, key) in known.items()}
        for trial, rounds in self.outlines.items():
            deepest = max((number for number, prefix in enumerate(rounds, 1) if prefix in self.keys), default=0)
            if deepest > self.newest.get(trial, (0, ""))[0]:
                needed.add(Hold(self.keys[rounds[deepest - 1]], None))
        return needed


@given(st.lists(st.tuples(st.sampled_from(sorted(GRID)), st.sampled_from([0.1, 0.2, 0.3]), st.booleans()), max_size=60))
def test_counting_needs_tells_what_asking_every_trial_does(steps: list[tuple[TrialKey, float, bool]]) -> None:
    """Trials in any order; one that crashes (True) starts again at round 1, as a trial does that is put back."""
    counting, asking, done = WeightRetention("id", GRID), Asking(GRID), dict.fromkeys(GRID, 0)
    held: set[Hold] = set()
    for trial, value, crashed in steps:
        done[trial] = 1 if crashed else min(done[trial] + 1, 5)
        prefix = GRID[trial][done[trial] - 1]
        merged = str(prefix[:3])  # by content some rounds are the same though their thresholds differ
        key = f"{done[trial]} {merged}"
        changes = counting.finished(trial, report(done[trial], key=key, value=value))
        assert not changes.hold & held
        held = (held | changes.hold) - changes.release
        assert held == asking.finished(trial, done[trial], key, value)
        assert all(counting.is_held(hold) for hold in held)
