"""Paths in experiment files: any folder's name, and relative to the file everywhere."""

import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from rich.console import Console

from rsrl_ray.analysis.report.results import Swept
from rsrl_ray.cli import main as cli
from rsrl_ray.cli import sweeps
from rsrl_ray.core.trial import Outcome
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.store.storage import Storage, artifact_place, probe_storage
from rsrl_ray.terminal import Terminal
from rsrl_ray.tracking.entries import SweepRun
from rsrl_ray.tracking.read import open_results
from rsrl_ray.tracking.stores import mlflow_uri
from rsrl_ray.tracking.write import Tracker

NAMES = [
    "50%25",
    "a b",
    "äöü",
    "a#b?c",
    "a;b&c",
    "'\"",
    "a:b@c",
    "{x}[x]",
    "a\\b",
    "a\nb",
    " a ",
    "~x",
    "-x",
    "a\x1b\x7f",
]


def write(folder: Path, **knobs: object) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump({"name": "tiny", "photos": "p.csv", "schedules": {"none": {1: 0.0}}, **knobs}))
    return file


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database; to make one takes seconds."""
    file = tmp_path_factory.mktemp("tables") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.mark.parametrize("name", NAMES)
def test_any_folder_name_works_in_every_uri(
    name: str, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / name, storage="./" + name)
    monkeypatch.chdir(tmp_path)
    experiment = read_experiment(file)
    storage = tmp_path / name / name
    assert Path(experiment.storage) == storage and Path(experiment.photos) == tmp_path / name / "p.csv"
    probe_storage(experiment.storage)
    Storage(experiment.storage).write("rounds/a", b"a")
    assert (storage / "rounds" / "a").read_bytes() == b"a"
    shutil.copy(tables, storage / "mlflow.db")
    tracker = Tracker(mlflow_uri(experiment), "tiny", artifact_place(experiment.storage), print)
    tracker.open_sweep(SweepRun("one", {}, "", {"folds.csv": "image,score\n"}, {}))
    results = open_results(experiment)
    (run,) = results.sweep_runs()
    assert run.artifacts.read("folds.csv", Path.read_text) == "image,score\n"
    assert list(storage.glob("artifacts/*/artifacts/folds.csv"))
    assert os.listdir(tmp_path) == [name]  # nothing lies under another spelling of it
    assert opened_by_ui(file, monkeypatch).get_experiment_by_name("tiny") is not None
    assert os.listdir(tmp_path) == [name]


def opened_by_ui(file: Path, patch: pytest.MonkeyPatch) -> MlflowClient:
    """The store that `rsrl ui` gives to MLflow's server."""

    def started(command: list[str], env: dict[str, str], **_: object) -> None:
        raise InterruptedError(*command, env["MLFLOW_BACKEND_STORE_URI"])

    with patch.context() as within:
        within.setattr(subprocess, "Popen", started)
        with pytest.raises(InterruptedError) as raised:
            cli.main(["ui", str(file)])
    assert raised.value.args[1:4] == ("-m", "mlflow", "server")
    return MlflowClient(raised.value.args[-1])


@pytest.mark.parametrize("name", NAMES)
def test_a_command_that_is_printed_can_be_pasted(name: str, tmp_path: Path) -> None:
    file, console = write(tmp_path / name), Console(file=io.StringIO(), width=20)
    sweeps._ended(file, Swept(read_experiment(file), Outcome([], {}, [], 0)), Terminal(console))
    assert isinstance(console.file, io.StringIO)
    command = console.file.getvalue().rpartition("MLflow:  ")[2]
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True).stdout
    assert words == os.fsencode(f"rsrl\0ui\0{file}\0")


def test_a_name_that_is_no_utf8_is_refused_at_once(tmp_path: Path) -> None:
    file = write(tmp_path / os.fsdecode(b"a\xff"))
    with pytest.raises(ValueError, match="is not UTF-8, but MLflow needs UTF-8; rename the folder"):
        read_experiment(file)


STORES = {
    "sqlite:///track.db": "sqlite:///{}/track.db",
    "sqlite:///a%23b.db?timeout=9": "sqlite+pysqlite:///{}/a%23b.db?timeout=9",
    "mlruns": "file://{}/mlruns",
    "./mlruns": "file://{}/mlruns",
    "file:mlruns": "file://{}/mlruns",
}
STAYS = [
    "http://host:5000",
    "sqlite:////data/track.db",
    "file:///data/mlruns",
    "postgresql://h/d",
    "databricks",
    "sqlite://",
]


@pytest.mark.parametrize("store", STORES)
def test_mlflow_is_relative_to_the_file_or_on_the_command_line_to_the_working_directory(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "project", mlflow=store)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert read_experiment(file).mlflow == STORES[store].format(tmp_path / "project")
    assert read_experiment(file, ["--mlflow", store]).mlflow == STORES[store].format(tmp_path / "elsewhere")


@pytest.mark.parametrize("store", STAYS)
def test_other_stores_stay(store: str, tmp_path: Path) -> None:
    assert read_experiment(write(tmp_path, mlflow=store)).mlflow == store


def test_a_store_of_the_earlier_meaning_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "project", mlflow="sqlite:///track.db")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "track.db").touch()
    with pytest.raises(ValueError, match=rf"means {tmp_path}/project/track.db, but the store is {tmp_path}/track"):
        read_experiment(file)
    (tmp_path / "track.db").rename(tmp_path / "project" / "track.db")
    assert read_experiment(file).mlflow == f"sqlite:///{tmp_path}/project/track.db"


def test_a_file_uri_is_a_path_and_a_home_that_is_not_there_is_a_name(tmp_path: Path) -> None:
    experiment = read_experiment(write(tmp_path, storage="file:///data/a%20b", photos="~nobody-here/p.csv"))
    assert experiment.storage == "/data/a b"
    assert experiment.photos == f"{tmp_path}/~nobody-here/p.csv"
