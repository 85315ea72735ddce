"""The process that is forked: it imports at its first request, and each fork becomes what a stand-in asks for."""

import contextlib
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import termios
import threading
import traceback
import types
from dataclasses import dataclass
from pathlib import Path

import psutil

# Nothing of this package, which a `Gate` may change, and not Ray: its C++ reads a worker's job and raylet from the
# environment as soon as it is loaded. So what has loaded Ray is forked for the workers of one raylet, or for no worker.
MODULES = (
    "PIL.Image",
    "aiohttp",
    "flask",
    "graphene",
    "grpc",
    "jsonargparse",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "mlflow.store.tracking.sqlalchemy_store",
    "pandas",
    "pyarrow.fs",
    "rich.live",
    "scipy.stats",
    "sklearn.model_selection",
    "torch._dynamo",  # which torch.optim imports at its first step
    "torch.utils.data",
    "torchvision.models",
    "yaml",
)


@dataclass
class Request:
    """What a stand-in asks for."""

    asking: socket.socket
    streams: list[int]
    words: list[str]
    folder: str
    environment: dict[str, str]

    @classmethod
    def accept(cls, listening: socket.socket) -> "Request":
        asking = listening.accept()[0]
        size, streams, _, _ = socket.recv_fds(asking, 8, 3)
        text = b""
        while len(text) < int.from_bytes(size, "big"):
            text += asking.recv(2**20)
        return cls(asking, streams, *json.loads(text))

    def let_go(self) -> None:
        """Of its streams, which are another process's now."""
        for stream in self.streams:
            os.close(stream)


def serve(workers: socket.socket, others: socket.socket) -> Request:
    """Fork for all requests; returns in the forks only, what each is to be."""
    if sys.stdin in select.select([sys.stdin, workers, others], [], [])[0]:
        os._exit(0)
    load(*MODULES)
    if os.fork() == 0:
        workers.close()
        load("ray.tune")
        return Forks(others).serve()
    others.close()
    return Forks(workers, by_raylet=True).serve()


def load(*modules: str) -> None:
    """Import them, for all forks that follow."""
    for name in modules:
        importlib.import_module(name)
    gc.freeze()  # what is collected is no longer shared


class Forks:
    """The forks of this process, one for each request. It ends with its standard input, which is pytest."""

    def __init__(self, *listening: socket.socket, by_raylet: bool = False, raylet: int | None = None) -> None:
        """``by_raylet``: fork one process for the workers of each raylet. ``raylet``: end with this one."""
        self._listening, self._by_raylet, self._raylet = listening, by_raylet, raylet
        self._asking: dict[int, socket.socket] = {}  # for each fork
        self._woken, self._wake = socket.socketpair()
        for end in (self._woken, self._wake):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self, *waiting: Request) -> Request:
        """Returns in the forks only."""
        requests = list(waiting)
        while True:
            for request in requests:
                if (mine := self._fork(request)) is not None:
                    return mine
            ready = select.select([sys.stdin, self._woken, *self._listening, *self._asking.values()], [], [], 1)[0]
            if sys.stdin in ready:
                for fork in self._asking:
                    os.kill(fork, signal.SIGKILL)
                os._exit(0)
            if self._raylet is not None and not self._asking and not psutil.pid_exists(self._raylet):
                os._exit(0)
            if self._woken in ready:
                self._tell_ends()
            for fork in [fork for fork, asking in self._asking.items() if asking in ready]:
                self._pass_on(fork)
            requests = [Request.accept(listening) for listening in self._listening if listening in ready]

    def _fork(self, request: Request) -> Request | None:
        apart = self._by_raylet and request.words[0].endswith("default_worker.py")
        fork = os.fork()
        if fork == 0:
            self._close()
            return for_raylet(request) if apart else request
        request.let_go()
        if apart:
            request.asking.close()
        else:
            self._asking[fork] = request.asking
        return None

    def _close(self) -> None:
        """In a fork, which has nothing to do with the others."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in (*self._listening, self._woken, self._wake, *self._asking.values()):
            end.close()

    def _tell_ends(self) -> None:
        self._woken.recv(1000)
        with contextlib.suppress(ChildProcessError):  # there are none left
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if asking := self._asking.pop(found[0], None):
                    with contextlib.suppress(OSError):  # it was killed
                        asking.send(str(os.waitstatus_to_exitcode(found[1])).encode())
                    asking.close()

    def _pass_on(self, fork: int) -> None:
        """What the stand-in is told; it has been killed where it says nothing any more."""
        numbers = self._asking[fork].recv(100)
        for number in numbers or [signal.SIGKILL]:
            os.kill(fork, number)
        if not numbers:
            self._asking.pop(fork).close()


def for_raylet(request: Request) -> Request:
    """In the process for a raylet's workers, of which this is the first: returns in their forks only."""
    raylet, job = request.environment["RAY_RAYLET_PID"], request.environment.get("RAY_JOB_ID")  # none: it spills
    os.environ.update({"RAY_RAYLET_PID": raylet} | ({"RAY_JOB_ID": job} if job else {}))
    load("ray.tune")
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(str(Path(sys.argv[1], f"raylet-{raylet}-{job or ''}")))
    except OSError:  # two workers were the first
        return Forks(raylet=int(raylet)).serve(request)
    listening.listen(100)
    return Forks(listening, raylet=int(raylet)).serve(request)


def become(request: Request) -> None:
    """Take on what a new process is given."""
    words, environment = request.words, request.environment
    os.setsid()
    request.asking.close()
    for ours, stream in enumerate(request.streams):
        os.dup2(stream, ours)
    request.let_go()
    take_terminal()
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(environment)
    if raylet := sys.modules.get("ray._raylet"):
        raylet.Config.initialize("")  # reads the environment anew
    if words[0] != "-c":  # a process of pytest's
        sys.executable = environment.get("RSRL_PYTHON", sys.executable)  # for those that it starts itself
    for extra in filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)):
        sys.path.insert(1, extra)
        if (site := Path(extra, "sitecustomize.py")).exists():
            exec(compile(site.read_text(), str(site), "exec"), {"__name__": "sitecustomize"})
    end(*words)


def take_terminal() -> None:
    """If the input is a terminal that belongs to nobody: its closing ends this process, as the kernel has it."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup too


def end(first: str, *words: str) -> None:
    """Run what was asked for as the main program, and end without taking every module apart, which takes a second."""
    status: object = 0
    option, program = first in ("-m", "-c"), words[0] if first in ("-m", "-c") else first
    sys.argv = list(words) if option else [first, *words]
    sys.path[0] = os.getcwd() if option else str(Path(program).parent)
    try:
        if first == "-c":
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(program, vars(main))
        elif first == "-m":
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(program, run_name="__main__")
    except SystemExit as asked:
        status = asked.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    become(serve(*(socket.socket(fileno=int(number)) for number in sys.argv[2:])))
