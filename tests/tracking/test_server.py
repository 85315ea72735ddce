"""`rsrl server` with its storage in a bucket, which is moto's: a new head goes on where the last one was."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import psutil
import pytest
from mlflow import MlflowClient
from moto.server import ThreadedMotoServer

pytestmark = pytest.mark.slow

Start = Callable[[Path], subprocess.Popen[bytes]]


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, number = server.get_host_and_port()
    keys = {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "DEFAULT_REGION": "us-east-1"}
    for name, value in {**keys, "ENDPOINT_URL": f"http://{host}:{number}"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    boto3.client("s3").create_bucket(Bucket="bucket")
    yield "s3://bucket/rsrl"
    server.stop()


@pytest.fixture
def start(bucket: str, port: int) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(home: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "rsrl_ray.cli", "server", bucket, "--port", str(port)]
        started.append(subprocess.Popen(command, env=os.environ | {"HOME": str(home)}))
        wait(port, started[-1])
        return started[-1]

    yield begin
    for process in started:
        process.terminate()
        process.wait(30)


def wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError("the MLflow server did not start")


def test_a_new_head_goes_on_with_the_runs_of_the_last_one(start: Start, port: int, tmp_path: Path) -> None:
    first = start(tmp_path / "first")
    client = MlflowClient(f"http://127.0.0.1:{port}")
    run = client.create_run("0").info.run_id
    client.log_metric(run, "test_macro_f1", 0.25, step=3)
    client.log_text(run, "2,3", "rounds/03/classes.csv")
    words = [word for child in psutil.Process(first.pid).children(recursive=True) for word in child.cmdline()]
    assert "server" in words and not [word for word in words if "sqlite" in word or "s3:" in word]  # as ps shows them
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0
    found = boto3.client("s3").list_objects_v2(Bucket="bucket")["Contents"]
    keys = {entry["Key"] for entry in found if entry["Size"]}
    assert keys == {"rsrl/mlflow.db", f"rsrl/artifacts/0/{run}/artifacts/rounds/03/classes.csv"}
    start(tmp_path / "second")
    assert client.get_run(run).data.metrics == {"test_macro_f1": 0.25}
    local = client.download_artifacts(run, "rounds/03/classes.csv", str(tmp_path))
    assert Path(local).read_text() == "2,3"


def test_storage_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    command = [sys.executable, "-m", "rsrl_ray.cli", "server", str(tmp_path / "file" / "results")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("rsrl server: storage: cannot write to")
    assert len(ended.stderr.splitlines()) == 1
