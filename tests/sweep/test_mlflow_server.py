"""A real MLflow server that is away, and comes back."""

import contextlib
import io
import os
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from conftest import put_database
from mlflow import MlflowClient
from rich.console import Console
from sweep.sweeping import bits, children, statuses, swept, tables

from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.sweep.driver.launch import run_sweep
from rsrl_ray.terminal import Terminal
from rsrl_ray.tracking.entries import Round, Trial
from rsrl_ray.tracking.write import Tracker

pytestmark = pytest.mark.slow

Start = Callable[[], subprocess.Popen[bytes]]


def kill(server: subprocess.Popen[bytes], port: int) -> None:
    """SIGKILL, also of the process of it that answers."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
                psutil.Process(connection.pid).kill()
    server.kill()
    server.wait()


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def start_server(port: int, tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []
    put_database(tmp_path / "server.db")

    def start() -> subprocess.Popen[bytes]:
        command = [os.environ["RSRL_PYTHON"], "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]
        command += ["--artifacts-destination", str(tmp_path / "a")]
        quiet = subprocess.DEVNULL
        started.append(subprocess.Popen(command, stdout=quiet, stderr=quiet))
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                return started[-1]
            except OSError:
                time.sleep(0.2)
        raise TimeoutError("the MLflow server did not start")

    yield start
    for process in started:
        kill(process, port)


@pytest.mark.usefixtures("ray_session")
def test_a_server_killed_and_started_again_mid_sweep_lacks_nothing_and_has_nothing_twice(
    experiment_file: Callable[..., Path], start_server: Start, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsrl_ray.sweep.driver.writer.RETRY_S", 0.5)
    monkeypatch.setattr(
        "rsrl_ray.sweep.driver.writer.STORE_PATIENCE_S", 120.0
    )  # the server takes longer to start than the sweep
    schedules, folds = {"firm": {1: 0.5}, "none": {1: 0.0}}, {"count": 2, "validation": 0.2, "use": [0]}
    file = experiment_file(mlflow=f"http://127.0.0.1:{port}", rounds=4, schedules=schedules, folds=folds)
    experiment = read_experiment(file)
    server, log_rounds, calls = start_server(), Tracker.log_rounds, list[str]()
    again = threading.Thread(target=start_server)

    def interrupted(tracker: Tracker, trial: Trial, rounds: Sequence[Round]) -> None:
        calls.append(trial.name)
        if len(calls) == 2:
            kill(server, port)
            again.start()  # it takes seconds
        log_rounds(tracker, trial, rounds)

    monkeypatch.setattr(Tracker, "log_rounds", interrupted)
    outcome = run_sweep(experiment, Terminal(Console(file=io.StringIO(), width=200)))
    again.join()
    assert server.poll() is not None
    assert (len(outcome.finished), outcome.failed, outcome.unlogged) == (2, {}, 0)
    client = MlflowClient(f"http://127.0.0.1:{port}")
    found = client.get_experiment_by_name("tiny")
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    for run in runs:
        for metric in run.data.metrics:
            points = client.get_metric_history(run.info.run_id, metric)
            steps = [point.step for point in points]
            if metric.startswith(("chosen/", "system/")):
                assert len(steps) == len(set(steps)), metric
            else:
                assert steps == [1, 2, 3, 4], metric
    rounds = tables(file)
    assert {trial: len(tables) for trial, tables in rounds.items()} == dict.fromkeys(rounds, 4)


@pytest.mark.usefixtures("ray_session")
def test_a_server_that_is_away_at_the_start_and_at_the_end_stops_nothing_and_is_told_later(
    experiment_file: Callable[..., Path], start_server: Start, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsrl_ray.sweep.driver.writer.RETRY_S", 0.2)
    monkeypatch.setattr("rsrl_ray.sweep.driver.writer.STORE_PATIENCE_S", 1.0)
    uri, fold = f"http://127.0.0.1:{port}", {"count": 2, "validation": 0.2, "use": [0]}
    file = experiment_file(mlflow=uri, rounds=2, folds=fold, schedules={"firm": {1: 0.5}}, system_metrics=False)
    outcome, printed = swept(file)
    # rounds and end of the trial, chosen rounds over the folds, end of the sweep
    assert (len(outcome.finished), outcome.unlogged) == (1, 2 + 1 + 1 + 1)
    assert "does not answer; rounds are logged there when it does" in " ".join(printed.split())
    assert "MLflow lacks 5 entries (the server does not answer); the same command logs them" in printed
    archive = bits(Path(read_experiment(file).storage))
    assert len(archive) == 2 * 2

    server, end_trial = start_server(), Tracker.end_trial

    def lost(tracker: Tracker, trial: Trial, status: str, reason: str = "") -> None:
        assert len(tracker._children[trial.id].chain.rounds) == 2 or server.poll() is not None
        kill(server, port)
        end_trial(tracker, trial, status, reason)

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "end_trial", lost)
        outcome, printed = swept(file)
    assert server.poll() is not None
    assert (len(outcome.finished), outcome.unlogged) == (1, 3)  # the end of the trial, the chosen rounds, the end
    assert "MLflow lacks 3 entries" in printed

    start_server()
    assert statuses(read_experiment(file)) == ["RUNNING"] * 2
    outcome, _ = swept(file)
    assert (len(outcome.finished), outcome.unlogged) == (1, 0)
    assert statuses(read_experiment(file)) == ["FINISHED"] * 2
    log = children(read_experiment(file))
    assert set(log.step) == {1, 2} and not log.duplicated(["run", "metric", "step"]).any()
    assert bits(Path(read_experiment(file).storage)) == archive
    rounds = tables(file)
    assert {trial: len(tables) for trial, tables in rounds.items()} == {(0, "firm"): 2}
