"""The chosen network of a real sweep in a real MLflow registry, loaded, served and asked."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import write_experiment
from mlflow import MlflowClient

from rsrl_ray.cli import main as cli
from rsrl_ray.config import Experiment
from rsrl_ray.core.likelihood import likelihood
from rsrl_ray.core.selection import TEST, VALIDATION, Curve, curve_of
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.models import load as registered
from rsrl_ray.models import register as registry
from rsrl_ray.models.contract import requirements
from rsrl_ray.rounds.table import logits
from rsrl_ray.store.archive import Archive
from rsrl_ray.tracking.find import Found, find_results
from rsrl_ray.tracking.names import key_tag, predictions_path
from rsrl_ray.tracking.read import Artifacts, TrackedRun, cut
from rsrl_ray.tracking.stores import mlflow_uri


@dataclass(frozen=True)
class Swept:
    """A finished sweep with two folds, two schedules and two methods that predict; one network is registered."""

    file: Path
    experiment: Experiment
    uri: str
    made: registry.Registered

    def photos(self) -> Path:
        return Path(self.experiment.photos).parent


@pytest.fixture(scope="module")
def swept(ray_session: None, photos_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    schedules = {"none": {1: 0.0}, "firm": {1: 0.5}}
    methods = {
        "averaged": {"predict": {"average": 9, "logit_adjustment": "validation", "decision": "expected_f"}},
        "shares": {"predict": {"decision": "shares"}},
    }
    knobs: dict[str, Any] = {"schedules": schedules, "methods": methods, "archive": {"weights": "needed"}}
    knobs["rounds"] = 3
    file = write_experiment(tmp_path_factory.mktemp("sweep"), photos_csv, **knobs)
    assert cli.main(["sweep", str(file)]) == 0
    experiment = read_experiment(file)
    return Swept(file, experiment, mlflow_uri(experiment), registry.register(experiment, None, None, None))


@pytest.fixture(scope="module")
def table(swept: Swept) -> pd.DataFrame:
    """``predictions.parquet`` of the registered round."""
    place = swept.made.choice
    return place.run.artifacts.read(predictions_path(place.number), pd.read_parquet)


@pytest.fixture
def store(swept: Swept) -> Iterator[MlflowClient]:
    with registered.open_store(swept.uri) as client:
        yield client


def test_the_best_round_of_the_best_fold_is_registered_with_its_run(swept: Swept, store: MlflowClient) -> None:
    states = {key.fold: state for key, state in find_results(swept.experiment).states.items() if key.method == "firm"}
    curves = {fold: dict(enumerate(state.curves[VALIDATION].tolist(), 1)) for fold, state in states.items()}
    best = max(value for curve in curves.values() for value in curve.values())
    fold = min(fold for fold, curve in curves.items() if best in curve.values())
    number = min(number for number, value in curves[fold].items() if value == best)
    version = store.get_model_version("tiny", "1")
    test = states[fold].curves[TEST][number - 1]
    assert {name: value for name, value in version.tags.items() if name != "rsrl.key"} == {
        "experiment": "tiny",
        "method": "firm",
        "fold": str(fold),
        "round": str(number),
        "validation_macro_f1": str(best),
        "test_macro_f1": str(test),
    }
    assert version.description == (
        f"method firm, fold {fold}, round {number}: macro F {best:.3f} on validation photos, {test:.3f} on test photos"
    )
    (holder,) = Path(swept.experiment.storage).glob(f"rounds/*/{version.tags['rsrl.key']}/held/registered-tiny")
    assert json.loads(holder.read_text()) == {"experiment": "tiny", "model": "tiny"}
    run = store.get_run(version.run_id)
    assert run.data.tags["fold"] == str(fold) and run.data.tags["method"] == "firm"
    assert run.data.tags[f"rsrl.key.round_{number:02d}"] == version.tags["rsrl.key"]
    assert run.info.status == "FINISHED"
    (output,) = run.outputs.model_outputs
    assert version.source == f"models:/{output.model_id}" and output.step == number
    assert [point.step for point in store.get_metric_history(version.run_id, "test_macro_f1")] == [1, 2, 3]
    model = store.get_logged_model(output.model_id)
    assert model.experiment_id == run.info.experiment_id
    assert {metric.key: metric.value for metric in model.metrics}["test_macro_f1"] == test


class Logged:
    """Stands for MLflow's results of method ``firm``: for each fold, macro F by round on validation and test photos."""

    def __init__(self, curves: dict[int, tuple[list[float] | None, list[float]]]) -> None:
        self._curves = curves

    def runs(self) -> dict[TrialKey, TrackedRun]:
        return {
            TrialKey(fold, "firm"): TrackedRun(
                f"run {fold}",
                fold,
                "firm",
                "RUNNING",
                "",
                len(test),
                (TEST,) if validation is None else (VALIDATION, TEST),
                {},
                {},
                Artifacts("", ""),
            )
            for fold, (validation, test) in self._curves.items()
        }

    def curves(self, runs: list[TrackedRun], metric: str) -> dict[str, Curve]:
        known = {run.id: self._curves[run.fold][metric == TEST] or [] for run in runs}
        return {run.id: curve_of(dict(enumerate(known[run.id], start=1)), run.rounds) for run in runs}


@pytest.mark.parametrize(
    ("curves", "fold", "chosen", "said"),
    [
        (
            {0: ([0.2, 0.5, 0.5], [0.1, 0.3, 0.9]), 1: ([0.4, 0.1], [0.8, 0.7])},
            None,
            (0, 2, 0.5, 0.3),
            "0.500 on validation photos, 0.300 on test photos",
        ),
        (
            {0: ([0.2, 0.5, 0.5], [0.1, 0.3, 0.9]), 1: ([0.4, 0.1], [0.8, 0.7])},
            1,
            (1, 1, 0.4, 0.8),
            "0.400 on validation photos, 0.800 on test photos",
        ),
        (
            {3: ([0.5], [0.1]), 4: ([0.1, 0.5], [0.1, 0.9])},
            None,
            (3, 1, 0.5, 0.1),
            "fold 3, round 1: macro F 0.500 on validation photos, 0.100 on test photos",
        ),
        (
            {0: ([0.1, 0.2, 0.3, 0.9], [0.1] * 4), 1: ([0.2], [0.6])},
            None,
            (0, 3, 0.3, 0.1),
            "0.300 on validation photos, 0.100 on test photos",
        ),
        (
            {0: (None, [0.1, 0.6]), 1: (None, [0.7, 0.2])},
            None,
            (1, 1, np.nan, 0.7),
            "fold 1, round 1: macro F 0.700 on test photos, on which it was chosen",
        ),
    ],
    ids=["best fold", "fold given", "ties to the first fold", "rounds that the file asks for", "by test photos"],
)
def test_the_rule_of_choosing(curves: dict[int, Any], fold: int | None, chosen: tuple[Any, ...], said: str) -> None:
    tracker: Any = Logged(curves)
    runs = {key: cut(run, 3) for key, run in tracker.runs().items()}
    experiment = Experiment("x", "photos.csv", {"firm": {1: 0.5}}, rounds=3)
    choice = registry.choose(Found(tracker, next(iter(runs.values())), runs, (), True), experiment, "firm", fold)
    found = (choice.run.fold, choice.number, choice.validation, choice.test)
    assert found == pytest.approx(chosen, nan_ok=True)
    assert str(choice).endswith(said)
    assert ("validation_macro_f1" in choice.tags()) == ("validation" in str(choice))


def test_what_is_registered(swept: Swept, store: MlflowClient, tmp_path: Path) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri="models:/tiny/1", dst_path=str(tmp_path)))
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert "data/network/weights.safetensors" in files
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".pyc"))]
    lines = (folder / "requirements.txt").read_text().split()
    assert lines == requirements("small")
    assert all(line.count("==") == 1 and "+" not in line for line in lines)
    info = mlflow.models.get_model_info("models:/tiny/1")
    assert info.signature.inputs.input_names() == ["path", "photo"]
    assert info.signature.outputs.input_names() == [
        *("score", "error"),
        *(f"{name}_{score}" for name in ("probability", "likelihood") for score in (2, 3, 4, 5, 6)),
    ]


def test_test_photos_have_the_scores_of_the_sweep(swept: Swept, store: MlflowClient, table: pd.DataFrame) -> None:
    model = mlflow.pyfunc.load_model("models:/tiny/1")
    test = table[table["split"] == "test"]
    found = model.predict(pd.DataFrame({"path": [str(swept.photos() / image) for image in test["image"]]}))
    assert len(found) == 29
    assert found["score"].tolist() == test["predicted"].tolist()
    assert found["error"].isna().all()
    every = model.predict(pd.DataFrame({"path": [str(swept.photos() / image) for image in table["image"]]}))
    assert every["score"].tolist() == table["predicted"].tolist()
    expected = likelihood(logits(table), "sigmoid")
    columns = [f"likelihood_{score}" for score in (2, 3, 4, 5, 6)]
    assert np.array_equal(every[columns].to_numpy(), expected)  # the same batches give the same bits
    np.testing.assert_allclose(found[columns].to_numpy(), expected[test.index], atol=1e-5)


@pytest.mark.parametrize("name", ["averaged", "shares"])
def test_a_method_that_predicts_is_served_as_the_sweep_predicts(swept: Swept, store: MlflowClient, name: str) -> None:
    made = registry.register(swept.experiment, name, None, name)
    number = made.choice.number
    networks = number if name == "averaged" else 1  # all rounds so far, or the chosen one
    table = made.choice.run.artifacts.read(predictions_path(number), pd.read_parquet)
    folder = mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{name}/1")
    assert len(list(Path(folder).rglob("*weights.safetensors"))) == networks
    assert len(list(Path(swept.experiment.storage).glob(f"rounds/*/*/held/registered-{name}"))) == networks
    model = registered.load_model(name, swept.uri).model
    every = model.predict(pd.DataFrame({"path": [str(swept.photos() / image) for image in table["image"]]}))
    assert every["score"].tolist() == table["predicted"].tolist()
    assert every["score"].tolist() != logits(table).argmax(axis=1).tolist()
    shares = every[[f"probability_{score}" for score in (2, 3, 4, 5, 6)]]
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_the_same_network_is_registered_once_and_another_as_the_next_version(swept: Swept) -> None:
    place = swept.made.choice
    assert swept.made.new and swept.made.version == 1
    again = registry.register(swept.experiment, "firm", place.run.fold, None)
    assert (again.version, again.new, again.choice) == (1, False, place)
    none = registry.register(swept.experiment, "none", 1, None)
    assert (none.name, none.version, none.new) == ("tiny", 2, True)
    assert (none.choice.run.method, none.choice.run.fold) == ("none", 1)
    other = registry.register(swept.experiment, None, None, "firm-1.0")
    assert (other.name, other.version, other.choice) == ("firm-1.0", 1, place)


def test_a_model_is_found_by_name_version_and_alias(swept: Swept, store: MlflowClient) -> None:
    store.set_registered_model_alias("tiny", "best", "1")
    newest = max(int(version.version) for version in store.search_model_versions("name = 'tiny'"))
    assert registered.find_model(store, "tiny") == f"models:/tiny/{newest}"
    assert registered.find_model(store, "tiny/1") == "models:/tiny/1"
    for name in ("tiny@best", "models:/tiny@best"):
        assert registered.find_model(store, name) == "models:/tiny@best"
        assert registered.load_model(name, swept.uri).network == str(swept.made.choice)


def test_the_first_version_is_the_champion_until_another_is_asked_for(
    swept: Swept, store: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert swept.made.champion == 1
    assert registered.load_model("tiny@champion", swept.uri).uri == "models:/tiny@champion"
    words = ["register", str(swept.file), "--name", "race"]
    assert cli.main([*words, "--fold", "0"]) == 0
    assert "race@champion is version 1\n" in capsys.readouterr().out
    assert cli.main([*words, "--fold", "1"]) == 0
    assert "race@champion is version 1; --champion makes it this one\n" in capsys.readouterr().out
    assert cli.main([*words, "--fold", "1", "--champion"]) == 0
    said = capsys.readouterr().out
    assert "race, version 2, registered before: " in said and "race@champion is version 2\n" in said
    assert int(store.get_model_version_by_alias("race", "champion").version) == 2
    photo = str(swept.photos() / "4-0.png")
    out = swept.file.with_name("race.csv")
    asked = ["score", photo, "--experiment", str(swept.file), "--model", "race@champion", "--out", str(out)]
    assert cli.main(asked) == 0
    assert "model: models:/race@champion (method firm, fold 1, " in capsys.readouterr().out
    store.delete_registered_model_alias("race", "champion")
    assert (
        cli.main([*words, "--method", "none", "--fold", "0"]) == 0
    )  # an alias that people have removed is not set again
    assert "no version is race@champion; --champion makes it this one\n" in capsys.readouterr().out


def test_the_model_loads_where_this_package_is_not(swept: Swept, store: MlflowClient, tmp_path: Path) -> None:
    folder = mlflow.artifacts.download_artifacts(artifact_uri="models:/tiny/1", dst_path=str(tmp_path / "model"))
    code = """
import sys
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
import rsrl_ray
found = model.predict(model.input_example)
print(rsrl_ray.__file__, sorted({"ray", "matplotlib", "sklearn"} & set(sys.modules)), len(found), found["error"][0])
"""
    shown = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert shown.stdout.split() == [f"{Path(folder)}/code/rsrl_ray/__init__.py", "[]", "1", "None"]


def test_register_and_score_at_the_terminal(
    swept: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["register", str(swept.file)]) == 0
    said = capsys.readouterr().out
    assert f"tiny, version 1, registered before: {swept.made.choice}\n" in said
    assert f"rsrl score PHOTO... --experiment {swept.file}\n" in said
    assert f"MLFLOW_TRACKING_URI={swept.uri} mlflow models serve -m models:/tiny/1 --env-manager local" in said

    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    shutil.copy(swept.photos() / "4-0.png", folder / "b.png")
    shutil.copy(swept.photos() / "5-0.png", folder / "deep" / "a [bold].PNG")
    (folder / "cut.png").write_bytes((folder / "b.png").read_bytes()[:500])
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_text("")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["score", "photos", "--experiment", str(swept.file), "--model", "tiny/1"]) == 1
    said = capsys.readouterr().out
    assert f"model: models:/tiny/1 ({swept.made.choice})\n" in said
    assert "photos: 2 scored, 1 with an error; files that are no pictures, left out: 1\n" in said
    found = pd.read_csv("scores.csv").set_index("photo")
    assert found.index.tolist() == ["b.png", "cut.png", "deep/a [bold].PNG"]
    assert found["error"].isna().tolist() == [True, False, True]
    assert found.loc["cut.png", "error"].startswith("truncated")
    assert found.loc["cut.png"].drop("error").isna().all()
    for name in found.index:
        assert name in said

    monkeypatch.setenv("MLFLOW_TRACKING_URI", swept.uri)
    words = ["score", "photos/b.png", "photos/deep", "--model", "tiny/1", "--out", "other.csv"]
    assert cli.main(words) == 0
    other = pd.read_csv("other.csv").set_index("photo")
    assert other.index.tolist() == ["photos/b.png", "photos/deep/a [bold].PNG"]
    assert other.loc["photos/b.png", "likelihood_4"] == pytest.approx(found.loc["b.png", "likelihood_4"], abs=1e-5)
    assert os.environ["MLFLOW_TRACKING_URI"] == swept.uri
    assert not Path("mlflow.db").exists() and not Path("mlruns").exists()


def test_a_model_in_a_folder_needs_no_registry(
    swept: Swept,
    store: MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mlflow.artifacts.download_artifacts(artifact_uri="models:/tiny/1", dst_path=str(tmp_path / "model"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["score", str(swept.photos() / "4-0.png"), "--model", "model"]) == 0
    assert f"model: model ({swept.made.choice})" in capsys.readouterr().out
    assert not Path("mlflow.db").exists() and not Path("mlruns").exists()


IN_FILE = ["score", "PHOTO", "--experiment", "FILE"]
MISTAKES = {
    "a method that is not there": (["register", "FILE", "--schedule", "soft"], "no method 'soft'; there are none"),
    "a fold that is not there": (
        ["register", "FILE", "--fold", "7"],
        "no round of method 'firm' in fold 7 is logged",
    ),
    "a name with a slash": (["register", "FILE", "--name", "a/b"], "name 'a/b': give letters"),
    "no such file": (["register", "papr.yaml"], "papr.yaml: there is no such experiment file"),
    "no registry": (
        ["score", "PHOTO"],
        "say where the model is registered: give the experiment file by --experiment FILE",
    ),
    "no such model": ([*IN_FILE, "--model", "big"], "there is no model 'big' in sqlite:"),
    "a name that is none": ([*IN_FILE, "--model", "a'b"], 'there is no model "a\'b"'),
    "no such version": ([*IN_FILE, "--model", "tiny/99"], "version=99) not found"),
    "no such alias": ([*IN_FILE, "--model", "tiny@x"], "alias x not found"),
    "an empty folder": (["score", "EMPTY", "--experiment", "FILE"], "no pictures in this folder (0 other files)"),
    "nowhere to write": ([*IN_FILE, "--out", "no/x.csv"], "no/x.csv: it cannot be written; give another place"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(
    mistake: str,
    swept: Swept,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words, message = MISTAKES[mistake]
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    names = {"FILE": str(swept.file), "PHOTO": str(swept.photos() / "4-0.png"), "EMPTY": "empty"}
    assert cli.main([names.get(word, word) for word in words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not Path("scores.csv").exists()


def test_a_model_that_is_not_ours_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "loads.py").write_text("def _load_pyfunc(path):\n    raise AssertionError('it was loaded')\n")
    mlflow.pyfunc.save_model(
        tmp_path / "other", loader_module="loads", code_paths=[str(tmp_path / "loads.py")], pip_requirements=["numpy"]
    )
    with pytest.raises(ValueError, match="not made by `rsrl register`"):
        registered.load_model(str(tmp_path / "other"), None)


def test_several_models_must_be_told_apart(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    MlflowClient(uri).search_experiments()
    with registered.open_store(uri) as client:
        with pytest.raises(ValueError, match="name a model by --model; there is none, `rsrl register` makes one"):
            registered.find_model(client, None)
        for name in ("one", "other"):
            client.create_registered_model(name)
        with pytest.raises(ValueError, match="name a model by --model; there are one, other"):
            registered.find_model(client, None)


def test_a_changed_recipe_is_said(swept: Swept, tmp_path: Path) -> None:
    content = yaml.safe_load(swept.file.read_text())
    changed = content | {"storage": swept.experiment.storage, "revision": {"membership": "softmax"}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))
    with pytest.raises(ValueError, match=r"revision.membership was sigmoid, is softmax. Run `rsrl sweep` on the file"):
        registry.register(read_experiment(tmp_path / "tiny.yaml"), None, None, None)


def test_weights_that_are_gone_are_made_again_as_the_message_says(swept: Swept) -> None:
    experiment, archive = swept.experiment, Archive(swept.experiment.storage)
    found = find_results(experiment)
    choice = registry.choose(found, experiment, "none", 0)
    key = choice.run.tags[key_tag(choice.number)]
    before = archive.read_weights(key)
    assert before is not None
    Path(archive.where(key), "weights.safetensors").unlink()
    with pytest.raises(ValueError, match=r"are no longer in storage; delete .* and run `rsrl sweep`") as said:
        registry.register(experiment, "none", 0, None)
    folder = str(said.value).split("delete ")[1].split(" and run")[0]
    shutil.rmtree(folder)
    assert cli.main(["sweep", str(swept.file)]) == 0
    after = archive.read_weights(key)
    assert after is not None
    assert all(np.array_equal(after[name], before[name]) for name in before)
    made = registry.register(experiment, "none", 0, None).choice
    assert (made.run.id, made.number, str(made)) == (choice.run.id, choice.number, str(choice))


def test_mlflow_serves_it(swept: Swept, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/tiny/1", "--env-manager", "local"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", port],
            env=os.environ
            | {"MLFLOW_TRACKING_URI": swept.uri, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/ping", server, tmp_path / "log")
        photo = swept.photos() / "4-0.png"
        model = registered.load_model("tiny/1", swept.uri).model
        expected: Any = model.predict(pd.DataFrame({"path": [str(photo)]}))
        encoded = base64.b64encode(photo.read_bytes()).decode()
        assert _asked(port, [{"photo": encoded}]) == expected.to_dict("records")
        for_urls = f"data:image/png;base64,{base64.urlsafe_b64encode(photo.read_bytes()).decode()}"
        assert _asked(port, [{"photo": for_urls}]) == expected.to_dict("records")
        by_path = _asked(port, [{"path": str(photo)}, {"path": "gone.jpg"}])
        assert by_path[0] == pytest.approx(expected.to_dict("records")[0], abs=1e-5)
        assert by_path[1] == dict.fromkeys(by_path[0]) | {"error": "missing (there is no gone.jpg)"}
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # its workers too
        server.wait()


def _wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"the server did not start: {log.read_text()}")


def _asked(port: str, records: list[dict[str, str]]) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps({"dataframe_records": records}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: list[dict[str, Any]] = json.load(answer)["predictions"]
    return found
