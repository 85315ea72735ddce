"""MLflow's server as a service, with its database and artifacts in storage: `rsrl server`, on the head of a cluster.

A database needs a disk. A copy of it lies in the bucket, and is brought back when a new head starts. If a head is lost,
what MLflow was told after the last copy is lost too; the next `rsrl sweep` on the same file logs it again from the
archive.
"""

import contextlib
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pyarrow import fs

from rsrl_ray.core.digest import digest
from rsrl_ray.store.files import whole
from rsrl_ray.store.location import Location, redacted, sqlite_uri
from rsrl_ray.store.storage import artifact_place, open_storage, probe_storage
from rsrl_ray.tracking.names import DATABASE

COPY_S = 60.0
_LOCKED_S = 60.0  # how long the server may keep its database locked
_VERSION = slice(60, 64)  # SQLite's user_version in a file's header, which neither SQLite nor MLflow uses


def serve(storage: str, port: int, copy_every: float = COPY_S) -> None:
    """Run MLflow's server on this machine's loopback until it is told to end; if it crashes, it is started again.

    storage : a directory, whose database it then works on, or a URI that pyarrow speaks (s3://, gs://).
    copy_every : seconds between two copies of the database into a bucket.

    Raises
    ------
    ValueError
        If storage cannot be written to, or the database's copy in it cannot be read.
    """
    probe_storage(storage)
    place = Location(storage)
    folder = _local_folder(place) if place.is_uri else place.path
    folder.mkdir(parents=True, exist_ok=True)
    copy = DatabaseCopy(folder / DATABASE, storage) if place.is_uri else None
    artifacts = artifact_place(storage)
    if copy is not None:
        copy.fetch()
    print(f"MLflow: http://127.0.0.1:{port}, artifacts in {Location(artifacts)}", flush=True)
    try:
        while True:
            with started(sqlite_uri((folder / DATABASE).absolute()), port, artifacts) as server:
                while server.poll() is None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        server.wait(copy_every)
                    if copy is not None:
                        copy.push()
            print("MLflow's server ended; it is started again", flush=True)
    except KeyboardInterrupt:  # SIGTERM too, see `rsrl_ray.cli.ending`
        if copy is not None:
            copy.push()


def _local_folder(bucket: Location) -> Path:
    """The folder of this machine for the database of a bucket: one for each bucket."""
    everything = Path.home() / ".cache" / "rsrl_ray" / "mlflow"
    # another server may have a bucket of this name
    server = parse_qs(urlsplit(bucket.text).query).get("endpoint_override", [])
    return everything / digest([bucket.bare.rstrip("/"), *server])


class DatabaseCopy:
    """A SQLite file on this disk and its copy in a bucket.

    Every copy has a number of its own in its header, drawn at random. The file remembers two numbers: that of the copy
    that it comes from (application_id) and that of the copy that it makes (user_version). A copy in the bucket with
    any other number was made by another server, and is never overwritten.
    """

    def __init__(self, file: Path, storage: str) -> None:
        self._file = file
        self._system, base = open_storage(storage)
        self._path = f"{base}/{DATABASE}"
        self._where = f"{Location(storage).bare.rstrip('/')}/{DATABASE}"
        self._pushed: tuple[int, ...] = ()
        self._refused = False

    def fetch(self) -> None:
        """Bring the copy here, unless the file here comes from it: a new head goes on where the last one was.

        A file that comes from another copy is moved aside. Raises ValueError if the bucket does not answer.
        """
        try:
            copied = self._copied()
            if copied is None or (self._file.exists() and copied in self._known()):
                return
            self._move_aside()
            with whole(self._file) as part, self._system.open_input_stream(self._path) as stream:
                with part.open("wb") as out:
                    shutil.copyfileobj(stream, out)
                _number(part, copied, copied)
        except (OSError, sqlite3.Error) as error:
            raise ValueError(f"{self._where} cannot be brought here: {redacted(str(error))}") from error

    def push(self) -> None:
        """Copy the whole file to the bucket if it has changed; a failure is said, and the next time tries it again."""
        if self._refused or not self._file.exists() or self._state() == self._pushed:
            return
        try:
            copied, (base, mine) = self._copied(), self._known()
            if copied is not None and copied not in (base, mine):
                self._refused = True
                print(
                    f"the database is no longer copied: another server writes {self._where}; end one of the two. "
                    f"What this one was told stays in {self._file}",
                    flush=True,
                )
                return
            _number(self._file, copied or 0, secrets.randbelow(2**31 - 1) + 1)
            state = self._state()
            with tempfile.TemporaryDirectory(prefix="rsrl-") as folder:
                copy = Path(folder, DATABASE)
                with _connected(self._file) as ours, _connected(copy) as theirs:
                    ours.backup(theirs)  # the server may be writing
                with copy.open("rb") as content, self._system.open_output_stream(self._path) as out:
                    shutil.copyfileobj(content, out)
        except (OSError, sqlite3.Error) as error:
            print(f"the database could not be copied: {redacted(str(error))}", flush=True)
        else:
            self._pushed = state

    def _copied(self) -> int | None:
        """The number of the copy in the bucket, read without the rest of it; None if there is none."""
        if self._system.get_file_info(self._path).type == fs.FileType.NotFound:
            return None
        with self._system.open_input_file(self._path) as file:
            return int.from_bytes(file.read(100)[_VERSION], "big")

    def _known(self) -> tuple[int, int]:
        """The numbers of the copies that the file comes from and makes."""
        with _connected(self._file) as database:
            numbers = [database.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")]
        return int(numbers[0][0]), int(numbers[1][0])

    def _move_aside(self) -> None:
        """Keep a file of another history than the bucket's, under another name, and say so."""
        aside = self._file.parent / time.strftime("before-%Y-%m-%d-%H%M%S")
        for file in self._files():
            aside.mkdir(exist_ok=True)
            file.replace(aside / file.name)
        if aside.exists():
            print(
                f"{self._where} was made by another server; this server goes on with it. This machine's own database "
                f"is now in {aside}",
                flush=True,
            )

    def _state(self) -> tuple[int, ...]:
        return tuple(file.stat().st_mtime_ns for file in self._files())

    def _files(self) -> list[Path]:
        names = (self._file.name, f"{self._file.name}-wal", f"{self._file.name}-shm")
        return [self._file.with_name(name) for name in names if self._file.with_name(name).exists()]


def _connected(file: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(file, _LOCKED_S))


def _number(file: Path, base: int, mine: int) -> None:
    """Let a database remember the numbers of two copies, see `DatabaseCopy`."""
    with _connected(file) as database:
        database.executescript(f"BEGIN IMMEDIATE; PRAGMA application_id={base}; PRAGMA user_version={mine}; COMMIT;")


@contextlib.contextmanager
def started(store: str, port: int, artifacts: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The process of MLflow's server and its workers on this machine's loopback, ended with this context.

    store : URI of its database. artifacts : URI of the folder into which it puts artifacts itself.
    """
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    told = {  # not on the command line, which everybody on this machine sees
        "MLFLOW_BACKEND_STORE_URI": store,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # which language models need
    }
    if artifacts is not None:
        told["MLFLOW_ARTIFACTS_DESTINATION"] = artifacts
    server = subprocess.Popen(command, env=os.environ | told, start_new_session=True)
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()
