"""`rsrl ui`: the server that it starts is a real one in `test_views`; here it is a process that answers at its port."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import put_database

import rsrl_ray as rsrl
from rsrl_ray.cli import main as cli
from rsrl_ray.config import Experiment
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.tracking import ui
from rsrl_ray.tracking.entries import SweepRun
from rsrl_ray.tracking.stores import mlflow_uri
from rsrl_ray.tracking.write import Tracker

ANSWERS = "import socket, sys, time; place = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"
Started = list[subprocess.Popen[bytes]]


@pytest.fixture
def experiment(experiment_file: Callable[..., Path], tmp_path: Path) -> Experiment:
    """One that was swept, in a database on this machine."""
    put_database(tmp_path / "track.db")
    made = read_experiment(experiment_file(name="tiny", mlflow=f"sqlite:///{tmp_path}/track.db"))
    tracker = Tracker(mlflow_uri(made), "tiny", None, print)
    tracker.open_sweep(SweepRun("ab", {}, "", {}, {}))
    tracker.end_sweep("FINISHED")
    return made


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Started:
    """The processes that stand for MLflow's server."""
    processes: Started = []

    @contextlib.contextmanager
    def started(store: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
        assert store.startswith("sqlite:///")
        with subprocess.Popen([sys.executable, "-c", ANSWERS, str(port)]) as process:
            processes.append(process)
            try:
                yield process
            finally:
                process.terminate()

    monkeypatch.setattr(ui, "started", started)
    return processes


def answers(page: str) -> bool:
    host, _, port = page.removeprefix("http://").partition("/")[0].partition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port))):
        return True
    return False


def test_the_ui_runs_beside_python_until_it_is_stopped(experiment: Experiment, servers: Started) -> None:
    shown = rsrl.ui(experiment)
    pages = list(shown.pages.values())
    assert shown.is_own and all(page.startswith("http://127.0.0.1:") for page in pages)
    assert answers(pages[0])
    for name, page in shown.pages.items():
        assert f"{name}: {page}" in repr(shown).splitlines()
    assert shown._repr_html_().count("<a href=") == len(pages)
    other = rsrl.ui(experiment)
    assert set(other.pages.values()).isdisjoint(pages) and answers(next(iter(other.pages.values())))
    for each in (shown, shown, other):  # twice is no error
        each.stop()
    assert not answers(pages[0])
    assert [process.poll() is None for process in servers] == [False, False]


def test_a_server_that_does_not_start_is_one_line(
    experiment: Experiment, servers: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ANSWERS", "raise SystemExit(3)")
    with pytest.raises(ValueError, match=r"^MLflow's UI ended at once, with status 3; what it printed says why$"):
        rsrl.ui(experiment)
    assert servers[0].returncode == 3


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize(("ends", "status"), [(KeyboardInterrupt(), 130), (0, 0), (1, 1)])
def test_the_command_waits_and_ends_what_it_has_started(
    ends: int | KeyboardInterrupt,
    status: int,
    experiment: Experiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def wait(shown: ui.UI) -> int:
        (page,) = {page.partition("/#")[0] for page in shown.pages.values()}
        assert answers(page)
        waited.append(page)
        if isinstance(ends, KeyboardInterrupt):
            raise ends
        return ends

    waited: list[str] = []
    monkeypatch.setattr(ui.UI, "wait", wait)
    assert cli.main(["ui", str(tmp_path / "tiny.yaml")]) == status
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "MLflow's UI runs; Ctrl-C ends it" and said.err == ""
    assert not answers(waited[0])


def test_another_port_is_taken_if_the_usual_one_is_not_free() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        assert ui.free_port(port) not in (port, 0)
    assert ui.free_port(port) == port
