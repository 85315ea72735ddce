"""Locks between processes, and file systems that have none."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rsrl_ray.store.locks import Taken, is_shared, locked, share
from rsrl_ray.store.processes import is_alive, process


def test_another_process_that_holds_it_is_named_and_a_dead_one_does_not_count(tmp_path: Path) -> None:
    code = "import sys; from rsrl_ray.store.locks import *; from rsrl_ray.store.processes import *\n"
    code += "with locked(Path(sys.argv[1])): print(process(), flush=True); input()"
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        name = holder.stdout.readline().strip()
        assert is_alive(name)
        with pytest.raises(Taken, match=f"^{socket.gethostname()}:{holder.pid}$"), locked(tmp_path / "lock"):
            pass
        holder.kill()
    assert not is_alive(name)
    with locked(tmp_path / "lock") as missing:
        assert missing is None
        assert (tmp_path / "lock").read_text() == process()


@pytest.mark.parametrize("cause", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EIO])
def test_a_file_system_without_locks_is_told_and_no_refusal(
    cause: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(file: object, how: int) -> None:
        raise OSError(cause, os.strerror(cause))

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path / "lock") as missing:
        assert missing is not None and missing.errno == cause


@pytest.mark.parametrize("cause", [errno.EWOULDBLOCK, errno.EACCES])
def test_what_says_that_it_is_taken(cause: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: object, how: int) -> None:
        raise OSError(cause, os.strerror(cause))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(Taken, match="unknown"), locked(tmp_path / "lock"):
        pass


def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with locked(tmp_path / "no" / "lock") as missing:
        assert isinstance(missing, FileNotFoundError)


def test_a_memory_map_shares_what_it_was_opened_as(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"abc")
    assert not is_shared(tmp_path / "rows")
    with (tmp_path / "rows").open("rb") as file:
        share(file)
        rows = np.memmap(file, mode="r")
    assert is_shared(tmp_path / "rows")
    del rows
    assert not is_shared(tmp_path / "rows")
