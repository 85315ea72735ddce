"""Sweeps in this process and as drivers of their own, what they leave behind, and how faults are brought about."""

import contextlib
import io
import os
import pty
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import psutil
import pytest
from conftest import put_database
from preloaded.forks import take_terminal
from preloaded.start import switched_on
from rich.console import Console

from rsrl_ray import terminal
from rsrl_ray.config import Experiment
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.sweep.driver.attempts import Attempts
from rsrl_ray.sweep.driver.launch import Outcome, run_sweep
from rsrl_ray.tracking.find import find_results
from rsrl_ray.tracking.names import predictions_path
from rsrl_ray.tracking.read import TrackedRun
from rsrl_ray.tracking.stores import mlflow_uri

KNOBS: dict[str, Any] = {
    "folds": {"count": 2, "validation": 0.2, "use": [0]},
    "rounds": 2,
    "training": {"epochs": 10, "batch_size": 16, "learning_rate": 0.001, "head_factor": 1, "precision": "fp32"},
    "schedules": {"firm": {1: 0.99}, "none": {1: 0.0}},  # share round 1: three rounds in all
}

Tables = dict[tuple[int, str], list[pd.DataFrame]]
Write = Callable[..., Path]


def in_round(number: int) -> dict[str, str]:
    """Code for a `Gate` at which trials wait in this round: those before it are written and reported."""
    before = f"lambda trial: trial._iteration == {number - 1}"
    return {
        "rsrl_ray.sweep.trial.trainable": f"RSRLTrial.step = gate(RSRLTrial.step, {before})",
        "rsrl_ray.vision.trainer": f"""
def fit_together(trainers, parents, kept, number, inner=fit_together):
    while number == {number} and os.path.isdir(GATE):
        time.sleep(0.02)
    return inner(trainers, parents, kept, number)
""",
    }


SITE = """\
import importlib.machinery, itertools, os, sys, time

GATE, CODE = {gate!r}, {code!r}


def gate(function, when=lambda *arguments: True, name=""):
    def held(*arguments):
        if os.path.isdir(GATE) and when(*arguments):
            open(f"{{GATE}}/{{name or os.getpid()}}", "w").close()
            while os.path.isdir(GATE):
                time.sleep(0.02)
        return function(*arguments)
    return held


class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        spec = super().find_spec(name, path, target) if name in CODE else None
        if spec is not None:
            load = spec.loader.exec_module
            def exec_module(module):
                load(module)
                vars(module).update(GATE=GATE, gate=gate, itertools=itertools, os=os, time=time)
                exec(CODE[name], vars(module))
            spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder)
"""


class Gate:
    """Where processes of a sweep stop until it is opened, so that a fault strikes at a known moment.

    ``environment`` makes every Python process run ``code[module]`` as soon as it has loaded the module. There
    ``gate(function, when)`` is a function that first waits, if ``when(*arguments)``, until the gate is open.
    """

    def __init__(self, folder: Path, code: Mapping[str, str]) -> None:
        self._gate, site = folder / "gate", folder / "site"
        self._gate.mkdir()
        site.mkdir()
        (site / "sitecustomize.py").write_text(SITE.format(gate=str(self._gate), code=dict(code)))
        self.environment = {"PYTHONPATH": str(site)}

    def names(self) -> list[str]:
        """Those who have waited so far: process ids, unless the code in ``gate`` gives other names."""
        return [path.name for path in self._gate.iterdir()]

    def waiting(self) -> set[int]:
        """The processes that wait."""
        return {pid for pid in map(int, self.names()) if lives(pid)}

    def open(self) -> None:
        """Let all go on, now and later."""
        shutil.rmtree(self._gate)


def lives(pid: int) -> bool:
    """Whether there is such a process, and not merely its end to be told to its parent."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def swept(file: Path, *overrides: str) -> tuple[Outcome, str]:
    """Run the sweep in this process; how it ended and what it printed."""
    experiment, console = read_experiment(file, overrides), Console(file=io.StringIO(), width=200)
    _put_database(experiment)
    outcome = run_sweep(experiment, terminal.Terminal(console))
    assert isinstance(console.file, io.StringIO)
    return outcome, console.file.getvalue()


def _put_database(experiment: Experiment) -> None:
    """Where the sweep will look for it, if that is a file."""
    place, path = mlflow_uri(experiment).split("://", 1)
    if place == "sqlite":
        put_database(Path(path.removeprefix("/")))


def start_driver(file: Path, **environment: str) -> subprocess.Popen[str]:
    """The sweep as a process of its own, which leads a session; with changes to its environment.

    It is a fork (`preloaded`), as its trials' processes are, so its Ray is no child of the process that is returned.
    """
    _put_database(read_experiment(file))
    return subprocess.Popen(
        [os.environ["RSRL_PYTHON"], "-m", "rsrl_ray.cli", "sweep", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
        start_new_session=True,
    )


class Terminal:
    """A driver that is the foreground of a terminal, which can be closed as a window is or a lost ssh does."""

    def __init__(self, file: Path, environment: Mapping[str, str]) -> None:
        self._master, screen = pty.openpty()
        self.driver = subprocess.Popen(
            [os.environ["RSRL_PYTHON"], "-m", "rsrl_ray.cli", "sweep", str(file)],
            stdin=screen,
            stdout=screen,
            stderr=screen,
            env=os.environ | environment,
            start_new_session=True,
            preexec_fn=None if switched_on() else take_terminal,  # else the fork takes it
        )
        os.close(screen)

    def read(self) -> bool:
        """Take what is on the screen, so that the driver need not wait for a reader."""
        while select.select([self._master], [], [], 0)[0]:
            os.read(self._master, 4096)
        return True

    def close(self) -> None:
        """The kernel tells all processes in its foreground by SIGHUP."""
        os.close(self._master)


@contextlib.contextmanager
def at_terminal(file: Path, **environment: str) -> Iterator[Terminal]:
    """The sweep as a process of its own at a terminal of its own."""
    terminal = Terminal(file, environment)
    try:
        yield terminal
    finally:
        terminal.driver.kill()
        terminal.driver.wait()


def wait_for(driver: subprocess.Popen[str], holds: Callable[[], object], seconds: float = 300) -> None:
    """Wait until it holds, while the driver runs."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert driver.poll() is None, driver.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def with_killed_worker(driver: subprocess.Popen[str], gate: Gate) -> str:
    """Kill the one process that comes to the gate, and let the sweep end well; what the driver printed."""
    wait_for(driver, gate.waiting)
    (worker,) = gate.waiting()
    os.kill(worker, signal.SIGKILL)
    gate.open()
    printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, printed
    return printed


def at_first_result(patch: pytest.MonkeyPatch, strike: Callable[[], object]) -> None:
    """Let ``strike`` happen in this process when a round is reported, before the trial may go on."""
    reported, first = Attempts.on_trial_result, [True]

    def on_trial_result(attempts: Attempts, *event: Any, **info: Any) -> None:
        if first:
            first.clear()
            strike()
        reported(attempts, *event, **info)

    patch.setattr(Attempts, "on_trial_result", on_trial_result)


def tables(file: Path) -> Tables:
    """Every round of the file's trials as MLflow holds it."""
    found = find_results(read_experiment(file))
    return {key: round_tables(run) for key, run in found.trials.items()}


def round_tables(run: TrackedRun) -> list[pd.DataFrame]:
    """Every round of a trial as MLflow holds it."""
    paths = map(predictions_path, range(1, run.rounds + 1))
    return [run.artifacts.read(path, pd.read_parquet) for path in paths]


def states(file: Path) -> dict[str, TrackedRun]:
    """The file's trials by method, where it has one fold."""
    return {key.method: run for key, run in find_results(read_experiment(file)).trials.items()}


def assert_same_bits(first: Tables, second: Tables) -> None:
    assert first.keys() == second.keys()
    for trial, rounds in first.items():
        assert len(rounds) == len(second[trial])
        for ours, theirs in zip(rounds, second[trial], strict=True):
            pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def entries(file: Path) -> dict[str, int]:
    """The archive's rounds by key, with the time each was written."""
    folder = Path(read_experiment(file).storage, "rounds")
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/*/manifest.json")}


def bits(storage: Path) -> dict[str, bytes]:
    """Logits, kept masks, weights: every byte of every round."""
    files = sorted(storage.glob("rounds/*/*/*.safetensors"))
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in files}


def children(experiment: Experiment) -> pd.DataFrame:
    """Every metric of every trial, as often as it was logged."""
    client = mlflow.MlflowClient(mlflow_uri(experiment))
    found = client.get_experiment_by_name(experiment.name)
    assert found is not None
    runs = client.search_runs([found.experiment_id], "tags.`rsrl.trial` != ''")
    rows = []
    for run in runs:
        for name in run.data.metrics:
            points = client.get_metric_history(run.info.run_id, name)
            rows += [(run.info.run_name, run.info.status, name, point.step, point.value) for point in points]
    return pd.DataFrame(rows, columns=["run", "status", "metric", "step", "value"])


def statuses(experiment: Experiment) -> list[str]:
    """Of all runs, the sweep's own among them."""
    client = mlflow.MlflowClient(mlflow_uri(experiment))
    found = client.get_experiment_by_name(experiment.name)
    assert found is not None
    return sorted(run.info.status for run in client.search_runs([found.experiment_id]))


@dataclass(frozen=True)
class Left:
    """What a sweep leaves: its archive's bytes, and run, metric, round, value of all that MLflow was told."""

    archive: dict[str, bytes]
    logged: list[tuple[str, str, int, float]]

    @classmethod
    def by(cls, file: Path) -> "Left":
        experiment = read_experiment(file)
        log = children(experiment)
        told = log[~log.metric.isin(["seconds", "reused"])][["run", "metric", "step", "value"]]
        return cls(bits(Path(experiment.storage)), sorted(told.itertuples(index=False, name=None)))
