"""What the code of before left (an archive, a tracked sweep, a registered model) is read with the same numbers.

`data/before.tar.xz` was made by commit 8fe5f02 on 2026-11-25: `rsrl sweep`, `rsrl register` and `rsrl score` on the
photos of the fixture `photos_csv`, in a folder that is no longer there. Of its archive only the chosen round keeps
its weights; the decoded photos were left out.
"""

import json
import shutil
import sqlite3
import tarfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from sweep.sweeping import Gate, entries, start_driver, statuses

from rsrl_ray.cli import main as cli
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.models.load import open_store
from rsrl_ray.models.register import register
from rsrl_ray.tracking.find import find_results
from rsrl_ray.tracking.stores import mlflow_uri
from rsrl_ray.tracking.views import pages

DATA = Path(__file__).parent / "data" / "before.tar.xz"
MADE = "/tmp/w/legacy/project"
DEVICE, VERSIONS = "cpu-AVX2", ["2.15.0+cu132", "0.29.2+cu132"]  # that made it
VALIDATION = {"firm": [2 / 9, 1 / 3, 1 / 3], "none": [2 / 9, 1 / 3, 1 / 3]}


@pytest.fixture
def project(photos_csv: Path, tmp_path: Path) -> Path:
    """The folder of the experiment file, in a place of its own."""
    with tarfile.open(DATA) as made:
        made.extractall(tmp_path, filter="data")
    shutil.copytree(photos_csv.parent, tmp_path / "project" / "photos")
    return tmp_path / "project"


@pytest.mark.slow
def test_a_sweep_of_before_is_read(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = find_results(read_experiment(project / "before.yaml"))
    assert (found.is_own, found.differs) == (True, ())
    assert list(found.trials) == [TrialKey(0, "firm"), TrialKey(0, "none")]
    for key, state in found.states.items():
        np.testing.assert_allclose(state.curves["validation_macro_f1"], VALIDATION[key.method], rtol=0, atol=1e-15)
    assert cli.main(["show", str(project / "before.yaml")]) == 0
    assert "round 2: 0.333 (0.210)" in capsys.readouterr().out
    assert cli.main(["show", str(project / "before.yaml"), "--resources.gpus", "2"]) == 0  # with which none trains now
    assert "round 2: 0.333 (0.210)" in capsys.readouterr().out
    assert cli.main(["analyze", str(project / "before.yaml"), "--out", str(project / "out")]) == 0
    summary = pd.read_csv(project / "out" / "summary.csv")
    row = summary[(summary["method"] == "firm") & (summary["criterion"] == "validation")].iloc[0]
    assert (row["round_mean"], row["macro_f1_mean"], row["train_size_mean"]) == (2, 0.210323, 20)
    assert (project / "out" / "highlights.csv").exists()
    before = contents(project)
    assert cli.main(["prune", str(project / "before.yaml"), "--yes"]) == 0
    assert contents(project) == before  # who needs what it made is not known
    with sqlite3.connect(project / "results" / "mlflow.db") as database:  # reading has not touched it
        assert MADE in database.execute("SELECT artifact_location FROM experiments WHERE name = 'before'").fetchone()[0]


def test_a_model_of_before_scores_as_it_did(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = project / "now.csv"
    words = ["score", str(project / "photos"), "--experiment", str(project / "before.yaml"), "--out", str(out)]
    assert cli.main(words) == 0
    assert "model: models:/before/1 (schedule firm, fold 0, round 2: " in capsys.readouterr().out
    before, now = pd.read_csv(project / "scores.csv"), pd.read_csv(out)
    assert list(before) == list(now)
    assert before["photo"].tolist() == now["photo"].tolist()
    for name in before.columns[3:]:
        np.testing.assert_allclose(now[name], before[name], rtol=0, atol=1e-5)


def test_a_sweep_of_before_goes_on_from_its_archive_in_its_runs(
    project: Path, tmp_path: Path, ray_session: None
) -> None:
    """Its keys are those of today, for the device and the versions that it was made on."""
    file = project / "before.yaml"
    before, found = entries(file), find_results(read_experiment(file))
    made_on = f"device_kind = lambda device: {DEVICE!r}; versions = lambda backbone: {VERSIONS!r}"
    gate = Gate(tmp_path, {"rsrl_ray.vision.reproducible": made_on})
    driver = start_driver(file, **gate.environment)
    printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, printed
    assert "trials: 2 finished" in printed and "runs of its own" not in printed
    said = f"the archive has rounds of {DEVICE} that do not say which machine made them: this one is assumed"
    assert " ".join(printed.split()).count(said) == 1
    (note,) = (project / "results" / "rounds" / "devices").glob("*.json")
    assert json.loads(note.read_text())["device"] == DEVICE
    assert entries(file) == before  # nothing is trained again
    again = find_results(read_experiment(file))
    assert again.sweep.id == found.sweep.id
    assert ("rsrl.chooses" in found.sweep.tags, again.sweep.tags["rsrl.chooses"]) == (False, "validation")
    assert {key: run.id for key, run in again.trials.items()} == {key: run.id for key, run in found.trials.items()}
    assert {run.tags["rsrl.device"] for run in again.trials.values()} == {DEVICE}
    assert {(run.tags["method"], run.params["method"]) for run in again.trials.values()} == {
        ("firm", "firm"),
        ("none", "none"),
    }
    assert statuses(read_experiment(file)) == ["FINISHED"] * 3
    client = mlflow.MlflowClient(mlflow_uri(read_experiment(file)))  # which is told now what was chosen
    metrics = {key.method: client.get_run(run.id).data.metrics for key, run in again.trials.items()}
    assert (metrics["firm"]["chosen/round"], metrics["firm"]["chosen/train_size"]) == (2, 20)
    assert metrics["firm"]["chosen/validation_macro_f1"] == 1 / 3
    parent = client.get_run(again.sweep.id).data.metrics
    assert (parent["chosen/firm/folds"], round(parent["chosen/firm/test_macro_f1_mean"], 6)) == (1, 0.210323)
    experiment = client.get_experiment(again.results.experiment_id)
    assert pages("http://x", experiment.experiment_id, experiment.tags, again.sweep.tags["rsrl.sweep"])


def test_a_folder_that_was_moved_is_mended_by_those_that_write(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = read_experiment(project / "before.yaml")
    made = register(experiment, None, None, None)
    assert (made.version, made.new) == (1, False)
    (line,) = capsys.readouterr().out.splitlines()
    assert f"now says that they lie in file://{project}/results/artifacts, no longer in file://{MADE}/results" in line
    assert f"{MADE}/results" not in dump(project)
    assert register(experiment, None, None, "other").new
    assert capsys.readouterr().out == ""
    # MLflow itself finds them as well
    with open_store(mlflow_uri(experiment)):
        (file,) = Path(mlflow.artifacts.download_artifacts("models:/before/1")).glob("data/*/weights.safetensors")
        assert file.stat().st_size == 1138732


def test_a_copy_is_read_and_written_in_its_own_place(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register(read_experiment(project / "before.yaml"), None, None, None)
    copy = tmp_path / "copy [1], 50%25 of it"
    shutil.copytree(project, copy)
    before = contents(project)
    (run, *_) = find_results(read_experiment(copy / "before.yaml")).trials.values()
    shutil.rmtree(copy / "results" / "artifacts" / run.id / "artifacts" / "rounds" / "03")
    assert cli.main(["show", str(copy / "before.yaml")]) == 0
    assert cli.main(["analyze", str(copy / "before.yaml"), "--out", str(copy / "out")]) == 2  # it reads its own files
    assert cli.main(["highlight", str(copy / "before.yaml"), "--top", "1", "--out", str(copy / "out")]) == 0
    capsys.readouterr()
    register(read_experiment(copy / "before.yaml"), None, None, None)
    assert len(capsys.readouterr().out.splitlines()) == 1 and str(project) not in dump(copy)
    assert contents(project) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "mlflow.db"}


def dump(project: Path) -> str:
    """All that MLflow's database holds."""
    with sqlite3.connect(project / "results" / "mlflow.db") as database:
        return "\n".join(database.iterdump())
