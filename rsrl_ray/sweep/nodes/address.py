"""Which Ray a sweep joins, if any: one that answers, and that accepts the token of this process."""

import contextlib
import os
import socket
from collections.abc import Iterator

from rsrl_ray.display import Display
from rsrl_ray.sweep.ray_insides.connection import TOKEN_MODE, Tokens, address_left_here, take_token_along, tokens_for

NEW, AUTO = "local", "auto"  # RAY_ADDRESS is one of these words of Ray, or an address
ELSE = "`--ray new` (RAY_ADDRESS=local) sweeps on this machine alone"
_VARIABLE = "RAY_ADDRESS"
_HEAD_PATIENCE_S = 10.0  # Ray itself tries for minutes


@contextlib.contextmanager
def asked_for(which: str) -> Iterator[None]:
    """While the body runs, RAY_ADDRESS, which all of this process reads, asks for this Ray.

    which : ``new`` begins one on this machine; an address joins that one; ``auto`` joins that of RAY_ADDRESS, else the
    one that `ray start` has begun here, else begins one.
    """
    before = os.environ.get(_VARIABLE)
    try:
        if which != AUTO:
            os.environ[_VARIABLE] = NEW if which == "new" else which
        yield
    finally:
        os.environ.pop(_VARIABLE, None)
        if before is not None:
            os.environ[_VARIABLE] = before


def address_to_join(display: Display) -> str | None:
    """The address of the Ray to join: RAY_ADDRESS, or else what `ray start` left on this machine; None to begin one.

    Raises ValueError if the Ray that was asked for does not answer, or has another token than this process.
    """
    wanted = os.environ.get(_VARIABLE, "")
    if wanted == NEW:
        return None
    found = address_left_here() if wanted in ("", AUTO) else wanted
    if not found or "/" in found:  # with "/" it is for Ray's client, which talks to the head itself
        return found or None
    is_own_choice = found == wanted
    name = f"Ray at {found}, {'as asked for' if is_own_choice else 'the one that `ray start` began here'},"
    try:
        reach(found, _HEAD_PATIENCE_S)
    except (OSError, ValueError) as error:
        if is_own_choice:
            raise ValueError(f"{name} cannot be joined: {error}; {ELSE}") from error
        display.said(f"{name} does not answer any more: a new one begins", "warning")
        return None
    _agree(name, tokens_for(found, _HEAD_PATIENCE_S), is_own_choice)
    return found


def reach(address: str, patience: float) -> None:
    """Connect to a head; ``patience`` in seconds. Raises OSError if none answers, ValueError if it is no address."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=patience).close()


def _agree(name: str, tokens: Tokens, is_own_choice: bool) -> None:
    """Take the token along if the head asks for one. Raises ValueError if the tokens do not fit.

    Without this, Ray tries for 20 s. Or it starts, and then this process, which has a token, lets in no worker of a Ray
    that has none.
    """
    mode = os.environ.get(TOKEN_MODE, "").lower()
    where = "~/.ray/auth_token or RAY_AUTH_TOKEN"
    if tokens.asked and not tokens.fits:
        here = "the one here is different" if tokens.here else "there is none here"
        raise ValueError(
            f"{name} lets in only those who have its token, and {here} ({where}): copy the token from whoever "
            f"began it; {ELSE}"
        )
    if tokens.asked:
        take_token_along()
    elif tokens.here and (mode == "token" or not (mode or is_own_choice)):
        raise ValueError(
            f"{name} was begun without a token, and this process has one ({where}), so its workers "
            f"cannot answer: {TOKEN_MODE}=disabled joins it without a token; {ELSE}"
        )
