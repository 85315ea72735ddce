"""Where a new Ray puts its files: the paths of its sockets have a limit."""

from pathlib import Path

import pytest

from rsrl_ray.sweep.nodes import cluster

LONG = "/tmp/" + "x" * 85


@pytest.mark.parametrize(
    ("environment", "is_own"),
    [({"TMPDIR": LONG}, True), ({"TMPDIR": "/tmp/short"}, False), ({"TMPDIR": LONG, "RAY_TMPDIR": "/tmp"}, False)],
    ids=["long", "short", "long, but not Ray's"],
)
def test_the_folder_of_rays_sockets_is_short(
    environment: dict[str, str], is_own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    folder = cluster._short_folder()
    assert (folder is not None) == is_own
    if folder is not None:
        assert folder.startswith("/tmp/ray-") and len(folder) < 20
        Path(folder).rmdir()


def test_a_long_folder_that_was_asked_for_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", LONG)
    with pytest.raises(ValueError, match=rf"Ray did not start: .*path length cannot exceed 107 bytes: '{LONG}"):
        cluster._connect(cluster.NEW)
