"""Which Ray a sweep joins: by what is asked for, what answers, and whose tokens fit."""

import io
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._private import services
from rich.console import Console

from rsrl_ray.display import Silent
from rsrl_ray.sweep.nodes import address
from rsrl_ray.sweep.nodes.address import address_to_join
from rsrl_ray.sweep.ray_insides.connection import Tokens
from rsrl_ray.terminal import Terminal

OPEN, MINE, ANOTHERS = Tokens(False, True, True), Tokens(True, True, True), Tokens(True, True, False)
NOBODYS, CLOSED = Tokens(False, False, False), Tokens(True, False, False)


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of something that answers, and that `ray start` left in Ray's folder."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: found)
        monkeypatch.setattr(address, "tokens_for", lambda *head: NOBODYS)
        yield found


def joined(which: str = "auto") -> str | None:
    with address.asked_for(which):
        return address_to_join(Silent())


@pytest.mark.usefixtures("head")
@pytest.mark.parametrize("which", ["new", "auto"])
def test_a_new_ray_joins_none_and_auto_the_one_that_is_there(which: str, head: str) -> None:
    assert joined(which) == {"new": None, "auto": head}[which]


def test_an_address_that_is_asked_for_is_the_one(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: "10.0.0.5:6379")
    assert joined(head) == head
    assert joined("ray://head:10001") == "ray://head:10001"


def test_where_nothing_was_left_a_new_one_begins(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)
    assert joined() is None


@pytest.mark.parametrize(("asked", "why"), [("127.0.0.1:1", "refused"), ("head:ray", "invalid literal")])
def test_one_that_is_asked_for_and_is_not_there_is_one_line(asked: str, why: str, head: str) -> None:
    with pytest.raises(ValueError, match=rf"^Ray at {asked}, as asked for, cannot be joined: .*{why}.*; `--ray new` "):
        joined(asked)


def test_an_address_of_a_ray_that_has_ended_stops_no_sweep(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: "127.0.0.1:1")
    console = Console(file=io.StringIO(), width=200)
    assert address_to_join(Terminal(console)) is None
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == (
        "Ray at 127.0.0.1:1, the one that `ray start` began here, does not answer any more: a new one begins\n"
    )


@pytest.mark.parametrize("is_asked_for", [True, False])
@pytest.mark.parametrize(
    ("tokens", "mode", "said"),
    [
        (NOBODYS, "", ""),
        (MINE, "", ""),
        (MINE, "disabled", ""),
        (ANOTHERS, "", "lets in only those who have its token, and the one here is different"),
        (CLOSED, "", "lets in only those who have its token, and there is none here"),
        (OPEN, "token", "was begun without a token, and this process has one"),
        (OPEN, "disabled", ""),
    ],
)
def test_whose_tokens_fit(
    tokens: Tokens, mode: str, said: str, is_asked_for: bool, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "tokens_for", lambda *head: tokens)
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    which = head if is_asked_for else "auto"
    if said:
        with pytest.raises(ValueError, match=said):
            joined(which)
    else:
        assert joined(which) == head


def test_a_token_that_nobody_asks_for_is_taken_along_only_to_a_ray_that_was_found(
    head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ray does it: to an address that is asked for it goes without, unless RAY_AUTH_MODE says otherwise."""
    monkeypatch.setattr(address, "tokens_for", lambda *head: OPEN)
    with pytest.raises(ValueError, match="was begun without a token"):
        joined()
    assert joined(head) == head


def test_the_address_that_ray_start_leaves_is_in_rays_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    assert services.find_bootstrap_address(None) is None
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.5:6379")
    assert services.find_bootstrap_address(None) == "10.0.0.5:6379"
