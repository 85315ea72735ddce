"""The Ray that a sweep runs on: a cluster that is joined, or one made of this machine."""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import ray
from ray._common.utils import get_default_ray_temp_dir
from ray._private import utils, worker
from ray.exceptions import AuthenticationError, ObjectStoreFullError, OutOfDiskError

from rsrl_ray.config import Resources
from rsrl_ray.display import Display
from rsrl_ray.sweep.address import ELSE, NEW, address_to_join
from rsrl_ray.sweep.places import with_room

# glibc gives every large array back to the system and asks for it anew: a third of AlexNet's time on a CPU.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**34)}

A_LITTLE = 0.01  # of a GPU, to look at it
WAIT_S = 60.0  # a cluster in which nothing was begun for so long has no room
WAITS = "waiting for nodes with room (`ray status` shows what the cluster starts)"


@contextlib.contextmanager
def joined_cluster(display: Display) -> Iterator[bool]:
    """Connected to the Ray that there is to join (see `address_to_join`), if there is one; yields whether.

    Raises ValueError where it cannot be joined.
    """
    if ray.is_initialized():
        yield _joined()
        return
    address = address_to_join(display)
    if address is None:
        yield False
        return
    with display.started("joining Ray"):
        _connect(address)
    try:
        display.said(_described())
        yield True
    finally:
        ray.shutdown()


@contextlib.contextmanager
def quiet_ray(display: Display) -> Iterator[None]:
    """The Ray this process is connected to, else a new one.

    Raises ValueError where it does not start, and in the place of Ray's own errors of the body where it has no room.
    """
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # a process a core, none with the trials' variables
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_RESULT_BUFFER_LENGTH", "1")
    os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")  # a trial that gives up has no metric to report
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    began = not ray.is_initialized()
    if began:
        with display.started("starting Ray"):
            _connect(NEW)
    try:
        if began:
            display.said(_described())
        yield
    except (ObjectStoreFullError, OutOfDiskError) as error:
        node: Any = worker._global_node
        raise ValueError(
            f"Ray has no room for what every trial starts with: its object store is full, and so is the disk under "
            f"{node.get_temp_dir_path()}; free some space there, or start Ray with a larger store: "
            "`ray start --head --object-store-memory=BYTES`"
        ) from error
    finally:
        if began:
            ray.shutdown()


def _joined() -> bool:
    """Whether the Ray that this process is connected to was there before it."""
    node: Any = worker._global_node
    return node is None or not node.is_head()


def _described() -> str:
    """The Ray that this process is connected to, in a line: where it is, and what it has."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    cpus, gpus = (sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU"))
    whose, many = "joined" if _joined() else "begun here", f"{len(nodes)} node{'s' * (len(nodes) != 1)}"
    return f"Ray at {ray.get_runtime_context().gcs_address} ({whose}): {many}, {cpus:g} CPUs, {gpus:g} GPUs"


def _connect(address: str) -> None:
    """Join the Ray at this address, or begin a `NEW` one."""
    folder = _short_folder() if address == NEW else None
    try:
        with _signals_left_alone():
            ray.init(
                address=address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": KEEP_MEMORY},
                _temp_dir=folder,
            )
    except (AuthenticationError, OSError, ValueError) as error:
        if address == NEW:
            raise ValueError(f"Ray did not start: {str(error).splitlines()[0]}") from error
        raise ValueError(f"Ray at {address} cannot be joined: {str(error).splitlines()[0]}; {ELSE}") from error
    except Exception as error:
        if type(error) is not Exception:  # Ray has no name of its own for a start that takes longer than 30 s
            raise
        raise ValueError(
            f"Ray did not start: {str(error).splitlines()[0]} Where the machine is busy, the same command tries again"
        ) from error


@contextlib.contextmanager
def _signals_left_alone() -> Iterator[None]:
    """Ray's start as one that changes no handler of SIGTERM, and whose processes no SIGHUP of a terminal reaches.

    Ray has two handlers, one of Python's and one of C++, that end the process at once. Its processes are in the
    terminal's group, as this one is, and would be gone before this one has ended the sweep; what is blocked here they
    inherit.
    """
    set_handler, before = utils.set_sigterm_handler, signal.getsignal(signal.SIGTERM)
    kept = callable(before) or before is signal.SIG_IGN  # whoever has not said what SIGTERM is to do has Ray's way
    if kept:
        utils.set_sigterm_handler = lambda handler: None
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        utils.set_sigterm_handler = set_handler
        if kept and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _short_folder() -> str | None:
    """Where a new Ray puts its files; None where Ray's own choice will do.

    A socket's path has a limit of about 100 bytes, which a TMPDIR as clusters have it exceeds.

    Raises
    ------
    ValueError
        Where RAY_TMPDIR is too long, or no other folder can be written to.
    """
    default: str = get_default_ray_temp_dir()  # type: ignore[no-untyped-call]
    if _holds_sockets(default):
        return None
    if "RAY_TMPDIR" in os.environ:
        raise ValueError(
            f"RAY_TMPDIR={os.environ['RAY_TMPDIR']} is too long for the sockets of Ray, whose paths have a limit; give "
            "a shorter folder, such as /tmp"
        )
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        folder = os.path.join(place, f"ray-{os.getuid()}")
        with contextlib.suppress(OSError):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK) and os.stat(folder).st_uid == os.getuid():
                return folder
    raise ValueError(
        f"TMPDIR={os.environ.get('TMPDIR')} is too long for the sockets of Ray, and /tmp cannot be written to; give a "
        "shorter folder in the environment variable RAY_TMPDIR"
    )


def _holds_sockets(folder: str) -> bool:
    """Whether the longest path of a socket that Ray makes below the folder is within the system's limit."""
    session = f"session_0000-00-00_00-00-00_000000_{os.getpid()}"
    try:
        utils.validate_socket_filepath(os.path.join(folder, session, "sockets", "plasma_store"))
    except OSError:
        return False
    return True


def wanted(resources: Resources) -> dict[str, float]:
    """What a node needs to hold a trial."""
    return {"CPU": resources.cpus, "GPU": A_LITTLE if resources.gpus == "auto" else resources.gpus}


def wait_for_room(asked: list[Any], display: Display) -> None:
    """Wait until one of the tasks that were asked for is done; say every `WAIT_S` that a cluster has no room."""
    while not ray.wait(asked, timeout=WAIT_S)[0]:
        if _joined():
            display.said(f"nothing could be begun: {WAITS}", "warning")


def check_room(resources: Resources, display: Display) -> None:
    """A trial that no node can hold waits for one in a cluster; on one machine it would for ever: raises ValueError."""
    auto, share = resources.gpus == "auto", wanted(resources)
    if with_room(share):
        return
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    if _joined():
        gpus = "some of a GPU" if auto else f"{share['GPU']:g} GPUs"
        waits = (
            f"no node has {resources.cpus:g} CPUs and {gpus} for a trial yet: the sweep waits "
            "until the cluster has one; `ray status` shows what it starts"
        )
        display.said(waits, "warning")
        return
    for knob, name in (("cpus", "CPU"), ("gpus", "GPU")):
        there = max(node.get(name, 0.0) for node in nodes)
        if share[name] > there:
            asked = "auto" if auto and name == "GPU" else f"{share[name]:g}"
            raise ValueError(f"resources.{knob}: {asked} for a trial, but this machine has {there:g}")
