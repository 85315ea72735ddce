"""What leans on the insides of Ray 2.60, which any release may change: all of it stands here, and nowhere else.

At an upgrade: count `ray[tune]` in pyproject.toml up, read the question at each part, then run tests/sweep. The words
in which Ray tells of a process's end are read in `rsrl_ray.sweep.driver.crashes`, and
`rsrl_ray.sweep.driver.scheduler` relies on the order in which Tune calls it; their tests say what is expected.
"""

import contextlib
import copy
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ray import NodeID, _raylet
from ray._common.utils import get_default_ray_temp_dir
from ray._private import serialization, services, state, utils, worker
from ray._private.authentication import authentication_token_setup
from ray.exceptions import AuthenticationError, OutOfMemoryError, RayActorError, RpcError
from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial

TOKEN_MODE = authentication_token_setup.AUTH_MODE_ENV_VAR
_NAMESPACE = b"rsrl_ray"
_NO_CLUSTER = "11" * 28  # the id of no cluster: a head looks at the token first
_CORE: Any = _raylet


# The Ray of this process. At an upgrade: does `ray._private.worker` still hold the node that `ray.init` has begun?


def began_ray() -> bool:
    """Whether the Ray that this process is connected to was begun by it; Ray's client has no node."""
    node: Any = worker._global_node
    return node is not None and bool(node.is_head())


def folder_of_ray() -> str:
    """Where the Ray that this process is connected to has its files."""
    node: Any = worker._global_node
    return str(node.get_temp_dir_path())


def main_processes() -> "list[subprocess.Popen[bytes]]":
    """Of the Ray that this process has begun: its raylet and its head; none of another one."""
    node: Any = worker._global_node
    begun = {} if node is None else node.all_processes
    return [one.process for kind in ("raylet", "gcs_server") for one in begun.get(kind, [])]


# Ray's start. At an upgrade: sweep/driver/test_lifeline.py ends sweeps by signals, test_ray_folder.py has long folders.


def has_room_for_sockets() -> bool:
    """Whether the longest path of a socket in the folder that a new Ray would take is within the system's limit."""
    folder: str = get_default_ray_temp_dir()  # type: ignore[no-untyped-call]
    session = f"session_0000-00-00_00-00-00_000000_{os.getpid()}"
    try:
        utils.validate_socket_filepath(os.path.join(folder, session, "sockets", "plasma_store"))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def signals_left_alone() -> Iterator[None]:
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


# A Ray to join, and its tokens. At an upgrade: may `ray.init` refuse another one's token by itself, and at once?


@dataclass(frozen=True)
class Tokens:
    """Who has a token for a Ray at this address.

    asked : whether the head lets in nobody without one. here : whether there is one. fits : whether it is the head's.
    """

    asked: bool
    here: bool
    fits: bool


def address_left_here() -> str | None:
    """The address of the Ray that `ray start` began on this machine."""
    found: str | None = services.find_bootstrap_address(None)
    return found


def tokens_for(address: str, patience: float) -> Tokens:
    """Of this process, for the head at this address, which is given so many seconds to answer."""
    loader = _CORE.AuthenticationTokenLoader.instance()
    try:
        here = loader.has_token(ignore_auth_mode=True)
        asked = not _lets_in(address, "disabled", patience)
        return Tokens(asked, here, here and (not asked or _lets_in(address, "token", patience)))
    finally:
        loader.reset_cache()  # else this process asks everybody for the token that was seen


def take_token_along() -> None:
    """Show the token of this process to the Ray that it joins."""
    authentication_token_setup._enable_token_auth()


def _lets_in(address: str, mode: str, patience: float) -> bool:
    """Whether the head listens to this process with its token, or without."""
    with _token_mode(mode):
        try:
            _CORE.InnerGcsClient.standalone(address, _NO_CLUSTER, int(1000 * patience)).check_alive([], patience)
        except AuthenticationError as error:
            return "InvalidAuthToken" not in str(error)
        except RpcError:  # whoever joins is told
            pass
    return True


@contextlib.contextmanager
def _token_mode(mode: str) -> Iterator[None]:
    before = os.environ.get(TOKEN_MODE)
    os.environ[TOKEN_MODE] = mode
    _CORE.Config.initialize("")  # reads the environment anew
    try:
        yield
    finally:
        if before is None:
            del os.environ[TOKEN_MODE]
        else:
            os.environ[TOKEN_MODE] = before
        _CORE.Config.initialize("")


class HeadNotes:
    """Short texts by name at Ray's head, which keeps such for its own libraries: an actor would be one process more.

    At an upgrade: is there a public store of keys at the head? `ray.experimental.internal_kv` may have the client of
    another Ray.
    """

    def put(self, name: str, text: str, over: bool = True) -> bool:
        """Write the text, and ``over`` what is there; whether it was new."""
        return bool(self._head.internal_kv_put(name.encode(), text.encode(), over, _NAMESPACE) == 1)

    def get(self, name: str) -> str | None:
        """The text, or None."""
        found = self._head.internal_kv_get(name.encode(), _NAMESPACE)
        return None if found is None else found.decode()

    def delete(self, name: str) -> None:
        """Delete it, if it is there."""
        self._head.internal_kv_del(name.encode(), False, _NAMESPACE)

    def names(self, prefix: str) -> list[str]:
        """All names that begin so."""
        return [name.decode() for name in self._head.internal_kv_keys(prefix.encode(), _NAMESPACE)]

    @property
    def _head(self) -> Any:
        connected: Any = worker.global_worker
        return connected.gcs_client


# Processes of trials. At an upgrade: may Tune take `OutOfMemoryError` for a crash (driver/test_crashes.py)?


class MemoryKill(OutOfMemoryError, RayActorError):
    """Ray's memory monitor has ended a process."""

    def __init__(self, message: str) -> None:
        OutOfMemoryError.__init__(self, message)  # type: ignore[no-untyped-call]
        RayActorError.__init__(self, error_msg=message)


@contextlib.contextmanager
def kills_are_crashes() -> Iterator[None]:
    """While the body runs, a process that is ended for its memory is to Ray Tune one that has crashed.

    Tune does not know Ray's own error, and would end the sweep.
    """
    rays: Any = serialization
    rays.OutOfMemoryError = MemoryKill
    try:
        yield
    finally:
        rays.OutOfMemoryError = OutOfMemoryError


def actor_of(trial: Trial) -> Any:
    """The actor of a trial, or None."""
    return trial.temporary_state.ray_actor


def id_of(actor: Any) -> str:
    """An actor's id, as Ray's errors name it."""
    identity: str = actor._actor_id.hex()
    return identity


def node_of(actor: str | None) -> str:
    """The node that the actor of an id is on, or was; empty if Ray does not know."""
    found = state.actors(actor) if actor else {}
    node: str = found.get("Address", {}).get("NodeID", "")
    return "" if node == NodeID.nil().hex() else node  # as of an actor that was never placed


def asked_by(trial: Trial) -> PlacementGroupFactory:
    """The resources that a trial asks for."""
    asked: Any = trial
    assert isinstance(asked.placement_group_factory, PlacementGroupFactory)
    return asked.placement_group_factory


# The controller of Tune. At an upgrade: does it still hold an `_actor_manager` (driver/test_places.py)?


def has_processes(tune: Any) -> bool:
    """Whether any trial has a process that lives."""
    return bool(tune._actor_manager.num_live_actors)


def ask_again(tune: Any, asked: PlacementGroupFactory) -> None:
    """For the resources of processes that have not been started, which Ray may have found on any node."""
    actors = tune._actor_manager
    waiting, manager = len(actors.pending_actors), actors._resource_manager
    for _ in range(waiting):
        manager.cancel_resource_request(asked)
    for _ in range(waiting):
        manager.request_resources(asked)


# Ray's cluster launcher, which validates nothing else before it asks the cloud. At an upgrade: tests/cluster.


def schema_errors(config: dict[str, Any]) -> list[Any]:
    """A `ValidationError` for each place where a cluster file is not as Ray's schema says; `ray up` tells the first."""
    from jsonschema import Draft7Validator  # not in every worker

    schema = json.loads((files("ray.autoscaler") / "ray-schema.json").read_text())
    return list(Draft7Validator(schema).iter_errors(config))


def refusal(config: dict[str, Any]) -> str | None:
    """Why `ray up` refuses the content of a cluster file, in one line; None if it does not."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    quiet: dict[str, Any] = {"file_mounts": {}}  # of those that are files Ray prints a warning each
    try:
        validate_config(prepare_config(copy.deepcopy(config | quiet)))
    except Exception as error:  # asserts, KeyErrors and what else Ray's code meets
        return (str(error) or repr(error)).splitlines()[0]
    return None
