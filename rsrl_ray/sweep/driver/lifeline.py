"""If Ray or a signal ends a sweep's process, it says so in a line first. Ray itself would say nothing."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import psutil
import ray

from rsrl_ray.sweep.nodes.address import reach
from rsrl_ray.sweep.ray_insides.connection import main_processes

PROBE_S = 1.0  # between two looks at the head
_PROBE_PATIENCE_S = 5.0  # with each look at the head
SIGNALS_LOOK_S = 0.02  # between two looks at the signals
RAYS_PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"
LOST = 1  # exit status, which is also Ray's own


@contextlib.contextmanager
def lifeline(leave: Callable[[str], None]) -> Iterator[None]:
    """While the body runs, end this process if Ray is gone, or at SIGTERM or SIGHUP; see `_Watch`.

    Before that, ``leave`` is called with a line for the user, to leave terminal and log in order.
    """
    watch = _Watch(leave)
    watch.start()
    try:
        yield
    finally:
        watch.end()


class _Watch(threading.Thread):
    """Ends this process before Ray ends it, which would print nothing, or a stack of C++.

    If the head does not answer, it has two thirds of Ray's own patience, which is 60 s; after that, Ray ends every
    process that is connected to it. A Ray that this process has started is lost if its raylet or its head ends. With
    such a Ray, this process also ends at once at SIGTERM and SIGHUP: a scheduler that ends a job ends Ray's processes
    too, and about 0.1 s after the end of the raylet, Ray ends this process with status 1.
    """

    def __init__(self, leave: Callable[[str], None]) -> None:
        super().__init__(name="lifeline", daemon=True)
        self._leave, self._ended = leave, threading.Event()
        self._patience = 2 / 3 * float(os.environ.get(RAYS_PATIENCE, "60"))
        self._address = ray.get_runtime_context().gcs_address
        self._own = main_processes()
        self._signals: Any = signal.getsignal(signal.SIGTERM)  # its handler is `rsrl_ray.cli.ending.Stop`
        self._leads = bool(self._own) and hasattr(self._signals, "asked")
        self._seen = self._looked = time.monotonic()

    def run(self) -> None:
        if self._leads:
            self._signals.is_left = True
        while not self._ended.wait(SIGNALS_LOOK_S):
            self._follow()
            if self._is_lost():
                kept = "what is done is kept, the same command goes on in a new Ray"
                self._part(f"Ray at {self._address} is gone; {kept}", getattr(self._signals, "asked", 0) or LOST)

    def end(self) -> None:
        """Stop watching."""
        self._ended.set()
        self.join()
        if self._leads:
            self._signals.is_left = False
            self._follow()  # a signal that came since the last look

    def _follow(self) -> None:
        if self._leads and self._signals.asked:
            self._part("stopped; what is done is kept, the same command goes on", self._signals.asked)

    def _is_lost(self) -> bool:
        now = time.monotonic()
        if now - self._looked < PROBE_S:
            return False
        self._looked = now
        if any(process.poll() is not None for process in self._own):
            return True
        with contextlib.suppress(OSError):
            reach(self._address, _PROBE_PATIENCE_S)
            self._seen = now
        return now - self._seen > (0 if getattr(self._signals, "asked", 0) else self._patience)

    def _part(self, line: str, status: int) -> NoReturn:
        for process in self._own:
            process.send_signal(signal.SIGSTOP)  # else one may end, and Ray ends this process
        self._leave(line)
        doomed: list[psutil.Process | subprocess.Popen[bytes]] = [*_trials(self._own), *self._own]
        for ending in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                ending.kill()  # Ray's other processes end with these
        os._exit(status)


def _trials(own: list[subprocess.Popen[bytes]]) -> list[psutil.Process]:
    """The processes below these. If a raylet is killed, its workers live on for seconds."""
    found = []
    for process in own:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += psutil.Process(process.pid).children(recursive=True)
    return found
