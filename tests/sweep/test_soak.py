"""A sweep over three nodes, with a bucket and MLflow as a service, of which something breaks every few seconds.

    RSRL_SOAK_S=600 pytest -s tests/sweep/test_soak.py

soaks for ten minutes, sweep after sweep, and looks at each when it has ended; RSRL_SOAK_SEED repeats the faults of a
run, not what they happen to hit.
"""

import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil
import pytest
from conftest import write_experiment
from mlflow import MlflowClient
from ray.cluster_utils import Cluster
from sweep.servers import KEYS, Proxy, free_port, logged, place, proxied, s3_server, stored

from rsrl_ray.analysis.numbers.frames import summarise
from rsrl_ray.analysis.numbers.histories import ledger_parts
from rsrl_ray.analysis.sweep.read import read_sweep
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.tracking.stores import mlflow_uri

SECONDS = float(os.environ.get("RSRL_SOAK_S", 0))
SEED = int(os.environ.get("RSRL_SOAK_SEED", time.time_ns() % 1_000_000))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SECONDS, reason="a soak is for when one has time: RSRL_SOAK_S=600"),
]
RSRL = """
import sys
from rsrl_ray.cli import main as cli
from rsrl_ray.sweep.driver import watchdog
watchdog.LEAST_S = 10.0  # half an hour is longer than this test
sys.exit(cli.main(sys.argv[1:]))
"""
ENDS_S = 300.0  # undisturbed, a sweep takes far less
OWN_TIME = ("seconds", "reused")  # what tells of time, or of who made a round


@dataclass
class World:
    """All that a sweep needs, and what can happen to it."""

    cluster: Cluster
    proxy: Proxy
    mlflow: subprocess.Popen[bytes]
    port: int
    chance: random.Random
    printed: Path
    driver: psutil.Popen | None = None
    began: int = 0  # how much was printed before this driver
    struck: collections.Counter[str] = field(default_factory=collections.Counter)

    def worker_is_killed(self) -> bool:
        """SIGKILL for the process of a trial."""
        return self._signal_worker(signal.SIGKILL)

    def worker_hangs(self) -> bool:
        """SIGSTOP for the process of a trial."""
        return self._signal_worker(signal.SIGSTOP)

    def driver_is_killed(self) -> bool:
        """SIGKILL for `rsrl sweep`."""
        return self._signal_driver(signal.SIGKILL)

    def driver_is_interrupted(self) -> bool:
        """Ctrl-C for `rsrl sweep`."""
        return self._signal_driver(signal.SIGINT)

    def raylet_is_killed(self) -> bool:
        """SIGKILL for the Ray of a node; later a new node comes."""
        node = self.chance.choice(sorted(self.cluster.worker_nodes, key=str))
        os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)
        time.sleep(1)
        self._replace(node, graceful=False)
        return True

    def node_goes(self) -> bool:
        """A node says good-bye, and a new one comes."""
        self._replace(self.chance.choice(sorted(self.cluster.worker_nodes, key=str)), graceful=True)
        return True

    def mlflow_is_killed(self) -> bool:
        """SIGKILL for MLflow's server, if it runs; the service starts it again."""
        if not answers(self.port):
            return False
        found = psutil.Process(self.mlflow.pid).children(recursive=True)
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return bool(found)

    def bucket_refuses(self) -> bool:
        """503 for a few seconds."""
        self.proxy.refuses = 10**9
        time.sleep(self.chance.uniform(1, 6))
        self.proxy.refuses = 0
        return True

    def end_driver(self) -> None:
        """Whatever happened to the test."""
        if self.driver is not None:
            self.driver.kill()
            self.driver.wait()

    def strike(self) -> None:
        """Let something happen."""
        faults = [
            *(self.worker_is_killed, self.worker_is_killed, self.worker_hangs),
            *(self.driver_is_killed, self.driver_is_interrupted),
            *(self.raylet_is_killed, self.node_goes, self.mlflow_is_killed, self.bucket_refuses),
        ]
        fault = self.chance.choice(faults)
        if fault():
            self.struck[fault.__name__] += 1
            print(f"{time.strftime('%X')} {fault.__name__}", flush=True)

    def _signal_worker(self, sent: signal.Signals) -> bool:
        found = []
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                trains = "Trainable.train" in " ".join(process.cmdline())
                if trains and process.status() != psutil.STATUS_STOPPED:
                    found.append(process)
        if found:
            self.chance.choice(sorted(found, key=lambda process: process.pid)).send_signal(sent)
        return bool(found)

    def _signal_driver(self, sent: signal.Signals) -> bool:
        if self.driver is None or self.driver.poll() is not None or self.printed.stat().st_size == self.began:
            return False  # it has not done anything yet
        self.driver.send_signal(sent)
        return True

    def _replace(self, node: object, graceful: bool) -> None:
        self.cluster.remove_node(node, allow_graceful=graceful)
        self.cluster.add_node(num_cpus=1)


@contextlib.contextmanager
def three_nodes() -> Iterator[Cluster]:
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, "dashboard_port": free_port()}
    )
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()


@contextlib.contextmanager
def mlflow_service(storage: str, port: int, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "rsrl_ray.cli", "server", storage, "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        service = subprocess.Popen(command, env=os.environ | {"HOME": str(home)}, stdout=log, stderr=log)
        try:
            wait_for(lambda: answers(port), "MLflow answers", 120)
            yield service
        finally:
            service.terminate()
            service.wait(60)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
        return True
    return False


def wait_for(holds: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.2)


def drive(world: World, file: Path, until: float) -> int:
    """Run the sweep's command until it has ended well, disturbed ``until`` then; how often it was started."""
    printed, starts, ended, next_fault = world.printed, 0, False, time.monotonic() + 5
    deadline = max(until, time.monotonic()) + ENDS_S
    while not ended:
        assert time.monotonic() < deadline, f"the sweep does not end:\n{printed.read_text()[-3000:]}"
        if world.driver is None:
            starts += 1
            world.began = printed.stat().st_size
            with printed.open("ab") as out:
                command = [sys.executable, "-c", RSRL, "sweep", str(file)]
                environment = os.environ | {"RAY_ADDRESS": world.cluster.address}
                world.driver = psutil.Popen(command, stdout=out, stderr=out, env=environment)
        elif (status := world.driver.poll()) is not None:
            assert until or status == 0, printed.read_text()[-3000:]
            ended = status == 0
            world.driver = None
        elif next_fault < time.monotonic() < until:
            world.strike()
            next_fault = time.monotonic() + world.chance.uniform(1, 6)
        time.sleep(0.1)
    return starts


def assert_whole(file: Path, reference: Path) -> None:
    """Every byte of the archive, all that is logged, and the final numbers are those of a sweep that was left alone."""
    ours, theirs = read_experiment(file), read_experiment(reference)
    assert stored(ours.storage) == stored(theirs.storage)
    found = logged(mlflow_uri(ours), ours.name)
    assert found == logged(mlflow_uri(theirs), theirs.name)
    assert len(found) > 100
    client = MlflowClient(mlflow_uri(ours))
    experiment = client.get_experiment_by_name(ours.name)
    assert experiment is not None
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FINISHED"] * 7
    sweeps = [read_sweep(each) for each in (ours, theirs)]
    numbers, right = map(summarise, sweeps)
    pd.testing.assert_frame_equal(numbers.summary, right.summary, check_exact=True)
    for part, right_part in zip(*map(ledger_parts, sweeps), strict=True):
        pd.testing.assert_frame_equal(part, right_part, check_exact=True)
    columns = [name for name in right.rounds if name not in OWN_TIME]
    pd.testing.assert_frame_equal(numbers.rounds[columns], right.rounds[columns], check_exact=True)


def test_whatever_breaks_the_sweep_ends_with_the_same_bits(
    photos_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"seed {SEED}, {SECONDS:g} s")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    training = {"epochs": 60, "batch_size": 16, "learning_rate": 0.001, "head_factor": 1, "precision": "fp32"}
    schedules = {"firm": {1: 0.98}, "later": {1: 0.98, 3: 0.995}, "none": {1: 0.0}}
    knobs = {"training": training, "rounds": 5, "schedules": schedules, "resources": {"cpus": 1}}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(s3_server())
        monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{server}")
        proxy, port = stack.enter_context(proxied(server)), free_port()
        mlflow = stack.enter_context(mlflow_service(place(server, "service"), port, tmp_path))
        printed, cluster = tmp_path / "printed", stack.enter_context(three_nodes())
        printed.touch()
        world = World(cluster, proxy, mlflow, port, random.Random(SEED), printed)
        stack.callback(world.end_driver)
        reference = write_experiment(tmp_path, photos_csv, "reference", **knobs)
        began = time.monotonic()
        assert drive(world, reference, 0) == 1
        print(f"undisturbed: {time.monotonic() - began:.0f} s")
        until, sweeps = time.monotonic() + SECONDS, 0
        while not sweeps or time.monotonic() < until:
            name = f"soak-{sweeps}"
            storage = place(proxy.server_port, name)
            file = write_experiment(
                tmp_path, photos_csv, name, storage=storage, mlflow=f"http://127.0.0.1:{port}", **knobs
            )
            starts = drive(world, file, until)
            wait_for(lambda: answers(port), "MLflow answers", 120)
            assert_whole(file, reference)
            sweeps += 1
            print(f"{time.strftime('%X')} sweep {sweeps}: whole, after {starts} starts", flush=True)
        assert "Traceback" not in printed.read_text()
    print(f"{sum(world.struck.values())} faults, {sweeps} sweeps: {dict(world.struck)}")
