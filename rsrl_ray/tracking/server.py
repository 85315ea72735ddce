"""MLflow's server as a service, with its database and artifacts in storage: `rsrl server`, on the head of a cluster.

A database needs a disk. In a bucket lies a copy of it, brought back when a new head starts: what MLflow was told since
the last copy is lost with a head, and logged again from the archive by the next `rsrl sweep` on the same file.
"""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from pyarrow import fs

from rsrl_ray.store.location import redacted
from rsrl_ray.store.storage import artifact_place, open_storage, probe_storage
from rsrl_ray.tracking.names import DATABASE

COPY_S = 60.0


class Ended(Exception):
    """The service was asked to end."""


def serve(storage: str, port: int, copy_every: float = COPY_S) -> None:
    """Run MLflow's server on this machine's loopback until it is told to end; one that crashes is started again.

    storage : a directory, whose database it then works on, or a URI that pyarrow speaks (s3://, gs://).
    copy_every : seconds between two copies of the database into a bucket.

    Raises
    ------
    ValueError
        Where storage cannot be written to.
    """
    probe_storage(storage)
    remote = "://" in storage
    folder = Path.home() / ".cache" / "rsrl_ray" / "mlflow" if remote else Path(storage)
    folder.mkdir(parents=True, exist_ok=True)
    copy = DatabaseCopy(folder / DATABASE, storage) if remote else None
    artifacts = artifact_place(storage)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder.absolute() / DATABASE}",
        "--artifacts-destination",
        artifacts,
    ]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # which language models need
    signal.signal(signal.SIGTERM, _end)
    if copy is not None:
        copy.fetch()
    print(f"MLflow: http://127.0.0.1:{port}, artifacts in {redacted(artifacts)}", flush=True)
    try:
        while True:
            with _started(command, environment) as server:
                while server.poll() is None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        server.wait(copy_every)
                    if copy is not None:
                        copy.push()
            print("MLflow's server ended; it is started again", flush=True)
    except (Ended, KeyboardInterrupt):
        if copy is not None:
            copy.push()


class DatabaseCopy:
    """A SQLite file on this disk and its copy in a bucket."""

    def __init__(self, file: Path, storage: str) -> None:
        self._file = file
        self._system, base = open_storage(storage)
        self._path = f"{base}/{DATABASE}"
        self._pushed: tuple[int, ...] = ()

    def fetch(self) -> None:
        """Bring the copy here, where there is one and no file yet: a new head goes on where the last one was."""
        if self._file.exists() or self._system.get_file_info(self._path).type == fs.FileType.NotFound:
            return
        part = self._file.with_suffix(".part")
        with self._system.open_input_stream(self._path) as stream, part.open("wb") as out:
            shutil.copyfileobj(stream, out)
        part.replace(self._file)

    def push(self) -> None:
        """Copy the file to the bucket, whole, if it has changed; what fails is said and tried again next time."""
        state = self._state()
        if not self._file.exists() or state == self._pushed:
            return
        try:
            with tempfile.TemporaryDirectory(prefix="rsrl-") as folder:
                whole = Path(folder, DATABASE)
                opened = (contextlib.closing(sqlite3.connect(file)) for file in (self._file, whole))
                with next(opened) as ours, next(opened) as theirs:
                    ours.backup(theirs)  # the server may be writing
                with whole.open("rb") as content, self._system.open_output_stream(self._path) as out:
                    shutil.copyfileobj(content, out)
        except (OSError, sqlite3.Error) as error:
            print(f"the database could not be copied: {redacted(str(error))}", flush=True)
        else:
            self._pushed = state

    def _state(self) -> tuple[int, ...]:
        files = (self._file, self._file.with_name(f"{DATABASE}-wal"))
        return tuple(file.stat().st_mtime_ns for file in files if file.exists())


@contextlib.contextmanager
def _started(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The server's process and its workers, ended with this context."""
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended
