"""Ray starts beside the imports, where there is something to import."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rsrl_ray.config import Experiment, Network
from rsrl_ray.display import Silent
from rsrl_ray.sweep.driver import ahead

PATIENCE_S = 60


@pytest.fixture
def slow_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> threading.Barrier:
    """A module in the place of PyTorch, whose import waits at a barrier for somebody else."""
    (tmp_path / "slow_to_import.py").write_text("from rsrl_ray.sweep.driver import ahead\nahead.meet.wait(60)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "slow_to_import", raising=False)
    monkeypatch.setattr(ahead, "SLOW", ("slow_to_import",))
    barrier = threading.Barrier(2)
    monkeypatch.setattr(ahead, "meet", barrier, raising=False)
    return barrier


def test_ray_starts_while_the_imports_go_on(slow_module: threading.Barrier, monkeypatch: pytest.MonkeyPatch) -> None:
    happened = []

    @contextlib.contextmanager
    def ray(display: Silent) -> Iterator[None]:
        slow_module.wait(PATIENCE_S)  # broken, and raises, where the import has not begun or is waited for first
        happened.append("started")
        yield
        happened.append("stopped")

    monkeypatch.setattr(ahead, "quiet_ray", ray)
    with ahead.started_ahead(Silent()):
        happened.append("body")
        assert "imports" not in [thread.name for thread in threading.enumerate()]
    assert happened == ["started", "body", "stopped"]
    with ahead.started_ahead(Silent()):  # all is imported now: Ray is left to whoever needs it
        happened.append("body")
    assert happened == ["started", "body", "stopped", "body"]


def test_ray_is_not_started_where_it_is_not_wanted(
    slow_module: threading.Barrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "quiet_ray", None)
    with ahead.started_ahead(Silent(), wanted=False):
        assert "slow_to_import" not in sys.modules


@pytest.mark.parametrize(
    ("rows", "weights", "right"),
    [
        ("a.jpg,1\ns3://bucket/b.jpg,2\n", "none", True),
        ("a.jpg,1\n", "imagenet", True),
        ("a.jpg,1\n", "a.jpg", True),
        ("a.jpg,1\n", "gone.pt", False),
        ("a.jpg,1\ngone.jpg,2\n", "none", False),
        ("a.jpg,high\n", "none", False),
    ],
)
def test_a_first_look_finds_what_is_missing(tmp_path: Path, rows: str, weights: str, right: bool) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "photos.csv").write_text("image,score\n" + rows)
    weights = weights if weights in ("none", "imagenet") else str(tmp_path / weights)
    photos = str(tmp_path / "photos.csv")
    assert ahead.sound(Experiment("mine", photos, {"none": {1: 0.0}}, network=Network(weights=weights))) is right


def test_a_first_look_tells_of_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.csv: cannot be read \(No such file or directory\)$"):
        ahead.sound(Experiment("mine", str(tmp_path / "gone.csv"), {"none": {1: 0.0}}))


def test_a_ray_that_does_not_start_is_told_once_the_imports_have_ended(
    slow_module: threading.Barrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(display: Silent) -> contextlib.AbstractContextManager[None]:
        slow_module.wait(PATIENCE_S)
        raise ValueError("Ray did not start")

    monkeypatch.setattr(ahead, "quiet_ray", fails)
    with pytest.raises(ValueError, match=r"^Ray did not start$"), ahead.started_ahead(Silent()):
        pass
    assert "imports" not in [thread.name for thread in threading.enumerate()]


def test_a_package_that_cannot_be_imported_is_left_to_whoever_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[object] = []

    def ray(display: Silent) -> contextlib.AbstractContextManager[None]:
        happened.append("started")
        return contextlib.nullcontext()

    monkeypatch.setattr(ahead, "SLOW", ("no_such_package",))
    monkeypatch.setattr(ahead, "quiet_ray", ray)
    monkeypatch.setattr(threading, "excepthook", happened.append)  # a thread's traceback would be seen here
    with ahead.started_ahead(Silent()):
        happened.append("body")
    assert happened == ["started", "body"]
