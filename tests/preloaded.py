"""Python processes that begin with torch and MLflow imported: forks of one process, that the tests start once.

pytest's processes, a sweep's driver and each of its trials' processes import for 5 s what every other one has imported.
``Preloaded.python`` is a program that is called as Python is, also by Ray for its workers. It stands for its fork: it
passes signals on and ends as the fork does, and the fork dies where it is killed.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
import types
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
STAND_IN = """\
#!{python} -IS
import json, os, signal, socket, sys

words = sys.argv[1:]
if words[0] == "-u":
    del words[0]
if words[0] not in ("-m", "-c") and not words[0].endswith(".py"):
    os.execv({python!r}, [{python!r}, *words])
place = socket.socket(socket.AF_UNIX)
raylet = "raylet-" + "-".join(os.environ.get("RAY_" + name, "") for name in ("RAYLET_PID", "JOB_ID"))
for name in (raylet, "workers") if words[0].endswith("_worker.py") else ("others",):
    try:
        place.connect({folder!r} + "/" + name)
        break
    except OSError:  # it is the first of its raylet
        continue
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: place.send(bytes([number])))
request = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(place, [len(request).to_bytes(8, "big")], [0, 1, 2])
place.sendall(request)
ended = int(place.recv(8) or -signal.SIGKILL)
if ended < 0:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if ended != -signal.SIGKILL:
        signal.signal(-ended, signal.SIG_DFL)
    os.kill(os.getpid(), -ended)
os._exit(ended)
"""


class Preloaded:
    """The process that is forked, which imports at its first fork, and ``python``, the program for it."""

    def __init__(self, folder: Path) -> None:
        self.python = folder / "python"
        self.python.write_text(STAND_IN.format(python=sys.executable, folder=str(folder)))
        self.python.chmod(0o700)
        with socket.socket(socket.AF_UNIX) as workers, socket.socket(socket.AF_UNIX) as others:
            for listening, name in ((workers, "workers"), (others, "others")):
                listening.bind(str(folder / name))
                listening.listen(100)
            fds = [workers.fileno(), others.fileno()]
            self._process = subprocess.Popen(
                [sys.executable, __file__, *map(str, fds)], stdin=subprocess.PIPE, pass_fds=fds, start_new_session=True
            )

    def close(self) -> None:
        """No more forks."""
        self._process.communicate()


def serve(workers: socket.socket, others: socket.socket) -> None:
    """Fork for each request; returns in the forks only, and ends with its standard input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    if sys.stdin in select.select([sys.stdin, workers, others], [], [])[0]:
        os._exit(0)
    load(*MODULES)
    if os.fork() == 0:
        load("ray.tune")
        listening = others
    else:
        listening = workers
    while sys.stdin not in select.select([sys.stdin, listening], [], [])[0]:
        asking = listening.accept()[0]
        if os.fork() == 0:
            folder = Path(workers.getsockname()).parent
            workers.close()
            others.close()
            return keep(asking, folder)
        asking.close()
    os._exit(0)


def serve_raylet(place: Path, raylet: int) -> None:
    """Fork for each of the raylet's workers that follow; returns in the forks only, and ends with raylet or pytest."""
    with socket.socket(socket.AF_UNIX) as listening:
        try:
            listening.bind(str(place))
        except OSError:  # two workers were the first
            os._exit(0)
        listening.listen(100)
        while psutil.pid_exists(raylet):
            ready = select.select([sys.stdin, listening], [], [], 1)[0]
            if sys.stdin in ready:
                break
            if listening in ready:
                asking = listening.accept()[0]
                if os.fork() == 0:
                    listening.close()
                    return keep(asking, None)
                asking.close()
    place.unlink()
    os._exit(0)


def load(*modules: str) -> None:
    """Import them, for all forks that follow."""
    for name in modules:
        importlib.import_module(name)
    gc.freeze()  # what is collected is no longer shared


def keep(asking: socket.socket, folder: Path | None) -> None:
    """Fork what is asked for, and return there; tell its end to the stand-in, and the stand-in's to it.

    folder : where the raylet's later workers will ask, if the first one asks now.
    """
    size, streams, _, _ = socket.recv_fds(asking, 8, 3)
    request = b""
    while len(request) < int.from_bytes(size, "big"):
        request += asking.recv(2**20)
    words, place, environment = json.loads(request)
    if folder is not None and words[0].endswith("default_worker.py"):
        raylet, job = environment["RAY_RAYLET_PID"], environment["RAY_JOB_ID"]
        os.environ.update(RAY_RAYLET_PID=raylet, RAY_JOB_ID=job)
        load("ray.tune")
        if os.fork() == 0:
            asking.close()
            for stream in streams:
                os.close(stream)
            return serve_raylet(folder / f"raylet-{raylet}-{job}", int(raylet))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        asking.close()
        return become(streams, words, place, environment)
    for stream in (1, 2, *streams):
        os.close(stream)
    threading.Thread(target=pass_on, args=(asking, child), daemon=True).start()
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):  # it was killed
        asking.send(str(ended).encode())
    os._exit(0)


def pass_on(asking: socket.socket, child: int) -> None:
    """What the stand-in is told; it has been killed where it says nothing any more, and pytest has ended with stdin."""
    while True:
        numbers = asking.recv(100) if sys.stdin not in select.select([sys.stdin, asking], [], [])[0] else b""
        for number in numbers or [signal.SIGKILL]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)
        if not numbers:
            return


def become(streams: list[int], words: list[str], folder: str, environment: dict[str, str]) -> None:
    """Take on what a new process is given."""
    os.setsid()
    for ours, stream in enumerate(streams):
        os.dup2(stream, ours)
        os.close(stream)
    os.chdir(folder)
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
    serve(*(socket.socket(fileno=int(number)) for number in sys.argv[1:]))
