"""MLflow's UI on the results of an experiment, which goes on while other things are done: `rsrl ui`."""

import atexit
import contextlib
import socket
import subprocess
import time
from html import escape

from rsrl_ray.config import Experiment
from rsrl_ray.display import Display
from rsrl_ray.store.location import Location, redacted
from rsrl_ray.tracking.places import mend
from rsrl_ray.tracking.read import artifacts_root
from rsrl_ray.tracking.server import started
from rsrl_ray.tracking.standing import Standing
from rsrl_ray.tracking.stores import mlflow_uri

PORT = 5000  # if it is free


class UI:
    """MLflow's pages of a sweep, and the server that shows them.

    pages : the address of each, by its name. is_own : whether this process started the server; it ends with the
    process, or by `stop`. The others are tracking servers, which stay.
    """

    def __init__(self, experiment: Experiment, display: Display) -> None:
        """Start the server if there is none, and wait until it answers.

        Raises
        ------
        ValueError
            If there is no sweep of the experiment, MLflow cannot be read, or the server does not start.
        """
        uri = mlflow_uri(experiment)
        found = Standing(experiment, display).found
        mend(uri, found.results.experiment_id, artifacts_root(experiment), display.said)
        self.is_own, self._running = not Location(uri).is_served, contextlib.ExitStack()
        port = free_port(PORT)
        address = f"http://127.0.0.1:{port}" if self.is_own else redacted(uri)
        self.pages = found.results.pages(address, found.sweep, list(found.trials.values()))
        self._server: subprocess.Popen[bytes] | None = None
        if self.is_own:
            with display.started("starting MLflow's UI"):
                self._start(uri, port)

    def _start(self, uri: str, port: int) -> None:
        with contextlib.ExitStack() as running:
            self._server = running.enter_context(started(uri, port))
            while not _answers(port):
                if (status := self._server.poll()) is not None:
                    raise ValueError(f"MLflow's UI ended at once, with status {status}; what it printed says why")
                time.sleep(0.2)
            self._running = running.pop_all()
        atexit.register(self.stop)

    def wait(self) -> int:
        """Wait until the server of this process ends; its exit status, 0 if there is no such server."""
        return 0 if self._server is None else self._server.wait()

    def stop(self) -> None:
        """End the server of this process; one of somebody else stays."""
        self._running.close()
        atexit.unregister(self.stop)

    def __repr__(self) -> str:
        """A line for each page."""
        return "\n".join(f"{name}: {page}" for name, page in self.pages.items())

    def _repr_html_(self) -> str:
        """Links."""
        return "".join(f'<div><a href="{escape(page)}">{escape(name)}</a></div>' for name, page in self.pages.items())


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def free_port(wanted: int) -> int:
    """The wanted port of this machine, or another one if it is taken."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as place:
            return int(place.getsockname()[1])
    raise ValueError("no port is free on 127.0.0.1")
