"""Which Ray a sweep joins, if any: one that answers, and takes this process for one of its own."""

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ray import _raylet
from ray._private import services
from ray._private.authentication import authentication_token_setup
from ray.exceptions import AuthenticationError, RpcError

from rsrl_ray.display import Display

NEW, AUTO = "local", "auto"  # what RAY_ADDRESS may be, beside an address: Ray's own words
ELSE = "`--ray new` (RAY_ADDRESS=local) sweeps on this machine alone"
_VARIABLE, _MODE = "RAY_ADDRESS", authentication_token_setup.AUTH_MODE_ENV_VAR
_PATIENCE_S = 10.0  # Ray itself tries for minutes
_CORE: Any = _raylet
_NOBODY = "11" * 28  # the id of no cluster: a head looks at the token first


@dataclass(frozen=True)
class Tokens:
    """Who has a token for a Ray at this address.

    asked : whether the head lets in nobody without one. here : whether there is one. fits : whether it is the head's.
    """

    asked: bool
    here: bool
    fits: bool


def address_to_join(display: Display) -> str | None:
    """The address of the Ray to join: RAY_ADDRESS, else what `ray start` left on this machine; None to begin one.

    Raises ValueError where the one that was asked for does not answer, or has other tokens than this process.
    """
    wanted = os.environ.get(_VARIABLE, "")
    if wanted == NEW:
        return None
    found = services.find_bootstrap_address(None) if wanted in ("", AUTO) else wanted
    if not found or "/" in found:  # the latter is Ray's client, which speaks with the head by itself
        return found or None
    is_own_choice = found == wanted
    name = f"Ray at {found}, {'as asked for' if is_own_choice else 'the one that `ray start` began here'},"
    try:
        _reach(found)
    except (OSError, ValueError) as error:
        if is_own_choice:
            raise ValueError(f"{name} cannot be joined: {error}; {ELSE}") from error
        display.said(f"{name} does not answer any more: a new one begins", "warning")
        return None
    _agree(name, _tokens(found), is_own_choice)
    return found


def _reach(address: str) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S).close()


def _agree(name: str, tokens: Tokens, is_own_choice: bool) -> None:
    """Take the token along where one is asked for; raise ValueError where tokens differ.

    Ray would try for 20 s, or begin: then no worker of a Ray without tokens is let into a process that has one.
    """
    mode = os.environ.get(_MODE, "").lower()
    where = "~/.ray/auth_token or RAY_AUTH_TOKEN"
    if tokens.asked and not tokens.fits:
        here = "the one here is another" if tokens.here else "there is none here"
        raise ValueError(
            f"{name} lets in only those who have its token, and {here} ({where}): bring the token of whoever "
            f"began it; {ELSE}"
        )
    if tokens.asked:
        authentication_token_setup._enable_token_auth()
    elif tokens.here and (mode == "token" or not (mode or is_own_choice)):
        raise ValueError(
            f"{name} was begun without a token, and this process has one ({where}), so that its workers "
            f"could not answer: {_MODE}=disabled joins it as it is; {ELSE}"
        )


def _tokens(address: str) -> Tokens:
    loader = _CORE.AuthenticationTokenLoader.instance()
    try:
        here = loader.has_token(ignore_auth_mode=True)
        asked = not _lets_in(address, "disabled")
        return Tokens(asked, here, here and (not asked or _lets_in(address, "token")))
    finally:
        loader.reset_cache()  # else this process asks everybody for the token that was seen


def _lets_in(address: str, mode: str) -> bool:
    """Whether the head listens to this process with its token, or without."""
    with _mode(mode):
        try:
            _CORE.InnerGcsClient.standalone(address, _NOBODY, int(1000 * _PATIENCE_S)).check_alive([], _PATIENCE_S)
        except AuthenticationError as error:
            return "InvalidAuthToken" not in str(error)
        except RpcError:  # whoever joins is told
            pass
    return True


@contextlib.contextmanager
def _mode(mode: str) -> Iterator[None]:
    before = os.environ.get(_MODE)
    os.environ[_MODE] = mode
    _CORE.Config.initialize("")  # reads the environment anew
    try:
        yield
    finally:
        if before is None:
            del os.environ[_MODE]
        else:
            os.environ[_MODE] = before
        _CORE.Config.initialize("")
