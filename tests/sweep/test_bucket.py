"""Storage in a bucket of a real S3 server, a process of its own, also one that refuses for a while."""

import contextlib
import http.client
import io
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pandas as pd
import pytest
from pyarrow import fs
from rich.console import Console

from rsrl_ray import cli
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.storage import Storage, open_storage
from rsrl_ray.sweep.launch import Outcome, run_sweep
from rsrl_ray.tracked import open_results

pytestmark = pytest.mark.usefixtures("keys")
FRAMING = ("content-length", "transfer-encoding", "connection", "expect")
KNOBS: dict[str, Any] = {"schedules": {"firm": {1: 0.5}, "none": {1: 0.0}}, "rounds": 2}


@pytest.fixture(scope="module")
def keys() -> Iterator[None]:
    """Set before Ray starts, whose processes inherit them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="module")
def server(keys: None) -> Iterator[int]:
    """The port of an S3 server that holds the bucket ``rsrl``."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    deadline = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket="rsrl")
            break
        except Exception:  # it is starting
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
    yield port
    client.close()
    process.kill()
    process.wait()


class Proxy(ThreadingHTTPServer):
    """Hands on what it is asked; while ``refuses`` is set it answers 503."""

    daemon_threads = True

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.target, self.refuses, self.refused = target, threading.Event(), 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _hand_on(self) -> None:
        body = self._body()
        if self.server.refuses.is_set():
            self.server.refused += 1
            self._answer(503, [], b"<Error><Code>SlowDown</Code></Error>")
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.target)
        with contextlib.closing(upstream):
            headers = {name: value for name, value in self.headers.items() if name.lower() not in FRAMING}
            upstream.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
            answer = upstream.getresponse()
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self._answer(answer.status, answer.getheaders(), answer.read(), length)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(chunks)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, length: str | None = None) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in (*FRAMING, "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _hand_on  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy(server: int) -> Iterator[Proxy]:
    proxy = Proxy(server)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    yield proxy
    proxy.shutdown()
    thread.join()
    proxy.server_close()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def place(port: int, folder: str) -> str:
    return f"s3://rsrl/{folder}?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"


def swept(file: Path) -> Outcome:
    return run_sweep(read_experiment(file), Console(file=io.StringIO(), width=200))


def stored(root: str) -> dict[str, bytes]:
    """Logits, kept masks, weights: every byte of every round."""
    system, base = open_storage(root)
    found = system.get_file_info(fs.FileSelector(f"{base}/rounds", recursive=True))
    names = [info.path for info in found if info.path.endswith(".safetensors")]
    return {name.removeprefix(base): system.open_input_stream(name).read() for name in names}


def test_a_file_is_there_whole_or_not_at_all(server: int) -> None:
    storage = Storage(place(server, "files"))
    assert storage.read("a/b") is None
    storage.write("a/b", b"first")
    storage.write("a/b", b"second")
    assert storage.read("a/b") == b"second"
    storage.delete("a/b")
    storage.delete("a/b")
    assert storage.read("a/b") is None


@pytest.mark.usefixtures("ray_session")
def test_a_sweep_its_resume_and_its_analysis(
    experiment_file: Callable[..., Path], server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{server}")
    local = experiment_file(name="local", **KNOBS)
    assert len(swept(local).finished) == 4
    root = place(server, "sweep")
    file = experiment_file(name="bucket", storage=root, mlflow=f"sqlite:///{tmp_path}/mlflow.db", **KNOBS)
    assert len(swept(file).finished) == 4
    first = stored(root)
    assert first == stored(read_experiment(local).storage)
    assert len(first) >= 2 * 2 * 2
    assert len(swept(file).finished) == 4  # replayed from the bucket
    assert stored(root) == first
    assert cli.main(["analyze", str(file), "--out", str(tmp_path / "analysis")]) == 0
    ours, theirs = (open_results(read_experiment(where)).predictions() for where in (file, local))
    assert ours.keys() == theirs.keys()
    for trial, rounds in ours.items():
        for number, table in enumerate(rounds):
            pd.testing.assert_frame_equal(table, theirs[trial][number], check_exact=True)


@pytest.mark.usefixtures("ray_session")
def test_a_bucket_that_answers_503_for_a_while_costs_nothing_but_time(
    experiment_file: Callable[..., Path], proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{proxy.target}")
    local = experiment_file(name="local", **KNOBS)
    swept(local)
    root = place(proxy.server_port, "refused")
    file = experiment_file(name="refused", storage=root, mlflow=f"sqlite:///{tmp_path}/mlflow.db", **KNOBS)

    def refuse_for_a_while() -> None:
        direct = place(proxy.target, "refused")
        while not any(name.endswith("record.safetensors") for name in list_names(direct)):
            time.sleep(0.05)
        proxy.refuses.set()
        time.sleep(8)
        proxy.refuses.clear()

    thread = threading.Thread(target=refuse_for_a_while)
    thread.start()
    outcome = swept(file)
    thread.join()
    assert proxy.refused > 0
    assert (len(outcome.finished), outcome.failed) == (4, {})
    assert stored(place(proxy.target, "refused")) == stored(read_experiment(local).storage)


def list_names(root: str) -> list[str]:
    system, base = open_storage(root)
    found = system.get_file_info(fs.FileSelector(base, recursive=True, allow_not_found=True))
    return [info.path for info in found]
