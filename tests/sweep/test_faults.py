"""Faults while a sweep runs, with real Ray, real processes and real disks: the sweep ends as if there had been none."""

import contextlib
import json
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import write_experiment
from ray.cluster_utils import Cluster
from sweep.sweeping import (
    Gate,
    Write,
    bits,
    children,
    entries,
    start_driver,
    statuses,
    swept,
    wait_for,
)

from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.sweep import recorder
from rsrl_ray.tracked import open_results

KNOBS: dict[str, Any] = {
    "folds": {"count": 2, "validation": 0.2, "use": [0]},
    "rounds": 2,
    "training": {"epochs": 60, "batch_size": 16, "learning_rate": 0.001, "head_factor": 1, "precision": "fp32"},
    "schedules": {"firm": {1: 0.99}, "none": {1: 0.0}},  # share round 1: three rounds in all
}
ROUND_2 = {"rsrl_ray.vision.learner": "Learner.fit = gate(Learner.fit, lambda *learn: learn[-1] == 2)"}


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


def test_two_sweeps_train_the_same_round_into_one_archive_at_once(
    experiment_file: Write, tmp_path: Path, undisturbed: Left
) -> None:
    gate = Gate(tmp_path, {"rsrl_ray.vision.learner": "Learner.fit = gate(Learner.fit)"})
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
    gate = Gate(tmp_path, {"rsrl_ray.vision.learner": "Learner.fit = gate(Learner.fit)"})
    driver, killed = start_driver(file, **gate.environment), set[int]()
    for _ in range(recorder.FAILURES_A_ROUND):
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
    states = {state.schedule: state for state in open_results(read_experiment(file)).states()}
    assert (states["firm"].status, states["none"].status) == ("FAILED", "FINISHED")
    assert states["firm"].reason.startswith("round 1 failed 3 times: ")
    archive = bits(Path(read_experiment(file).storage))
    assert len(archive) == 2 * 2 and archive.items() < undisturbed.archive.items()
    outcome, _ = swept(file)
    assert len(outcome.finished) == 2
    assert Left.by(file) == undisturbed


def test_a_process_that_dies_while_it_takes_up_another_trial(
    experiment_file: Write, tmp_path: Path, undisturbed: Left
) -> None:
    file = experiment_file(**KNOBS)  # one trial at a time: the second gets the process of the first
    gate = Gate(tmp_path, {"rsrl_ray.sweep.trainable": "RSRLTrial.reset_config = gate(RSRLTrial.reset_config)"})
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


@contextlib.contextmanager
def cluster(gate: Gate, **head: Any) -> Iterator[Cluster]:
    """A Ray of several nodes, which are processes of this machine, apart from all other Rays."""
    with (
        tempfile.TemporaryDirectory(prefix="rsrl-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in {**gate.environment, "RAY_TMPDIR": folder}.items():
            patch.setenv(name, value)
        nodes = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **head})
        try:
            yield nodes
        finally:
            nodes.shutdown()


def process(node: Any, kind: str) -> psutil.Process:
    """A node's raylet or gcs_server."""
    return psutil.Process(node.all_processes[kind][0].process.pid)


def test_a_raylet_killed_a_node_removed_and_one_added(
    experiment_file: Write, tmp_path: Path, undisturbed: Left
) -> None:
    file, gate = experiment_file(**KNOBS, resources={"cpus": 1}), Gate(tmp_path, ROUND_2)
    with cluster(gate, num_cpus=0) as nodes:
        first, second = nodes.add_node(num_cpus=1), nodes.add_node(num_cpus=1)
        driver = start_driver(file, RAY_ADDRESS=nodes.address)
        wait_for(driver, lambda: len(gate.waiting()) == 2)  # both trials are in round 2
        trials = gate.waiting()
        raylets = {process(node, "raylet").pid for node in (first, second)}
        assert {psutil.Process(pid).ppid() for pid in trials} == raylets
        process(first, "raylet").kill()
        nodes.add_node(num_cpus=1)
        nodes.remove_node(second, allow_graceful=False)
        wait_for(driver, lambda: gate.waiting() - trials)  # one is in round 2 again
        gate.open()
        printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, printed
    assert printed.count("started again") == 2
    assert Left.by(file) == undisturbed


def test_head_lost_then_the_same_command_with_a_new_one(
    experiment_file: Write, tmp_path: Path, undisturbed: Left
) -> None:
    file, gate = experiment_file(**KNOBS), Gate(tmp_path, ROUND_2)
    with cluster(gate, num_cpus=2) as nodes:
        address = nodes.address
        driver = start_driver(file, RAY_ADDRESS=address, RAY_gcs_rpc_server_reconnect_timeout_s="12")
        wait_for(driver, gate.waiting)
        for kind in ("gcs_server", "raylet"):
            process(nodes.head_node, kind).kill()
        printed = driver.communicate(timeout=100)[0]
    assert driver.returncode == 1
    assert printed.splitlines()[-1] == (
        f"Ray at {address} is gone; what is done is kept, the same command goes on in a new Ray"
    )
    assert "Traceback" not in printed
    assert "RUNNING" not in statuses(read_experiment(file))
    before = entries(file)
    assert len(before) == 1
    gate.open()
    with cluster(gate, num_cpus=2) as nodes:
        driver = start_driver(file, RAY_ADDRESS=nodes.address)
        printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, printed
    assert before.items() <= entries(file).items()
    assert Left.by(file) == undisturbed


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
    monkeypatch.setattr(recorder, "RETRY_S", 0.1)
    monkeypatch.setattr(recorder, "PATIENCE_S", 1.0)
    file, place = experiment_file(**KNOBS), tmp_path / folder

    def strike() -> None:
        while not entries(file):
            time.sleep(0.01)
        harm(place)

    with disk(place):
        thread = threading.Thread(target=strike)
        thread.start()
        outcome, printed = swept(file)
        thread.join()
        assert (len(entries(file)), outcome.finished, len(outcome.failed)) == (1, [], 2)
        for said in outcome.failed.values():
            assert said.startswith(f"storage: cannot write {tmp_path}/results/rounds/")
            assert said.endswith(f"({cause}); mend that, then the same command goes on")
            assert said in " ".join(printed.split())
        assert ("MLflow lacks" in printed) == (folder == "results")
        with pytest.raises(ValueError, match=f"^storage: cannot write to {tmp_path}/results .*{cause}"):
            swept(file)
        assert mount("-o", f"remount,{mended}", str(place)).returncode == 0
        outcome, _ = swept(file)
        assert (len(outcome.finished), outcome.unlogged) == (2, 0)
        assert Left.by(file) == undisturbed
        assert statuses(read_experiment(file)) == ["FINISHED"] * 3


def test_clock_set_back_an_hour_mid_sweep(experiment_file: Write, tmp_path: Path, undisturbed: Left) -> None:
    clock = "now = time.time; time.time = lambda: now() - (0 if os.path.isdir(GATE) else 3600)"
    file, gate = experiment_file(**KNOBS), Gate(tmp_path, {"rsrl_ray.archive": clock} | ROUND_2)
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


def test_a_network_three_times_as_large_as_the_object_store(experiment_file: Write, tmp_path: Path) -> None:
    network = {"backbone": "alexnet", "weights": "none", "image_size": 64}
    training = {**KNOBS["training"], "epochs": 1}
    knobs = KNOBS | {"rounds": 1, "schedules": {"none": {1: 0.0}}, "network": network, "training": training}
    ample, small = experiment_file(name="ample", storage="ample", **knobs), experiment_file(**knobs)
    assert len(swept(ample)[0].finished) == 1
    with cluster(Gate(tmp_path, {}), num_cpus=2, object_store_memory=80_000_000) as nodes:
        driver = start_driver(small, RAY_ADDRESS=nodes.address)
        printed = driver.communicate(timeout=300)[0]
    assert driver.returncode == 0, printed
    left = Left.by(small).archive
    assert left == Left.by(ample).archive
    assert max(map(len, left.values())) > 220_000_000  # the weights, with which every trial starts
