"""An S3 server in a process of its own, what can be put before it to make it refuse, and what MLflow was told."""

import contextlib
import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from mlflow import MlflowClient
from pyarrow import fs

from rsrl_ray.store.storage import open_storage

FRAMING = ("content-length", "transfer-encoding", "connection", "expect")
KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextlib.contextmanager
def s3_server() -> Iterator[int]:
    """The port of an S3 server that holds the bucket ``rsrl``; `KEYS` must be in the environment."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    deadline = time.monotonic() + 60
    try:
        while True:
            try:
                client.create_bucket(Bucket="rsrl")
                break
            except Exception:  # it is starting
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.2)
        yield port
    finally:
        client.close()
        process.kill()
        process.wait()


class Proxy(ThreadingHTTPServer):
    """Hands on what it is asked, but for the next ``refuses`` times, when it answers 503."""

    daemon_threads = True

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.target, self.refuses = target, 0

    def handle_error(self, *_: object) -> None:
        """A client that was killed in the middle of a request is no error here."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _hand_on(self) -> None:
        body = self._body()
        if self.server.refuses > 0:
            self.server.refuses -= 1
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


@contextlib.contextmanager
def proxied(target: int) -> Iterator[Proxy]:
    """A proxy before the server at port ``target``."""
    proxy = Proxy(target)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def place(port: int, folder: str) -> str:
    return f"s3://rsrl/{folder}?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"


def stored(root: str) -> dict[str, bytes]:
    """Logits, kept masks, weights: every byte of every round."""
    system, base = open_storage(root)
    found = system.get_file_info(fs.FileSelector(f"{base}/rounds", recursive=True))
    names = [info.path for info in found if info.path.endswith(".safetensors")]
    return {name.removeprefix(base): system.open_input_stream(name).read() for name in names}


def list_names(root: str) -> list[str]:
    system, base = open_storage(root)
    found = system.get_file_info(fs.FileSelector(base, recursive=True, allow_not_found=True))
    return [info.path for info in found]


def logged(uri: str, experiment: str) -> dict[tuple[str, str, int], float]:
    """Run, metric, round: value, of everything that does not tell of time or of who made a round; nothing is twice.

    Without the sweep's own run, which is told of a method as often as its trials end.
    """
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    points = [
        ((run.info.run_name or "", name, point.step), point.value)
        for run in client.search_runs([found.experiment_id], "tags.`rsrl.trial` != ''")
        for name in run.data.metrics
        if name not in ("seconds", "reused")
        for point in client.get_metric_history(run.info.run_id, name)
    ]
    assert len(dict(points)) == len(points)
    return dict(points)
