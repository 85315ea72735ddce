"""Writing a sweep into a real SQLite store."""

import getpass
import json
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import put_database
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from rsrl_ray.core.trial import Link, Origin, TrialKey
from rsrl_ray.store.locks import locked
from rsrl_ray.store.processes import process
from rsrl_ray.tracking.entries import FoldData, Round, SweepRun, Trial
from rsrl_ray.tracking.write import Tracker

TRIAL = Trial("id-0", TrialKey(0, "paper"), {"network": "small", "data_fingerprint": "f00d"})
HERE = Origin("start", "cpu-AVX2", ("torch 2.8.0",))
GONE = f"{socket.gethostname()}:999999999"


@pytest.fixture
def uri(tmp_path: Path) -> str:
    put_database(tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def opened(uri: str, tmp_path: Path, said: list[str]) -> Callable[..., Tracker]:
    """The sweep's tracker as a driver opens it, again and again."""

    def opened(sweep: str = "sweep-0", experiment: str = "photos", **params: object) -> Tracker:
        tracker = Tracker(uri, experiment, (tmp_path / "artifacts").as_uri(), said.append)
        files = {"folds.csv": "image,score\n"}
        tracker.open_sweep(SweepRun(sweep, {"seed": 0, **params}, "a note", files, {"rsrl.photos": "ab"}))
        return tracker

    return opened


def log(
    tracker: Tracker, *numbers: int, chain: str = "", origin: Origin = HERE, value: float = 0.25, note: str = ""
) -> None:
    """Log these rounds of a chain that is taken up from round 1 on, as a trial's driver does."""

    def write(folder: Path) -> None:
        (folder / "classes.csv").write_text(folder.name)

    values = {"test_macro_f1": value, "validation_macro_f1": value / 2, "train_size": 10.0}
    rounds = [
        Round(number, values, note, Link(f"key{number}{chain}"), 1000.0 + number, write)
        for number in range(1, max(numbers) + 1)
    ]
    logged = tracker.take_up(TRIAL, [done.link for done in rounds], origin)
    if rounds[logged:]:
        tracker.log_rounds(TRIAL, rounds[logged:])


def all_runs(uri: str, experiment: str = "photos") -> list[Run]:
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id], order_by=["attributes.start_time"]))


def runs(uri: str) -> dict[str, Run]:
    return {run.info.run_name or "": run for run in all_runs(uri)}


def keys(run: Run) -> list[str]:
    return [run.data.tags[name] for name in sorted(run.data.tags) if name.startswith("rsrl.key.")]


def test_a_round_is_metrics_tags_and_files_under_its_step(opened: Callable[..., Tracker], uri: str) -> None:
    tracker = opened()
    log(tracker, 1)
    log(tracker, 2, value=0.5, note="K = 0.9 drops 9 of 10")
    tracker.end_trial(TRIAL, "FINISHED")
    tracker.end_sweep("FINISHED")
    found, client = runs(uri), MlflowClient(uri)
    parent, child = found["sweep"], found["paper, fold 0"]
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    names = ("fold", "method", "network", "data_fingerprint", "rsrl.device", "rsrl.versions", "rsrl.opened")
    assert [child.data.tags[name] for name in names] == ["0", "paper", "small", "f00d", HERE.device, "torch 2.8.0", "1"]
    assert child.data.tags["note.round_02"] == "K = 0.9 drops 9 of 10"
    assert keys(child) == ["key1", "key2"]
    points = client.get_metric_history(child.info.run_id, "test_macro_f1")
    assert [(point.step, point.value, point.timestamp) for point in points] == [(1, 0.25, 1001000), (2, 0.5, 1002000)]
    files = [file.path for file in client.list_artifacts(child.info.run_id, "rounds")]
    assert files == ["rounds/01", "rounds/02"]
    assert parent.data.params == {"seed": "0"}
    assert (parent.data.tags["rsrl.photos"], parent.data.tags["mlflow.note.content"]) == ("ab", "a note")
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["folds.csv"]


def test_a_sweep_whose_groups_were_dealt_otherwise_is_refused_and_left_as_it_is(
    opened: Callable[..., Tracker], uri: str
) -> None:
    before = opened("old way")
    log(before, 1)
    before.end_sweep("FINISHED")
    tracker = Tracker(uri, "photos", None, print)
    with pytest.raises(ValueError, match=r"^photos was swept by a version that dealt groups .* give the file another"):
        tracker.open_sweep(SweepRun("new way", {"seed": 0}, "", {}, {}, former="old way"))
    left = {name: run.info.status for name, run in runs(uri).items()}
    assert left == {"sweep": "FINISHED", "paper, fold 0": "RUNNING"}
    opened("another").end_sweep("FINISHED")  # the experiment is not held


def test_logging_twice_stores_once_also_from_a_new_process(opened: Callable[..., Tracker], uri: str) -> None:
    log(opened(), 1)
    again = opened()
    assert again.take_up(TRIAL, [Link("key1")], HERE) == 1
    log(again, 1)
    found = runs(uri)
    assert len(found) == 2
    points = MlflowClient(uri).get_metric_history(found["paper, fold 0"].info.run_id, "train_size")
    assert len(points) == 1


def test_a_run_that_called_its_method_a_schedule_goes_on_and_says_both(
    opened: Callable[..., Tracker], uri: str, tmp_path: Path
) -> None:
    """As runs of versions up to 0.1 do."""
    log(opened(), 1)
    old = runs(uri)["paper, fold 0"].info.run_id
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        for table in ("tags", "params"):
            renamed = database.execute(f"UPDATE {table} SET key = 'schedule' WHERE key = 'method'")
            assert renamed.rowcount == 1
    tracker = opened()  # at once, for the view that is grouped by it
    assert runs(uri)["paper, fold 0"].data.params["method"] == "paper"
    log(tracker, 1, 2)
    run = runs(uri)["paper, fold 0"]
    assert (run.info.run_id, keys(run), len(all_runs(uri))) == (old, ["key1", "key2"], 2)
    for said in (run.data.tags, run.data.params):
        assert (said["method"], said["schedule"]) == ("paper", "paper")


@pytest.mark.parametrize(("first", "then"), [((1, 2, 3), (1, 2, 3, 4)), ((1, 2, 3, 4), (1,)), ((1,), (1, 2, 3))])
def test_another_chain_of_rounds_gets_a_run_of_its_own_and_the_user_is_told(
    opened: Callable[..., Tracker], uri: str, said: list[str], first: Iterable[int], then: Iterable[int]
) -> None:
    tracker = opened()
    log(tracker, *first, chain="-avx512")
    tracker.end_trial(TRIAL, "FINISHED")
    before = runs(uri)["paper, fold 0"]
    tracker = opened()
    elsewhere = [f"key{number}-avx2" for number in then]
    origin = Origin("elsewhere", "cpu-DEFAULT", HERE.versions)
    assert tracker.take_up(TRIAL, [Link(elsewhere[0])], origin) == 0
    log(tracker, *then, chain="-avx2", origin=origin)
    tracker.end_trial(TRIAL, "FINISHED")
    found = runs(uri)
    now, earlier = found["paper, fold 0"].to_dictionary(), before.to_dictionary()
    assert (now["data"]["tags"].pop("rsrl.newest"), earlier["data"]["tags"].pop("rsrl.newest")) == ("no", "yes")
    assert now == earlier
    assert found["paper, fold 0, chain 2"].data.tags["rsrl.newest"] == "yes"
    own = found["paper, fold 0, chain 2"]
    assert (keys(own), own.info.status, own.data.tags["rsrl.opened"]) == (elsewhere, "FINISHED", "2")
    (line,) = said
    assert line.startswith("fold 0, paper: ") and "(device was cpu-AVX2, is cpu-DEFAULT)" in line
    assert "'paper, fold 0, chain 2'" in line
    log(opened(), *first, 5, chain="-avx512")  # back on the first machine
    assert len(all_runs(uri)) == 3
    assert keys(runs(uri)["paper, fold 0"]) == [f"key{number}-avx512" for number in range(1, 6)]


def test_a_chain_that_parts_from_a_later_round_on_takes_its_first_rounds_along(
    opened: Callable[..., Tracker], uri: str
) -> None:
    tracker = opened()
    log(tracker, 1, 2, 3)
    tracker.end_trial(TRIAL, "FINISHED")
    tracker = opened()
    assert tracker.take_up(TRIAL, [Link("key1")], Origin()) == 3  # the same so far
    assert tracker.take_up(TRIAL, [Link("key1"), Link("key2-other")], HERE) == 0
    found = runs(uri)
    assert (found["paper, fold 0"].info.status, keys(found["paper, fold 0"])) == ("FINISHED", ["key1", "key2", "key3"])
    assert found["paper, fold 0, chain 2"].info.status == "RUNNING"


def test_the_same_key_with_other_weights_is_another_chain(opened: Callable[..., Tracker], uri: str) -> None:
    """As if the archive was deleted, and a machine of the same kind computes other bits."""
    tracker = opened()
    link = Link("key1", "ab")
    assert tracker.take_up(TRIAL, [link], HERE) == 0
    tracker.log_rounds(TRIAL, [Round(1, {"test_macro_f1": 0.5}, "", link, 1000.0, lambda folder: None)])
    assert tracker.take_up(TRIAL, [link], HERE) == 1
    assert opened().take_up(TRIAL, [link], HERE) == 1
    assert opened().take_up(TRIAL, [Link("key1")], HERE) == 1  # not known, as of rounds of before
    assert opened().take_up(TRIAL, [Link("key1", "cd")], HERE) == 0
    assert runs(uri)["paper, fold 0"].data.tags["rsrl.weights.round_01"] == "ab"


def test_a_trial_that_ends_untold_leaves_the_rounds_that_there_are_as_they_are(
    opened: Callable[..., Tracker], uri: str
) -> None:
    tracker = opened()
    log(tracker, 1)
    tracker.end_trial(TRIAL, "FINISHED")
    opened().end_trial(TRIAL, "FAILED", "round 1 failed 3 times")
    assert {name: run.info.status for name, run in runs(uri).items()}["paper, fold 0"] == "FINISHED"
    assert len(all_runs(uri)) == 2


def test_a_sweep_that_cannot_be_opened_leaves_nothing_that_runs(uri: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tracker = Tracker(uri, "photos", (tmp_path / "file" / "artifacts").as_uri(), print)
    with pytest.raises(OSError):
        tracker.open_sweep(SweepRun("one", {}, "", {"folds.csv": ""}, {}))
    (run,) = all_runs(uri)
    experiment = MlflowClient(uri).get_experiment_by_name("photos")
    assert experiment is not None
    assert (run.info.status, "rsrl.lease" in experiment.tags) == ("KILLED", False)


def test_new_rounds_go_where_the_folder_lies_now(tmp_path: Path) -> None:
    for place in ("old", "new"):
        if place == "new":
            (tmp_path / "old").rename(tmp_path / "new")
        folder = tmp_path / place
        tracker = Tracker(f"sqlite:///{folder}/mlflow.db", "photos", (folder / "artifacts").as_uri(), print)
        tracker.open_sweep(SweepRun("one", {}, "", {"folds.csv": place}, {}))
        log(tracker, *range(1, 3 if place == "old" else 5))
        tracker.end_sweep("FINISHED")
    assert not (tmp_path / "old").exists()
    files = (tmp_path / "new" / "artifacts").glob("*/artifacts/rounds/*/classes.csv")
    assert sorted(path.parent.name for path in files) == ["01", "02", "03", "04"]


def test_an_experiment_may_be_called_as_the_database_is(tmp_path: Path) -> None:
    with locked(tmp_path / "mlflow.db.lock"):  # the sweep's own
        tracker = Tracker(f"sqlite:///{tmp_path}/mlflow.db", "mlflow.db", None, print)
    assert tracker.newest() is None


def test_a_trial_that_fails_before_its_first_round_leaves_the_run_of_another_chain_alone(
    opened: Callable[..., Tracker], uri: str
) -> None:
    tracker = opened()
    log(tracker, 1)
    tracker.end_trial(TRIAL, "FINISHED")
    tracker = opened()
    assert tracker.take_up(TRIAL, [], Origin("elsewhere", "cuda-A100", HERE.versions)) == 0
    tracker.end_trial(TRIAL, "FAILED", "out of memory")
    statuses = {name: run.info.status for name, run in runs(uri).items()}
    assert statuses == {"sweep": "RUNNING", "paper, fold 0": "FINISHED", "paper, fold 0, chain 2": "FAILED"}


def test_a_trial_that_ends_without_a_round_has_its_state_in_its_run(opened: Callable[..., Tracker], uri: str) -> None:
    opened().end_trial(TRIAL, "FAILED", "out of memory")
    tags = runs(uri)["paper, fold 0"].data.tags
    assert (runs(uri)["paper, fold 0"].info.status, tags["rsrl.reason"]) == ("FAILED", "out of memory")
    log(opened(), 1)
    assert len(all_runs(uri)) == 2


def test_runs_that_a_crash_left_running_are_ended_when_the_sweep_is_taken_up(
    opened: Callable[..., Tracker], uri: str
) -> None:
    log(opened(), 1)
    opened()
    statuses = {name: run.info.status for name, run in runs(uri).items()}
    assert statuses == {"sweep": "RUNNING", "paper, fold 0": "KILLED"}


@pytest.mark.parametrize(
    ("driver", "status"),
    [(GONE, "KILLED"), (process(), "RUNNING"), ("far-away:1", "KILLED")],
    ids=["gone", "alive", "far"],
)
def test_another_sweep_is_ended_only_if_its_process_is_gone(
    opened: Callable[..., Tracker], uri: str, driver: str, status: str
) -> None:
    opened("other")
    client = MlflowClient(uri)
    parent = runs(uri)["sweep"].info.run_id
    client.set_tag(parent, "rsrl.driver", driver)
    opened("mine")
    assert client.get_run(parent).info.status == status


def test_a_sweep_goes_on_though_a_file_has_moved(opened: Callable[..., Tracker], uri: str) -> None:
    opened(weights="/old/weights.pt")
    opened(weights="/new/weights.pt", added=1)
    assert runs(uri)["sweep"].data.params == {"seed": "0", "weights": "/old/weights.pt", "added": "1"}


def test_a_failure_that_was_overcome_leaves_no_reason(opened: Callable[..., Tracker], uri: str) -> None:
    tracker = opened()
    tracker.end_trial(TRIAL, "FAILED", "out of memory")
    tracker.end_trial(TRIAL, "FINISHED")
    run = runs(uri)["paper, fold 0"]
    assert (run.info.status, run.data.tags["rsrl.reason"]) == ("FINISHED", "")


def test_the_newest_sweep_is_the_one_taken_up_last_whatever_the_clock_says(
    opened: Callable[..., Tracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened().newest() == ("sweep-0", {"seed": "0"})
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    assert opened("sweep-1", rate=0.1).newest() == ("sweep-1", {"seed": "0", "rate": "0.1"})
    assert opened().newest() == ("sweep-0", {"seed": "0"})


def test_nothing_is_made_before_a_sweep_is_opened(uri: str, tmp_path: Path) -> None:
    tracker = Tracker(uri, "photos", (tmp_path / "artifacts").as_uri(), print)
    assert tracker.newest() is None
    assert MlflowClient(uri).get_experiment_by_name("photos") is None


@pytest.mark.parametrize("fails", ["_log_metrics", "_set_tags"])
def test_a_round_counts_as_logged_only_after_its_files_and_all_its_metrics(
    opened: Callable[..., Tracker], uri: str, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """As a driver leaves it that is killed amid a batch, of more metrics than MLflow takes at once."""
    tracker, links = opened(), [Link("key1"), Link("key2")]
    tracker.take_up(TRIAL, links, HERE)
    values = {f"f1_{score}": 0.5 for score in range(700)}
    write = Path.touch
    rounds = [
        Round(number, values, "", link, 1.0, lambda folder: write(folder / "classes.csv"))
        for number, link in enumerate(links, start=1)
    ]
    meant, calls = getattr(SqlAlchemyStore, fails), list[int]()

    def fail(store: SqlAlchemyStore, run_id: str, entries: list[object]) -> None:
        calls.append(len(entries))
        if (fails == "_set_tags" and entries) or len(calls) == 2:
            raise OSError("killed")
        meant(store, run_id, entries)

    with monkeypatch.context() as patch:
        patch.setattr(SqlAlchemyStore, fails, fail)
        with pytest.raises(MlflowException, match="killed"):
            tracker.log_rounds(TRIAL, rounds)
    client, run = MlflowClient(uri), runs(uri)["paper, fold 0"]
    assert "rsrl.rounds_logged" not in run.data.tags and not keys(run)
    assert len(list(client.list_artifacts(run.info.run_id, "rounds"))) == 2
    again = opened()
    assert again.take_up(TRIAL, links, HERE) == 0
    again.log_rounds(TRIAL, rounds)
    run = runs(uri)["paper, fold 0"]
    assert (run.data.tags["rsrl.rounds_logged"], keys(run), len(run.data.metrics)) == ("2", ["key1", "key2"], 700)
    assert [point.step for point in client.get_metric_history(run.info.run_id, "f1_699")] == [1, 2]


def test_what_people_do_in_mlflow_does_what_they_expect(opened: Callable[..., Tracker], uri: str) -> None:
    log(opened(), 1, 2)
    client = MlflowClient(uri)
    (experiment,) = [found for found in client.search_experiments() if found.name == "photos"]
    client.rename_experiment(experiment.experiment_id, "my photos")  # the sweep goes on in it
    log(opened(), 1, 2, 3)
    found = {run.info.run_name: run for run in all_runs(uri, "my photos")}
    assert len(found["paper, fold 0"].data.tags) and keys(found["paper, fold 0"]) == ["key1", "key2", "key3"]
    assert client.get_experiment_by_name("photos") is None
    child, parent = found["paper, fold 0"].info.run_id, found["sweep"].info.run_id
    client.update_run(child, name="the best")  # a run that was renamed keeps its rounds
    client.delete_run(parent)  # a sweep without its parent run gets a new one, and its trials belong to that
    log(opened(), 1, 2, 3)
    (new,) = [run.info.run_id for run in all_runs(uri, "my photos") if run.info.run_name == "sweep"]
    assert new != parent and client.get_run(child).data.tags["mlflow.parentRunId"] == new
    assert client.get_run(child).info.run_name == "the best"
    client.restore_run(parent)  # the one that was taken up last goes on
    log(opened(), 1, 2, 3)
    assert client.get_run(new).info.status == "RUNNING"
    client.delete_run(child)  # a trial whose run was deleted is logged anew
    log(opened(), 1, 2, 3)
    (again,) = [run for run in all_runs(uri, "my photos") if run.info.run_name == "paper, fold 0"]
    assert (again.info.run_id != child, keys(again)) == (True, ["key1", "key2", "key3"])


def test_a_deleted_experiment_is_said(opened: Callable[..., Tracker], uri: str) -> None:
    opened()
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("photos")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(ValueError, match="'photos' was deleted; restore it"):
        opened()
    client.restore_experiment(experiment.experiment_id)
    client.rename_experiment(experiment.experiment_id, "other")
    with pytest.raises(ValueError, match="'other' holds the sweeps of the files named 'photos' and was renamed"):
        opened(experiment="other")


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_runs_say_where_they_come_from(
    opened: Callable[..., Tracker], uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "repository" / "deep"
    folder.mkdir(parents=True)
    git(folder.parent, "init", "-b", "main")
    git(folder.parent, "remote", "add", "origin", "https://me:secret@example.org/a.git")
    (folder / "a.yaml").write_text("name: a")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "-m", "first")
    commit = git(folder, "rev-parse", "HEAD")
    monkeypatch.chdir(folder)
    log(opened(), 1)
    (folder / "a.yaml").write_text("name: b")
    opened()
    found = runs(uri)
    parent, child = found["sweep"].data.tags, found["paper, fold 0"].data.tags
    for tags, dirty in ((child, "false"), (parent, "true")):
        assert tags["mlflow.source.git.commit"] == commit
        assert (tags["mlflow.source.git.branch"], tags["mlflow.source.git.dirty"]) == ("main", dirty)
        assert tags["mlflow.source.git.repoURL"] == "https://example.org/a.git"
        assert (tags["mlflow.source.type"], tags["mlflow.user"]) == ("LOCAL", getpass.getuser())
        assert tags["mlflow.source.name"]
    monkeypatch.chdir(tmp_path)
    opened("elsewhere")
    (other,) = [run for run in all_runs(uri) if run.data.tags["rsrl.sweep"] == "elsewhere"]
    assert not [name for name in other.data.tags if name.startswith("mlflow.source.git")]


def test_a_trial_has_its_photos_as_data_sets_and_a_description_that_people_may_change(
    opened: Callable[..., Tracker], uri: str
) -> None:
    data = (
        FoldData("train", "0" * 32, "/data/photos.csv", {2: 5, 3: 7}),
        FoldData("validation", "1" * 32, "/data/photos.csv", {2: 1}),
        FoldData("test", "2" * 32, "s3://bucket/photos.csv?secret_key=abc", {2: 2, 3: 2}),
    )
    described = replace(TRIAL, note="Method paper: K 0.9", data=data)
    for _ in range(2):
        opened().take_up(described, [], HERE)
    run = runs(uri)["paper, fold 0"]
    assert run.inputs is not None
    found = {entry.tags[0].value: entry.dataset for entry in run.inputs.dataset_inputs}
    assert list(found) == ["train", "validation", "test"]
    assert {entry.tags[0].key for entry in run.inputs.dataset_inputs} == {"mlflow.data.context"}
    assert [(one.name, one.digest, one.source_type) for one in found.values()] == [
        ("photos.csv", "0" * 32, "local"),
        ("photos.csv", "1" * 32, "local"),
        ("photos.csv", "2" * 32, "s3"),
    ]
    assert json.loads(found["train"].source) == {"uri": "/data/photos.csv"}
    assert "abc" not in found["test"].source
    assert json.loads(found["train"].profile) == {"num_rows": 12, "photos_by_score": {"2": 5, "3": 7}}
    client = MlflowClient(uri)
    assert run.data.tags["mlflow.note.content"] == "Method paper: K 0.9"
    for name in ("sweep", "paper, fold 0"):
        client.set_tag(runs(uri)[name].info.run_id, "mlflow.note.content", "mine")
    opened().take_up(described, [], HERE)
    assert {run.data.tags["mlflow.note.content"] for run in all_runs(uri)} == {"mine"}
