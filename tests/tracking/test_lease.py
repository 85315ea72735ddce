"""One sweep at a time writes to an MLflow experiment."""

import os
import socket
from pathlib import Path

import pytest
from mlflow import MlflowClient

from rsrl_ray.tracking.entries import SweepRun
from rsrl_ray.tracking.lease import Lease
from rsrl_ray.tracking.write import Tracker

HERE = socket.gethostname()
LIVES, UNKNOWN, DEAD = f"{HERE}:{os.getppid()}:a", "far-away:1:a", f"{HERE}:999999999:a"


@pytest.fixture
def client(tmp_path: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")


def held(client: MlflowClient, experiment: str) -> str:
    return str(client.get_experiment(experiment).tags.get("rsrl.lease", ""))


def test_who_holds_it_and_how_it_is_taken_over(client: MlflowClient) -> None:
    experiment = client.create_experiment("tiny")
    for holder in (LIVES, UNKNOWN):
        client.set_experiment_tag(experiment, "rsrl.lease", holder)
        with pytest.raises(ValueError, match=rf"\({holder[:-2]}\).*crashed: rsrl sweep FILE --take_over"):
            Lease(client, experiment).take()
        assert held(client, experiment) == holder
    lost = Lease(client, experiment, take_over=True)
    lost.take()
    lost.take()
    assert held(client, experiment).startswith(f"{HERE}:{os.getpid()}:")
    client.set_experiment_tag(experiment, "rsrl.lease", UNKNOWN)  # somebody else takes it over
    with pytest.raises(ValueError, match="far-away"):
        lost.take()
    lost.release()
    assert held(client, experiment) == UNKNOWN
    client.set_experiment_tag(experiment, "rsrl.lease", DEAD)
    after = Lease(client, experiment)
    after.take()
    after.release()
    assert held(client, experiment) == ""


def test_a_second_sweep_is_refused_before_it_ends_the_first_ones_runs(client: MlflowClient, tmp_path: Path) -> None:
    uri = client.tracking_uri
    sweep = SweepRun("one", {}, "", {}, {})
    first = Tracker(uri, "tiny", (tmp_path / "artifacts").as_uri(), print)
    first.open_sweep(sweep)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    client.set_experiment_tag(experiment.experiment_id, "rsrl.lease", LIVES)  # as if by another process
    with pytest.raises(ValueError, match="is being swept by another process"):
        Tracker(uri, "tiny", None, print).open_sweep(sweep)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "RUNNING"
    with pytest.raises(ValueError, match="is being swept by another process"):
        first.end_sweep("FINISHED")  # it has lost the experiment
    assert client.get_run(run.info.run_id).info.status == "RUNNING"
    over = Tracker(uri, "tiny", None, print, take_over=True)
    over.open_sweep(sweep)
    over.end_sweep("FINISHED")
    assert held(client, experiment.experiment_id) == ""
