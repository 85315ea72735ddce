import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
from rich.console import Console

from rsrl_ray.config import Resources, recipe
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.sweep import cluster
from rsrl_ray.sweep.launch import run_sweep


@pytest.mark.parametrize(("address", "why"), [("127.0.0.1:1", "refused"), ("head:ray", "invalid literal")])
def test_a_cluster_that_is_not_there_is_one_line(experiment_file: Callable[..., Path], address: str, why: str) -> None:
    command = [sys.executable, "-m", "rsrl_ray.cli", "sweep", str(experiment_file())]
    ended = subprocess.run(
        command, env=os.environ | {"RAY_ADDRESS": address}, capture_output=True, text=True, timeout=100
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"rsrl sweep: cannot join Ray (RAY_ADDRESS={address}): ")
    assert why in line
    assert line.endswith("unset RAY_ADDRESS, or run `ray stop`, to sweep on this machine alone")


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("memory", "share"), [(24e9, 0.25), (16e9, 0.25), (13e9, 0.3333), (8e9, 0.5), (4.1e9, 1.0), (2e9, 1.0)]
)
def test_as_many_trials_share_a_gpu_as_it_holds(memory: float, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "A_LITTLE", 0)  # no GPU here: a task of this Ray tells of one
    monkeypatch.setattr(cluster, "_gpu_memory", lambda: int(memory))
    console = Console(file=io.StringIO(), width=200)
    assert cluster.gpu_share(4_000_000_000, console) == share
    assert f"trials on a GPU of {memory / 1e9:.0f} GB: {round(1 / share)}, since" in console.file.getvalue()  # type: ignore


@pytest.mark.usefixtures("ray_session")
def test_an_automatic_share_needs_a_gpu_and_changes_no_result(experiment_file: Callable[..., Path]) -> None:
    experiment = read_experiment(experiment_file(resources={"gpus": "auto"}))
    assert recipe(experiment) == recipe(read_experiment(experiment_file(resources={"gpus": 0.5})))
    with pytest.raises(ValueError, match=r"^resources\.gpus: auto for a trial, but this machine has 0$"):
        run_sweep(experiment, Console(file=io.StringIO()))


def test_a_ray_that_does_not_start_in_time_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(**_: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr(ray, "init", start)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    said = "^Ray did not start: The current node timed out .* the same command tries again$"
    with pytest.raises(ValueError, match=said), cluster.quiet_ray(Resources(), Console(quiet=True)):
        pass
