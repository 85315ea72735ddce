"""Faults while a sweep runs, with real Ray, real processes and real disks: the sweep ends as if there had been none."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import write_experiment
from sweep.sweeping import Gate, Write, bits, children, entries, start_driver, statuses, swept, wait_for

from rsrl_ray.experiment_file import read_experiment

KNOBS: dict[str, Any] = {
    "folds": {"count": 2, "validation": 0.2, "use": [0]},
    "rounds": 2,
    "schedules": {"firm": {1: 0.5}, "none": {1: 0.0}},  # share round 1: three rounds in all
}


@dataclass(frozen=True)
class Left:
    """What a sweep leaves: its archive's bytes, and run, metric, round, value of all that MLflow was told."""

    archive: dict[str, bytes]
    logged: list[tuple[str, str, int, float]]

    @classmethod
    def by(cls, file: Path) -> "Left":
        experiment = read_experiment(file)
        log = children(experiment)
        told = log[~log.metric.isin(["seconds", "reused"])][["run", "metric", "step", "value"]]
        return cls(bits(Path(experiment.storage)), sorted(told.itertuples(index=False, name=None)))


@pytest.fixture(scope="module")
def undisturbed(photos_csv: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Left:
    file = write_experiment(tmp_path_factory.mktemp("undisturbed"), photos_csv, **KNOBS)
    swept(file)
    left = Left.by(file)
    assert len(left.archive) == 2 * 3
    return left


@pytest.mark.parametrize(
    ("module", "code", "rounds", "runs"),
    [
        pytest.param(
            "rsrl_ray.vision.pixels",
            "decode_photo = gate(decode_photo, lambda *_, calls=itertools.count(): next(calls) == 40)",
            0,
            [],
            id="while photos are decoded",
        ),
        pytest.param("rsrl_ray.vision.learner", "Learner.fit = gate(Learner.fit)", 0, ["RUNNING"], id="in round 1"),
        pytest.param(
            "rsrl_ray.archive",
            "Archive._put = gate(Archive._put, lambda archive, key, part, content: part == 'manifest')",
            0,
            ["RUNNING"],
            id="between a round's weights and its manifest",
        ),
        pytest.param(
            "rsrl_ray.tracking",
            "Tracker.end_trial = gate(Tracker.end_trial, lambda tracker, trial, *ended: trial.schedule == 'none')",
            3,
            ["FINISHED", "RUNNING", "RUNNING"],
            id="before the runs are ended",
        ),
    ],
)
def test_driver_killed(
    experiment_file: Write, tmp_path: Path, undisturbed: Left, module: str, code: str, rounds: int, runs: list[str]
) -> None:
    file, gate = experiment_file(**KNOBS), Gate(tmp_path, {module: code})
    experiment = read_experiment(file)
    driver = start_driver(file, **gate.environment)
    wait_for(driver, lambda: gate.waiting() and len(entries(file)) == rounds)
    if module == "rsrl_ray.archive":
        assert len(bits(Path(experiment.storage))) == 2
    driver.send_signal(signal.SIGKILL)
    driver.communicate(timeout=60)
    assert runs == (statuses(experiment) if runs else [])
    before = entries(file)
    assert len(before) == rounds
    outcome, _ = swept(file)
    assert (len(outcome.finished), outcome.unlogged) == (2, 0)
    assert before.items() <= entries(file).items()
    assert Left.by(file) == undisturbed
    assert statuses(experiment) == ["FINISHED"] * 3
