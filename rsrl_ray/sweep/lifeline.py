"""A Ray that is gone takes the driver with it, with a line of its own code's names: here the user is told before."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import ray

PROBE_S = 1.0  # between two looks at the head
STOP_S = 3.0  # patience with a head once this process was asked to end: who ends both at once does not wait long
RAYS_PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"
LOST = 1  # exit status, which is also Ray's own


@contextlib.contextmanager
def lifeline(leave: Callable[[str], None]) -> Iterator[None]:
    """While the body runs, end this process where Ray's head has not answered for two thirds of Ray's own patience.

    After that patience, 60 s, Ray ends every process that is connected to it, at once, whatever it does. ``leave`` is
    called before, with Ray's address, to say so and to leave the log in order. Where SIGTERM or SIGHUP came, as to all
    processes of a job that a scheduler ends, this process follows in `STOP_S`, with their exit status.
    """
    patience = 2 / 3 * float(os.environ.get(RAYS_PATIENCE, "60"))
    address = ray.get_runtime_context().gcs_address
    ended = threading.Event()

    def watch() -> None:
        seen = time.monotonic()
        while not ended.wait(PROBE_S):
            if _answers(address):
                seen = time.monotonic()
            elif time.monotonic() - seen > (STOP_S if _asked() else patience):
                leave(address)
                os._exit(_asked() or LOST)

    thread = threading.Thread(target=watch, name="lifeline", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _asked() -> int:
    """The exit status that a signal has asked for, or 0: whoever handles SIGTERM knows (`rsrl_ray.cli.ending`)."""
    return int(getattr(signal.getsignal(signal.SIGTERM), "asked", 0))


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError:
        return False
    return True
