"""Tracking in a real SQLite store."""

import os
import socket
import time
from pathlib import Path

import pytest
from conftest import put_database
from mlflow import MlflowClient

from rsrl_ray.tracking.read import Results
from rsrl_ray.tracking.write import Round, Trial

TRIAL = Trial("id-0", 0, "paper", {"network": "small", "data_fingerprint": "f00d"})


@pytest.fixture
def uri(tmp_path: Path) -> str:
    put_database(tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def tracker(uri: str, tmp_path: Path) -> Results:
    return Results(uri, "photos", (tmp_path / "artifacts").as_uri())


def begin(tracker: Results, sweep: str = "sweep-0", **params: object) -> None:
    tracker.open_sweep(sweep, {"seed": 0, **params}, "a note", {"folds.csv": "image,score\n"})


def log(tracker: Results, number: int, value: float = 0.25, note: str = "") -> None:
    def write(folder: Path) -> None:
        (folder / "classes.csv").write_text(f"round {number}\n")

    values = {"test_macro_f1": value, "validation_macro_f1": value / 2, "train_size": 10.0}
    tracker.log_rounds(TRIAL, [Round(number, values, note, f"key{number}", 1000.0 + number, write)])


def runs(uri: str) -> dict[str, object]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("photos")
    assert experiment is not None
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def test_a_round_is_metrics_tags_and_files_under_its_step(tracker: Results, uri: str) -> None:
    begin(tracker)
    log(tracker, 1)
    log(tracker, 2, 0.5, note="K = 0.9 drops 9 of 10")
    tracker.end_trial(TRIAL, "FINISHED")
    tracker.end_sweep("FINISHED")
    found, client = runs(uri), MlflowClient(uri)
    parent, child = found["sweep"], found["paper, fold 0"]
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")  # type: ignore[attr-defined]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id  # type: ignore[attr-defined]
    tags = child.data.tags  # type: ignore[attr-defined]
    assert {name: tags[name] for name in ("fold", "schedule", "network", "data_fingerprint")} == {
        "fold": "0",
        "schedule": "paper",
        "network": "small",
        "data_fingerprint": "f00d",
    }
    assert tags["note.round_02"] == "K = 0.9 drops 9 of 10"
    assert (tags["rsrl.key.round_01"], tags["rsrl.key.round_02"]) == ("key1", "key2")
    points = client.get_metric_history(child.info.run_id, "test_macro_f1")  # type: ignore[attr-defined]
    assert [(point.step, point.value, point.timestamp) for point in points] == [(1, 0.25, 1001000), (2, 0.5, 1002000)]
    files = [file.path for file in client.list_artifacts(child.info.run_id, "rounds")]  # type: ignore[attr-defined]
    assert files == ["rounds/01", "rounds/02"]
    assert parent.data.params == {"seed": "0"}  # type: ignore[attr-defined]


def test_logging_twice_stores_once_also_from_a_new_process(tracker: Results, uri: str) -> None:
    begin(tracker)
    log(tracker, 1)
    again = Results(uri, "photos")
    begin(again)
    assert again.rounds_logged(TRIAL) == 1
    log(again, 1)
    found = runs(uri)
    assert len(found) == 2
    points = MlflowClient(uri).get_metric_history(found["paper, fold 0"].info.run_id, "train_size")  # type: ignore
    assert len(points) == 1


def test_runs_that_a_crash_left_running_are_ended_when_the_sweep_is_taken_up(tracker: Results, uri: str) -> None:
    begin(tracker)
    log(tracker, 1)
    begin(Results(uri, "photos"))
    assert {name: run.info.status for name, run in runs(uri).items()} == {  # type: ignore[attr-defined]
        "sweep": "RUNNING",
        "paper, fold 0": "KILLED",
    }


@pytest.mark.parametrize(("driver", "status"), [("dead", "KILLED"), ("alive", "RUNNING"), ("elsewhere", "RUNNING")])
def test_another_sweep_is_ended_only_if_its_process_is_gone(
    tracker: Results, uri: str, driver: str, status: str
) -> None:
    begin(tracker, "other")
    process = {"dead": f"{socket.gethostname()}:999999999", "alive": f"{socket.gethostname()}:{os.getpid()}"}
    client = MlflowClient(uri)
    parent = runs(uri)["sweep"].info.run_id  # type: ignore[attr-defined]
    client.set_tag(parent, "rsrl.driver", process.get(driver, "far-away:1"))
    begin(Results(uri, "photos"), "mine")
    assert client.get_run(parent).info.status == status


def test_a_sweep_goes_on_though_a_file_has_moved(tracker: Results, uri: str) -> None:
    begin(tracker, weights="/old/weights.pt")
    begin(Results(uri, "photos"), weights="/new/weights.pt", added=1)
    assert runs(uri)["sweep"].data.params == {"seed": "0", "weights": "/old/weights.pt", "added": "1"}  # type: ignore


def test_states_for_the_table(tracker: Results, uri: str) -> None:
    assert tracker.states() == []
    begin(tracker)
    log(tracker, 1)
    log(tracker, 2, 0.5)
    (state,) = tracker.states()
    assert (state.fold, state.schedule, state.status) == (0, "paper", "RUNNING")
    assert state.history["test_macro_f1"] == {1: 0.25, 2: 0.5}
    tracker.end_trial(TRIAL, "FAILED", "the loss is not finite")
    (state,) = tracker.states()
    assert (state.status, state.reason) == ("FAILED", "the loss is not finite")
    MlflowClient(uri).set_tag(runs(uri)["sweep"].info.run_id, "rsrl.driver", f"{socket.gethostname()}:999999999")  # type: ignore
    tracker = Results(uri, "photos")
    begin(tracker)
    log(tracker, 3)
    MlflowClient(uri).set_tag(runs(uri)["sweep"].info.run_id, "rsrl.driver", f"{socket.gethostname()}:999999999")  # type: ignore
    assert [state.status for state in tracker.states()] == ["INTERRUPTED"]


def test_a_failure_that_was_overcome_leaves_no_reason(tracker: Results) -> None:
    begin(tracker)
    tracker.end_trial(TRIAL, "FAILED", "out of memory")
    tracker.end_trial(TRIAL, "FINISHED")
    (state,) = tracker.states()
    assert (state.status, state.reason) == ("FINISHED", "")


def test_newest_sweep_and_its_recipe(tracker: Results, uri: str) -> None:
    assert tracker.newest() is None
    begin(tracker)
    begin(Results(uri, "photos"), "sweep-1", rate=0.1)
    assert tracker.newest() == ("sweep-1", {"seed": "0", "rate": "0.1"})


def test_the_newest_sweep_is_the_one_taken_up_last_whatever_the_clock_says(
    tracker: Results, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tracker)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    begin(Results(uri, "photos"), "sweep-1", rate=0.1)
    assert tracker.newest() == ("sweep-1", {"seed": "0", "rate": "0.1"})
    begin(Results(uri, "photos"))
    assert tracker.newest() == ("sweep-0", {"seed": "0"})


def test_a_deleted_experiment_is_said(tracker: Results, uri: str) -> None:
    begin(tracker)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("photos")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(ValueError, match="was deleted; restore it"):
        begin(Results(uri, "photos"))
