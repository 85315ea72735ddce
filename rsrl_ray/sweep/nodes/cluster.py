"""The Ray that a sweep runs on: a cluster that is joined, or one made of this machine."""

import contextlib
import logging
import os
from collections.abc import Iterator

import ray
from ray.exceptions import AuthenticationError, ObjectStoreFullError, OutOfDiskError

from rsrl_ray.display import Display
from rsrl_ray.sweep.nodes.address import ELSE, NEW, address_to_join
from rsrl_ray.sweep.nodes.room import living
from rsrl_ray.sweep.ray_insides.connection import began_ray, folder_of_ray, has_room_for_sockets, signals_left_alone

# glibc gives every large array back to the system and asks for it anew: a third of AlexNet's time on a CPU.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**34)}


@contextlib.contextmanager
def joined_cluster(display: Display) -> Iterator[bool]:
    """Connected to the Ray that there is to join (see `address_to_join`), if there is one; yields whether.

    Raises ValueError if it cannot be joined.
    """
    if ray.is_initialized():
        yield not began_ray()
        return
    address = address_to_join(display)
    if address is None:
        yield False
        return
    with _connected(address, "joining Ray", display):
        yield True


@contextlib.contextmanager
def quiet_ray(display: Display) -> Iterator[None]:
    """The Ray this process is connected to, else a new one.

    Raises ValueError if it does not start, and in the place of Ray's own errors of the body where it has no room.
    """
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # a process a core, none with the trials' variables
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_RESULT_BUFFER_LENGTH", "1")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    connection = contextlib.nullcontext() if ray.is_initialized() else _connected(NEW, "starting Ray", display)
    try:
        with connection:
            yield
    except (ObjectStoreFullError, OutOfDiskError) as error:
        raise ValueError(
            f"Ray has no room for what every trial starts with: its object store is full, and so is the disk under "
            f"{folder_of_ray()}; free some space there, or start Ray with a larger store: "
            "`ray start --head --object-store-memory=BYTES`"
        ) from error


@contextlib.contextmanager
def _connected(address: str, what: str, display: Display) -> Iterator[None]:
    """Connected to the Ray at this address while the body runs. ``what`` : how that is called meanwhile."""
    with display.started(what):
        _connect(address)
    try:
        display.said(_described())
        yield
    finally:
        ray.shutdown()


def _described() -> str:
    """The Ray that this process is connected to, in a line: where it is, and what it has."""
    nodes = living()
    cpus, gpus = (sum(node.has.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU"))
    whose = "begun here" if began_ray() else "joined"
    many = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
    return f"Ray at {ray.get_runtime_context().gcs_address} ({whose}): {many}, {cpus:g} CPUs, {gpus:g} GPUs"


def _connect(address: str) -> None:
    """Join the Ray at this address, or begin a `NEW` one."""
    folder = _short_folder() if address == NEW else None
    try:
        with signals_left_alone():
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


def _short_folder() -> str | None:
    """Where a new Ray puts its files; None if Ray's own choice will do.

    A socket's path has a limit of about 100 bytes, which a TMPDIR as clusters have it exceeds.

    Raises
    ------
    ValueError
        If RAY_TMPDIR is too long, or no other folder can be written to.
    """
    if has_room_for_sockets():
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
