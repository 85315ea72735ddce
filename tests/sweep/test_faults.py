"""Faults while a sweep runs, with real Ray, real processes and real disks: the sweep ends as if there had been none."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from sweep.sweeping import (
    KNOBS,
    Gate,
    Left,
    Write,
    at_first_result,
    bits,
    entries,
    in_round,
    start_driver,
    states,
    statuses,
    swept,
    wait_for,
)

from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.sweep.driver import attempts

pytestmark = pytest.mark.slow

PHASES: list[tuple[str, str, str, int, list[str]]] = [
    (
        "while photos are decoded",
        "rsrl_ray.photos.decoding",
        "decode_photo = gate(decode_photo, lambda *_, calls=itertools.count(): next(calls) == 40)",
        0,
        [],
    ),
    ("in round 1", "rsrl_ray.vision.trainer", "fit_together = gate(fit_together)", 0, ["RUNNING"]),
    (
        "between a round's weights and its manifest",
        "rsrl_ray.store.archive",
        "Archive._put = gate(Archive._put, lambda archive, key, part, content: part == 'manifest')",
        0,
        ["RUNNING"],
    ),
    (
        "before the runs are ended",
        "rsrl_ray.tracking.write",
        "Tracker.end_trial = gate(Tracker.end_trial, lambda tracker, trial, *ended: trial.key.method == 'none')",
        3,
        ["FINISHED", "RUNNING", "RUNNING"],
    ),
]


def test_driver_killed_in_every_phase_of_one_sweep(experiment_file: Write, tmp_path: Path, undisturbed: Left) -> None:
    file = experiment_file(**KNOBS)
    experiment = read_experiment(file)
    for phase, module, code, rounds, runs in PHASES:
        (tmp_path / phase).mkdir()
        gate = Gate(tmp_path / phase, {module: code})
        driver = start_driver(file, **gate.environment)
        wait_for(driver, lambda gate=gate, rounds=rounds: gate.waiting() and len(entries(file)) == rounds)
        if module == "rsrl_ray.store.archive":
            assert len(bits(Path(experiment.storage))) == 2
        driver.send_signal(signal.SIGKILL)
        driver.communicate(timeout=200)
        assert runs == (statuses(experiment) if runs else []), phase
    before = entries(file)
    assert len(before) == 3
    outcome, _ = swept(file)
    assert (len(outcome.finished), outcome.unlogged) == (2, 0)
    assert entries(file) == before
    assert Left.by(file) == undisturbed
    assert statuses(experiment) == ["FINISHED"] * 3


def test_two_sweeps_train_the_same_round_into_one_archive_at_once(
    experiment_file: Write, tmp_path: Path, undisturbed: Left
) -> None:
    gate = Gate(tmp_path, {"rsrl_ray.vision.trainer": "fit_together = gate(fit_together)"})
    files = [experiment_file(name=name, **KNOBS) for name in ("one", "other")]
    drivers = [start_driver(file, **gate.environment) for file in files]
    for driver in drivers:
        wait_for(driver, lambda: len(gate.waiting()) == 2)
    assert entries(files[0]) == {}
    gate.open()
    for file, driver in zip(files, drivers, strict=True):
        printed = driver.communicate(timeout=200)[0]
        assert driver.returncode == 0, printed
        assert "trials: 2 finished" in printed
        assert Left.by(file) == undisturbed
        assert statuses(read_experiment(file)) == ["FINISHED"] * 3


def test_a_trial_that_is_given_up_in_a_shared_round_leaves_it_to_those_that_wait(
    experiment_file: Write, tmp_path: Path, undisturbed: Left
) -> None:
    file = experiment_file(**KNOBS)
    gate = Gate(tmp_path, {"rsrl_ray.vision.trainer": "fit_together = gate(fit_together)"})
    driver, killed = start_driver(file, **gate.environment), set[int]()
    for _ in range(attempts.FAILURES_A_ROUND):
        wait_for(driver, lambda: gate.waiting() - killed)
        (trial,) = gate.waiting() - killed
        psutil.Process(trial).kill()
        killed.add(trial)
    wait_for(driver, lambda: gate.waiting() - killed)
    assert entries(file) == {}
    gate.open()
    printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 1, printed
    assert "trials: 1 finished, 1 failed" in printed
    trials = states(file)
    assert (trials["firm"].status, trials["none"].status) == ("FAILED", "FINISHED")
    assert trials["firm"].reason.startswith("round 1 failed 3 times: ")
    assert statuses(read_experiment(file)) == ["FAILED", "FAILED", "FINISHED"]
    assert f"fold 0, firm failed in round 1: {trials['firm'].reason.partition(': ')[2]}" in printed
    archive = bits(Path(read_experiment(file).storage))
    assert len(archive) == 2 * 2 and archive.items() < undisturbed.archive.items()
    outcome, _ = swept(file)
    assert len(outcome.finished) == 2
    assert Left.by(file) == undisturbed


def test_a_process_that_dies_while_it_takes_up_another_trial(
    experiment_file: Write, tmp_path: Path, undisturbed: Left
) -> None:
    file = experiment_file(**KNOBS)  # one trial at a time: the second gets the process of the first
    gate = Gate(tmp_path, {"rsrl_ray.sweep.trial.trainable": "RSRLTrial.reset_config = gate(RSRLTrial.reset_config)"})
    driver = start_driver(file, **gate.environment)
    wait_for(driver, gate.waiting)
    (trial,) = gate.waiting()
    psutil.Process(trial).kill()
    gate.open()
    printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, printed
    assert "its process ended before round 1; started again at the end" in printed
    assert "trials: 2 finished" in printed
    assert Left.by(file) == undisturbed
    assert statuses(read_experiment(file)) == ["FINISHED"] * 3


def mount(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *words], capture_output=True, text=True)


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[None]:
    """A file system of 16 MB under ``folder``."""
    folder.mkdir(parents=True)
    mounted = mount("-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder))
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # MLflow holds its database open


def fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(2**16))


def write_protect(folder: Path) -> None:
    while mount("-o", "remount,ro", str(folder)).returncode:  # a file is being written
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("folder", "harm", "mended", "cause"),
    [
        pytest.param("results", fill, "size=32m", "No space left on device", id="full"),
        pytest.param("results/rounds", write_protect, "rw", "Read-only file system", id="write-protected"),
    ],
)
def test_disk_refuses_mid_sweep_and_is_mended(
    experiment_file: Write,
    tmp_path: Path,
    undisturbed: Left,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    harm: Callable[[Path], None],
    mended: str,
    cause: str,
) -> None:
    monkeypatch.setattr("rsrl_ray.sweep.driver.writer.RETRY_S", 0.1)
    monkeypatch.setattr("rsrl_ray.sweep.driver.writer.STORE_PATIENCE_S", 1.0)
    file, place = experiment_file(**KNOBS), tmp_path / folder

    with disk(place):
        with monkeypatch.context() as patch:
            at_first_result(patch, lambda: harm(place))
            outcome, printed = swept(file)
        assert (len(entries(file)), outcome.finished, len(outcome.failed)) == (1, [], 2)
        for said in outcome.failed.values():
            assert said.startswith(f"storage: cannot write {tmp_path}/results/rounds/")
            assert said.endswith(f"({cause}); mend that, then the same command goes on")
            assert said in " ".join(printed.split())
        assert (bool(outcome.unlogged), "MLflow lacks" in printed) == 2 * (folder == "results",)
        assert (bool(outcome.unkept), "storage lacks" in printed) == (True, True)
        with pytest.raises(ValueError, match=f"^storage: cannot write to {tmp_path}/results .*{cause}"):
            swept(file)
        assert mount("-o", f"remount,{mended}", str(place)).returncode == 0
        outcome, _ = swept(file)
        assert (len(outcome.finished), outcome.unlogged) == (2, 0)
        assert Left.by(file) == undisturbed
        assert statuses(read_experiment(file)) == ["FINISHED"] * 3


def test_clock_set_back_an_hour_mid_sweep(experiment_file: Write, tmp_path: Path, undisturbed: Left) -> None:
    clock = "now = time.time; time.time = lambda: now() - (0 if os.path.isdir(GATE) else 3600)"
    file, gate = experiment_file(**KNOBS), Gate(tmp_path, {"rsrl_ray.store.archive": clock} | in_round(2))
    driver = start_driver(file, **gate.environment)
    wait_for(driver, gate.waiting)
    gate.open()
    printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, printed
    manifests = Path(read_experiment(file).storage).glob("rounds/*/*/manifest.json")
    first, *later = sorted(map(json.loads, map(Path.read_text, manifests)), key=lambda manifest: manifest["number"])
    assert all(-3600 <= manifest["created"] - first["created"] < -3000 for manifest in later)
    assert Left.by(file) == undisturbed
    assert statuses(read_experiment(file)) == ["FINISHED"] * 3
