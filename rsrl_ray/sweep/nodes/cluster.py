"""The Ray that a sweep runs on: a cluster that it joins, or a new Ray on this machine."""

import contextlib
import logging
import os
from collections.abc import Iterator

import ray
from ray.exceptions import AuthenticationError, ObjectStoreFullError, OutOfDiskError

from rsrl_ray.core.errors import first_line
from rsrl_ray.display import Display
from rsrl_ray.sweep.nodes.address import ELSE, NEW, address_to_join
from rsrl_ray.sweep.nodes.room import living
from rsrl_ray.sweep.ray_insides.connection import began_ray, folder_of_ray, has_room_for_sockets, signals_left_alone

# Otherwise glibc returns every large array to the system and asks for it again: a third of AlexNet's time on a CPU.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**34)}


@contextlib.contextmanager
def joined_cluster(display: Display) -> Iterator[bool]:
    """Join a Ray while the body runs, if there is one (see `address_to_join`); yields whether there is.

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
    """While the body runs there is a Ray: the one that this process is connected to, or a new one.

    Raises ValueError if it does not start, or if Ray has no room for what the body gives it.
    """
    # Else Ray starts a process for each core, without the environment of the trials.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_RESULT_BUFFER_LENGTH", "1")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    with contextlib.nullcontext() if ray.is_initialized() else _connected(NEW, "starting Ray", display):
        try:
            yield
        except (ObjectStoreFullError, OutOfDiskError) as error:
            raise ValueError(
                f"Ray has no room for what every trial starts with: its object store is full, and the disk under "
                f"{folder_of_ray()} is full too; free some space there, or start Ray with a larger store: "
                "`ray start --head --object-store-memory=BYTES`"
            ) from error


@contextlib.contextmanager
def _connected(address: str, what: str, display: Display) -> Iterator[None]:
    """Connect to the Ray at this address while the body runs; ``what`` is shown until it is connected."""
    with display.started(what):
        _connect(address)
    try:
        display.said(_described())
        yield
    finally:
        ray.shutdown()


def _described() -> str:
    """The Ray that this process is connected to, in one line: where it is, and what it has."""
    nodes = living()
    cpus, gpus = (sum(node.has.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU"))
    whose = "begun here" if began_ray() else "joined"
    many = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
    return f"Ray at {ray.get_runtime_context().gcs_address} ({whose}): {many}, {cpus:g} CPUs, {gpus:g} GPUs"


def _connect(address: str) -> None:
    """Join the Ray at this address, or begin a new one if it is `NEW`."""
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
            raise ValueError(f"Ray did not start: {first_line(error)}") from error
        raise ValueError(f"Ray at {address} cannot be joined: {first_line(error)}; {ELSE}") from error
    except Exception as error:
        if type(error) is not Exception:  # Ray raises a plain Exception if its start takes longer than 30 s
            raise
        raise ValueError(
            f"Ray did not start: {first_line(error)} If the machine is busy, run the same command again"
        ) from error


def _short_folder() -> str | None:
    """Where a new Ray puts its files; None for Ray's own choice.

    The path of a socket has at most about 100 bytes. A TMPDIR on a cluster is often too long for that.

    Raises
    ------
    ValueError
        If RAY_TMPDIR is too long, or no other folder can be written to.
    """
    if has_room_for_sockets():
        return None
    if "RAY_TMPDIR" in os.environ:
        raise ValueError(
            f"RAY_TMPDIR={os.environ['RAY_TMPDIR']} is too long for the sockets of Ray, whose paths have a limit; "
            "set it to a shorter folder, such as /tmp"
        )
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        folder = os.path.join(place, f"ray-{os.getuid()}")
        with contextlib.suppress(OSError):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK) and os.stat(folder).st_uid == os.getuid():
                return folder
    raise ValueError(
        f"TMPDIR={os.environ.get('TMPDIR')} is too long for the sockets of Ray, and /tmp cannot be written to; set "
        "the environment variable RAY_TMPDIR to a shorter folder"
    )
