"""Two drivers on two storages that track into one MLflow: the second is refused, and may take over after a crash."""

import os
import socket
from pathlib import Path

import pytest
from conftest import put_database
from mlflow import MlflowClient
from sweep.sweeping import Write, statuses

from rsrl_ray.cli import main as cli
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.store.processes import process


@pytest.mark.usefixtures("ray_session")
def test_a_second_driver_is_refused_and_takes_over_where_it_is_told_to(
    experiment_file: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri, other = f"sqlite:///{tmp_path}/track.db", f"{socket.gethostname()}:{os.getppid()}"
    client = MlflowClient(uri)
    experiment = client.create_experiment("tiny", (tmp_path / "artifacts").as_uri())
    client.set_experiment_tag(experiment, "rsrl.lease", f"{other}:0")
    file = experiment_file(mlflow=uri)
    assert cli.main(["sweep", str(file)]) == 2
    said = capsys.readouterr().err
    assert f"is being swept by another process ({other})" in said
    assert "rsrl sweep FILE --take_over" in said
    assert statuses(read_experiment(file)) == []
    assert cli.main(["sweep", str(file), "--take_over", "--resources.cpus", "512"]) == 2
    assert "resources.cpus: 512 for a trial" in capsys.readouterr().err
    assert statuses(read_experiment(file)) == ["KILLED"]  # a sweep that fails to start is not left RUNNING
    assert "rsrl.lease" not in client.get_experiment(experiment).tags


@pytest.mark.usefixtures("ray_session")
def test_a_container_that_was_killed_and_started_again_goes_on(
    experiment_file: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The storage is on this machine and not locked, so nobody else sweeps into the store in it."""
    put_database(tmp_path / "results" / "mlflow.db")
    client = MlflowClient(f"sqlite:///{tmp_path}/results/mlflow.db")
    experiment = client.create_experiment("tiny", (tmp_path / "artifacts").as_uri())
    boot = process().split(":")[2]
    client.set_experiment_tag(experiment, "rsrl.lease", f"{socket.gethostname()}:7:{boot}:1:5:0")
    file = experiment_file()
    assert cli.main(["sweep", str(file), "--resources.cpus", "512"]) == 2
    assert "resources.cpus: 512 for a trial" in capsys.readouterr().err
    assert statuses(read_experiment(file)) == ["KILLED"]
