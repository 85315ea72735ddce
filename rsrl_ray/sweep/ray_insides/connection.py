"""The connection of this process to a Ray: how one is started, or found and joined, and notes at its head."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ray import _raylet
from ray._common.utils import get_default_ray_temp_dir
from ray._private import services, utils, worker
from ray._private.authentication import authentication_token_setup
from ray.exceptions import AuthenticationError, RpcError

TOKEN_MODE = authentication_token_setup.AUTH_MODE_ENV_VAR
_NAMESPACE = b"rsrl_ray"
_NO_CLUSTER = "11" * 28  # the id of no cluster: a head checks the token before it
_CORE: Any = _raylet


# The Ray of this process. At an upgrade: does `ray._private.worker` still hold the node that `ray.init` has begun?


def began_ray() -> bool:
    """Whether this process has begun the Ray that it is connected to. Ray's client has begun none."""
    node = _node()
    return node is not None and bool(node.is_head())


def folder_of_ray() -> str:
    """Where the Ray that this process is connected to has its files."""
    return str(_node().get_temp_dir_path())


def main_processes() -> "list[subprocess.Popen[bytes]]":
    """The raylet and the head of the Ray that this process has begun; none if it has joined a Ray."""
    node = _node()
    begun = {} if node is None else node.all_processes
    return [one.process for kind in ("raylet", "gcs_server") for one in begun.get(kind, [])]


def _node() -> Any:
    return worker._global_node


# Ray's start. At an upgrade: sweep/driver/test_lifeline.py ends sweeps by signals, test_ray_folder.py has long folders.


def has_room_for_sockets() -> bool:
    """Whether the paths of a new Ray's sockets, in the folder that it takes by itself, are short enough."""
    folder: str = get_default_ray_temp_dir()  # type: ignore[no-untyped-call]
    session = f"session_0000-00-00_00-00-00_000000_{os.getpid()}"
    try:
        utils.validate_socket_filepath(os.path.join(folder, session, "sockets", "plasma_store"))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def signals_left_alone() -> Iterator[None]:
    """While the body starts Ray, it changes no handler of SIGTERM, and SIGHUP does not reach its processes.

    Ray has two handlers, one of Python and one of C++, which end the process at once. Ray's processes are in the
    group of the terminal, like this one. A SIGHUP would end them before this process has ended the sweep. They inherit
    the signals that are blocked here.
    """
    set_handler, before = utils.set_sigterm_handler, signal.getsignal(signal.SIGTERM)
    kept = callable(before) or before is signal.SIG_IGN  # if nobody has said what SIGTERM does, Ray decides
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


# A Ray to join, and its tokens. At an upgrade: does `ray.init` refuse a wrong token by itself, and at once?


@dataclass(frozen=True)
class Tokens:
    """Tokens for the Ray at one address.

    asked : whether the head lets in nobody without a token. here : whether this process has one. fits : whether this
    is the token of the head.
    """

    asked: bool
    here: bool
    fits: bool


def address_left_here() -> str | None:
    """The address of the Ray that `ray start` began on this machine."""
    found: str | None = services.find_bootstrap_address(None)
    return found


def tokens_for(address: str, patience: float) -> Tokens:
    """Whether this process needs and has a token for the head at this address; ``patience`` : seconds to answer."""
    loader = _CORE.AuthenticationTokenLoader.instance()
    try:
        here = loader.has_token(ignore_auth_mode=True)
        asked = not _lets_in(address, "disabled", patience)
        return Tokens(asked, here, here and (not asked or _lets_in(address, "token", patience)))
    finally:
        loader.reset_cache()  # else this process asks everybody for this token


def take_token_along() -> None:
    """From now on, show the token of this process to the Ray that it joins."""
    authentication_token_setup._enable_token_auth()


def _lets_in(address: str, mode: str, patience: float) -> bool:
    """Whether the head listens to this process; ``mode`` : "token" with its token, "disabled" without."""
    with _token_mode(mode):
        try:
            _CORE.InnerGcsClient.standalone(address, _NO_CLUSTER, int(1000 * patience)).check_alive([], patience)
        except AuthenticationError as error:
            return "InvalidAuthToken" not in str(error)
        except RpcError:  # who joins this Ray is told why
            pass
    return True


@contextlib.contextmanager
def _token_mode(mode: str) -> Iterator[None]:
    before = os.environ.get(TOKEN_MODE)
    os.environ[TOKEN_MODE] = mode
    _CORE.Config.initialize("")  # Ray reads the environment again
    try:
        yield
    finally:
        if before is None:
            del os.environ[TOKEN_MODE]
        else:
            os.environ[TOKEN_MODE] = before
        _CORE.Config.initialize("")


class HeadNotes:
    """Short texts by name at Ray's head, in the store of Ray's own libraries. An actor would be one more process.

    At an upgrade: is there a public store of keys at the head? `ray.experimental.internal_kv` may still have the client
    of a Ray that has ended.
    """

    def put(self, name: str, text: str, over: bool = True) -> bool:
        """Write a text, also if there is one of this name, unless ``over`` is False; whether the name is new."""
        return bool(self._head.internal_kv_put(name.encode(), text.encode(), over, _NAMESPACE) == 1)

    def get(self, name: str) -> str | None:
        """The text, or None."""
        found = self._head.internal_kv_get(name.encode(), _NAMESPACE)
        return None if found is None else found.decode()

    def delete(self, name: str) -> None:
        """Delete it, if it is there."""
        self._head.internal_kv_del(name.encode(), False, _NAMESPACE)

    def names(self, prefix: str) -> list[str]:
        """All names that begin with the prefix."""
        return [name.decode() for name in self._head.internal_kv_keys(prefix.encode(), _NAMESPACE)]

    @property
    def _head(self) -> Any:
        connected: Any = worker.global_worker
        return connected.gcs_client
