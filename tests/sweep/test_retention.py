from pathlib import Path

import numpy as np
import pytest

from rsrl_ray.archive import Archive, Record
from rsrl_ray.core.schedule import make_schedule
from rsrl_ray.sweep.retention import Retention
from rsrl_ray.sweep.scheduler import TrialKey, chain

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
