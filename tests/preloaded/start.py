"""Starts the process that the tests' processes are forks of; see README.md beside this file."""

import os
import socket
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def switched_on() -> bool:
    """Whether processes are forks; with ``RSRL_PRELOADED=0`` they are started as everywhere else."""
    return os.environ.get("RSRL_PRELOADED", "1") != "0"


class Preloaded:
    """The process that is forked, which imports at its first fork, and ``python``, the program for it."""

    def __init__(self, folder: Path) -> None:
        self.python = folder / "python"
        self.python.write_text(f"#!{sys.executable} -IS\n{HERE.joinpath('stand_in.py').read_text()}")
        self.python.chmod(0o700)
        with socket.socket(socket.AF_UNIX) as workers, socket.socket(socket.AF_UNIX) as others:
            for listening, name in ((workers, "workers"), (others, "others")):
                listening.bind(str(folder / name))
                listening.listen(100)
            fds = [workers.fileno(), others.fileno()]
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "forks.py"), str(folder), *map(str, fds)],
                stdin=subprocess.PIPE,
                pass_fds=fds,
                start_new_session=True,
            )

    def close(self) -> None:
        """No more forks."""
        self._process.communicate()
