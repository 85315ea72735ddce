from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrl_ray.core.schedule import make_schedule
from rsrl_ray.store.archive import Archive, Record
from rsrl_ray.sweep.retention import Retention
from rsrl_ray.sweep.scheduler import Prefix, TrialKey, chain

FIRM, LATER = (0, "firm"), (0, "later")
CHAINS = {
    FIRM: chain(0, make_schedule({1: 0.5}), 4),
    LATER: chain(0, make_schedule({1: 0.5, 2: 0.6}), 4),
}


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    archive = Archive(str(tmp_path))
    for number in range(1, 5):
        for trial in ("firm", "later"):
            conv1 = {"weight": np.zeros(1, np.float32)}
            record = Record(number, np.zeros((2, 3), np.float32), np.ones(2, bool), conv1, trial, 0.0, 0.0)
            archive.write(f"{trial}{number}", record, {"w": np.zeros(1, np.float32)})
    return archive


def held(archive: Archive) -> set[str]:
    names = [f"{trial}{number}" for trial in ("firm", "later") for number in range(1, 5)]
    return {name for name in names if archive.read_weights(name) is not None}


def dropped(archive: Archive, retention: Retention, trial: TrialKey, number: int, key: str, value: float) -> None:
    """Do what the retention says."""
    for unneeded in retention.finished(trial, number, key, value):
        archive.drop_weights(unneeded)


def test_newest_best_and_the_branch_point_of_a_waiting_trial_stay(archive: Archive) -> None:
    retention = Retention(CHAINS)
    untouched = {f"later{number}" for number in range(1, 5)}
    for number, value in [(1, 0.1), (2, 0.3), (3, 0.2), (4, 0.2)]:
        dropped(archive, retention, FIRM, number, f"firm{number}", value)
    # later shares rounds 1 and 2 and has still to go on from round 2, which is also firm's best; 4 is the newest
    assert held(archive) - untouched == {"firm2", "firm4"}
    dropped(archive, retention, LATER, 1, "firm1", 0.1)
    dropped(archive, retention, LATER, 2, "firm2", 0.3)
    dropped(archive, retention, LATER, 3, "later3", 0.4)
    assert "firm2" in held(archive)  # still firm's best
    assert archive.read("firm1") is not None  # records stay


def test_a_branch_point_goes_once_the_waiting_trial_is_past_it(archive: Archive) -> None:
    retention = Retention(CHAINS)
    for number in (1, 2, 3):
        dropped(archive, retention, FIRM, number, f"firm{number}", number / 10)
    assert {"firm2", "firm3"} <= held(archive)
    assert "firm1" not in held(archive)
    dropped(archive, retention, LATER, 3, "later3", 0.5)
    assert "firm2" not in held(archive)
    assert {"firm3", "later3"} <= held(archive)


def test_equal_values_keep_the_earlier_round(archive: Archive) -> None:
    retention = Retention({FIRM: CHAINS[FIRM]})
    for number in (1, 2, 3):
        dropped(archive, retention, FIRM, number, f"firm{number}", 0.5)
    assert held(archive) & {"firm1", "firm2", "firm3"} == {"firm1", "firm3"}


def test_a_round_that_many_share_is_let_go_once() -> None:
    trials = [(0, f"late{k}") for k in range(5)]
    retention = Retention({trial: chain(0, make_schedule({1: 0.5, 4: k / 10}), 5) for k, trial in enumerate(trials)})
    told = [
        [retention.finished(trial, number, f"round{number}", number / 10) for number in (1, 2, 3, 4)]
        for trial in trials
    ]
    assert told == [[set(), {"round1"}, {"round2"}, {"round3"}]] + [[set()] * 4] * 4


class Asking:
    """What `Retention` must tell, found by asking every trial at each result."""

    def __init__(self, chains: Mapping[TrialKey, tuple[Prefix, ...]]) -> None:
        self.chains = chains
        self.keys: dict[Prefix, str] = {}
        self.best: dict[TrialKey, tuple[float, str]] = {}
        self.reported: set[str] = set()
        self.gone: set[str] = set()

    def finished(self, trial: TrialKey, number: int, key: str, value: float) -> set[str]:
        self.keys[self.chains[trial][number - 1]] = key
        self.reported.add(key)
        if trial not in self.best or value > self.best[trial][0]:
            self.best[trial] = (value, key)
        needed = {key for _, key in self.best.values()}
        for rounds in self.chains.values():
            needed |= set([self.keys[prefix] for prefix in rounds if prefix in self.keys][-1:])
        unneeded = self.reported - needed - self.gone
        self.gone |= unneeded
        return unneeded


GRID: dict[TrialKey, tuple[Prefix, ...]] = {
    (fold, f"{first}-{second}"): chain(fold, make_schedule({1: first, 3: second}), 5)
    for fold in (0, 1)
    for first in (0.5, 0.6)
    for second in (0.7, 0.8)
}


@given(st.lists(st.tuples(st.sampled_from(sorted(GRID)), st.sampled_from([0.1, 0.2, 0.3]), st.booleans()), max_size=60))
def test_counting_needs_tells_what_asking_every_trial_does(steps: list[tuple[TrialKey, float, bool]]) -> None:
    """Trials in any order; one that crashes (True) starts again at round 1, as a trial does that is put back."""
    counting, asking, done = Retention(GRID), Asking(GRID), dict.fromkeys(GRID, 0)
    for trial, value, crashed in steps:
        done[trial] = 1 if crashed else min(done[trial] + 1, 5)
        prefix = GRID[trial][done[trial] - 1]
        merged = str(prefix[:3])  # by content some rounds are the same though their thresholds differ
        key = f"{done[trial]} {merged}"
        assert counting.finished(trial, done[trial], key, value) == asking.finished(trial, done[trial], key, value)
