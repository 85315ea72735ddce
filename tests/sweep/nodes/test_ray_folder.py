"""Where a new Ray puts its files: the paths of its sockets have a limit."""

import os

import pytest

from rsrl_ray.sweep.nodes import cluster

LONG = "/tmp/" + "x" * 85
SHORT = f"/tmp/ray-{os.getuid()}"


@pytest.mark.parametrize(
    ("environment", "folder"),
    [({"TMPDIR": LONG}, SHORT), ({"TMPDIR": "/tmp/short"}, None), ({"TMPDIR": LONG, "RAY_TMPDIR": "/tmp"}, None)],
    ids=["long", "short", "long, but not Ray's"],
)
def test_the_folder_of_rays_sockets_is_short(
    environment: dict[str, str], folder: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cluster._short_folder() == folder


def test_a_long_folder_that_was_asked_for_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", LONG)
    with pytest.raises(ValueError, match=rf"RAY_TMPDIR={LONG} is too long for the sockets of Ray"):
        cluster._short_folder()
