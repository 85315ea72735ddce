"""An experiment file's results among all that a real MLflow store holds; reading makes and changes nothing."""

import hashlib
import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from conftest import write_experiment
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from rsrl_ray.cli import main as cli
from rsrl_ray.config import Experiment
from rsrl_ray.core.trial import Link, Origin, TrialKey
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.identity import photos_digest, recipe, weights_digest
from rsrl_ray.method import methods_of
from rsrl_ray.photos.groups import names_digest
from rsrl_ray.photos.table import read_table
from rsrl_ray.tracking.entries import Round, SweepRun, Trial
from rsrl_ray.tracking.find import Found, find_results
from rsrl_ray.tracking.read import artifacts_root
from rsrl_ray.tracking.stores import mlflow_uri
from rsrl_ray.tracking.write import Tracker

Write = Callable[..., Path]
HERE = Origin("start", "cpu-AVX2", ("torch 2.8.0",))


def photos_of(experiment: Experiment) -> list[tuple[str, int]]:
    table = read_table(experiment.photos)
    return list(zip(table.images, table.scores.tolist(), strict=True))


def sweep(
    experiment: Experiment,
    name: str,
    rounds: int,
    left_out: str = "",
    photos: list[tuple[str, int]] | None = None,
    origin: Origin = HERE,
    old: bool = False,
) -> None:
    """Track a sweep of the experiment as its driver does, with made-up values; ``old``: as it was before its tags."""
    tracker = Tracker(mlflow_uri(experiment), experiment.name, artifacts_root(experiment), print)
    photos = photos_of(experiment) if photos is None else photos
    rows = "".join(f"{image},{score},train\n" for image, score in photos)
    files = {"folds.csv": f"image,score,fold_0\n{rows}"} | ({"left_out.txt": left_out} if left_out else {})
    tags = {} if old else {"rsrl.photos": photos_digest(photos), "rsrl.weights": weights_digest(experiment)}
    groups = names_digest(read_table(experiment.photos), {image for image, _ in photos})
    tags |= {"rsrl.groups": groups} if groups and not old else {}
    tracker.open_sweep(SweepRun(name, recipe(experiment), "", files, tags))
    for method, asked in methods_of(experiment).items():
        trial = Trial(f"{name} {method} {asked}", TrialKey(0, method), asked.params)
        keys = [Link(f"{trial.id} {origin.device} {number}") for number in range(1, rounds + 1)]
        logged = tracker.take_up(trial, keys, origin)
        done = [
            Round(
                number, {"test_macro_f1": number / 100, "train_size": 9.0}, "", keys[number - 1], 1000.0, lambda _: None
            )
            for number in range(logged + 1, rounds + 1)
        ]
        if done:
            tracker.log_rounds(trial, done)
        tracker.end_trial(trial, "FINISHED")
    tracker.end_sweep("FINISHED")


def seen(found: Found) -> tuple[str, dict[str, int], bool, int]:
    """The sweep that was found, rounds by method, whether it is the file's own, how many sentences it takes."""
    rounds = {key.method: run.rounds for key, run in found.trials.items()}
    return found.sweep.tags["rsrl.sweep"], rounds, found.is_own, len(found.differs)


@pytest.fixture
def file(experiment_file: Write) -> Write:
    def file(**knobs: Any) -> Path:
        defaults: dict[str, Any] = {"schedules": {"firm": {1: 0.5}}, "folds": {"count": 2, "use": [0]}, "rounds": 3}
        return experiment_file(**(defaults | knobs))

    return file


def test_the_sweep_with_the_files_weights_is_taken_or_what_differs_is_said(file: Write, tmp_path: Path) -> None:
    weights = {name: tmp_path / name / "weights.pt" for name in ("a", "b")}
    for name, path in weights.items():
        path.parent.mkdir()
        path.write_text(name)
    network = {"backbone": "small", "image_size": 32}
    files = {name: read_experiment(file(network={**network, "weights": str(weights[name])})) for name in "ab"}
    sweep(files["a"], "of a", 2)
    sweep(files["b"], "of b", 3)
    assert seen(find_results(files["a"])) == ("of a", {"firm": 2}, True, 0)
    assert seen(find_results(files["b"])) == ("of b", {"firm": 3}, True, 0)
    moved = tmp_path / "elsewhere.pt"  # the same weights
    weights["a"].rename(moved)
    assert seen(find_results(read_experiment(file(network={**network, "weights": str(moved)}))))[0] == "of a"
    found = find_results(read_experiment(file(network={**network, "weights": "imagenet"})))
    assert seen(found) == ("of b", {"firm": 3}, False, 1)
    assert f"network.weights was {weights['b']}, is imagenet" in found.differs[0]


def test_an_older_sweep_of_other_weights_is_known_by_the_knob(file: Write) -> None:
    none = read_experiment(file())
    imagenet = replace(none, network=replace(none.network, weights="imagenet"))
    sweep(imagenet, "imagenet", 2, old=True)
    sweep(none, "none", 3, old=True)
    assert seen(find_results(imagenet)) == ("imagenet", {"firm": 2}, True, 0)
    assert seen(find_results(none)) == ("none", {"firm": 3}, True, 0)
    there, here = (
        replace(none, network=replace(none.network, weights=f"/{place}/w.pt")) for place in ("there", "here")
    )
    sweep(there, "file", 1, old=True)
    assert seen(find_results(here))[0] == "file"


@pytest.mark.parametrize("keys", ["user:pass@", "***@"])  # noted by older versions, and today
def test_the_sweep_of_photos_whose_uris_hold_keys_is_taken_whatever_the_keys_are(
    file: Write, tmp_path: Path, keys: str
) -> None:
    table, uris = tmp_path / "photos.csv", [f"s3://{{}}bucket/{name}.png" for name in "abcd"]
    table.write_text(
        "image,score\n" + "".join(f"{uri.format('user:new@')},{row % 2}\n" for row, uri in enumerate(uris))
    )
    experiment = replace(read_experiment(file()), photos=str(table))
    names = [(uri.format(keys), row % 2) for row, uri in enumerate(uris)]
    sweep(experiment, "whole", 2, photos=names)
    assert seen(find_results(experiment)) == ("whole", {"firm": 2}, True, 0)
    sweep(experiment, "less", 1, photos=names[:-1], left_out=f"line 5, {uris[-1].format('***@')}: zero bytes\n")
    assert seen(find_results(experiment)) == ("less", {"firm": 1}, True, 0)
    sweep(experiment, "others", 1, photos=[("s3://bucket/e.png", 0)])
    assert seen(find_results(experiment)) == ("less", {"firm": 1}, True, 0)


def test_the_sweep_of_the_files_groups_is_taken(file: Write, photos_csv: Path, tmp_path: Path) -> None:
    head, *lines = photos_csv.read_text().splitlines()
    tables = {
        "none": [head, *lines],
        "bursts": [f"{head},group", *(f"{line},{place // 3}" for place, line in enumerate(lines))],
        "scenes": [f"{head},group", *(f"{line},{place // 5}" for place, line in enumerate(lines))],
    }
    files, experiment = {}, read_experiment(file())
    for name, content in tables.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(content) + "\n")
        files[name] = replace(experiment, photos=str(tmp_path / f"{name}.csv"))
        sweep(files[name], name, 2)
    for name, experiment in files.items():
        assert seen(find_results(experiment)) == (name, {"firm": 2}, True, 0)
    alone = [f"{head},group", *(f"{line},{place}" for place, line in enumerate(lines))]  # nobody belongs to anybody
    (tmp_path / "none.csv").write_text("\n".join(alone) + "\n")
    assert seen(find_results(files["none"])) == ("none", {"firm": 2}, True, 0)
    (tmp_path / "none.csv").write_text("\n".join([f"{head},group", f"{lines[0]},other", *tables["bursts"][2:]]) + "\n")
    found = find_results(files["none"])
    assert not found.is_own and "the groups of the photos are different" in found.differs[0]


@pytest.mark.parametrize("old", [True, False])
def test_the_sweep_of_the_files_photos_is_taken(file: Write, photos_csv: Path, tmp_path: Path, old: bool) -> None:
    lines = photos_csv.read_text().splitlines()
    tables = {"all": lines, "fewer": lines[:-1], "other": [*lines[:-1], lines[-1][:-1] + "9"]}
    files, experiment = {}, read_experiment(file())
    for name, content in tables.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(content) + "\n")
        files[name] = replace(experiment, photos=str(tmp_path / f"{name}.csv"))
        sweep(files[name], name, 2, old=old)
    for name, experiment in files.items():
        assert seen(find_results(experiment)) == (name, {"firm": 2}, True, 0)
    (tmp_path / "all.csv").write_text("image,score\nx.png,3\n")
    found = find_results(files["all"])
    assert seen(found) == ("other", {"firm": 2}, False, 1)
    assert "the photos or their scores are different" in found.differs[0]
    (tmp_path / "all.csv").unlink()  # as on a machine that has no photos
    found = find_results(files["all"])
    assert seen(found) == ("other", {"firm": 2}, True, 1)
    assert "cannot be read here, so the sweep's photos were not compared with it" in found.differs[0]


def test_photos_that_were_left_out_are_no_difference(file: Write) -> None:
    experiment = read_experiment(file())
    photos = photos_of(experiment)
    left_out = f"line 2, {photos[0][0]}: missing\n"
    sweep(experiment, "some", 2, left_out, photos[1:])
    assert seen(find_results(experiment)) == ("some", {"firm": 2}, True, 0)


def test_every_reader_takes_the_files_thresholds_and_rounds(file: Write, capsys: pytest.CaptureFixture[str]) -> None:
    half, strict = file(name="tiny"), {"firm": {1: 0.9}}
    sweep(read_experiment(half), "one", 3)
    sweep(replace(read_experiment(half), schedules=strict), "one", 2)
    sweep(read_experiment(half), "one", 3)
    found = find_results(read_experiment(half))
    assert seen(found) == ("one", {"firm": 3}, True, 0)
    assert found.trials[TrialKey(0, "firm")].params["thresholds"] == "from revision 1: 0.5, 0.5, 0.5"
    assert cli.main(["show", str(half)]) == 0
    assert "3/3" in capsys.readouterr().out
    assert cli.main(["show", str(half), "--schedules", "{firm: {1: 0.9}}"]) == 0
    assert "2/3" in capsys.readouterr().out
    cut = find_results(read_experiment(half, ["--rounds", "2"]))
    assert seen(cut) == ("one", {"firm": 2}, True, 0)
    assert cut.states[TrialKey(0, "firm")].curves["test_macro_f1"].tolist() == [0.01, 0.02]
    assert cli.main(["show", str(half), "--rounds", "2"]) == 0
    assert "2/2" in capsys.readouterr().out
    assert cli.main(["show", str(half), "--schedules", "{firm: {1: 0.7}}"]) == 0  # edited, not swept yet
    printed = " ".join(capsys.readouterr().out.split())
    assert "waiting" in printed and "0.03" not in printed
    was, now = "from revision 1: 0.5, 0.5, 0.5", "from revision 1: 0.7, 0.7, 0.7"
    assert (
        f"Method firm was swept with other settings (thresholds was {was}, is {now}): those are other trials."
        in printed
    )


def test_the_curves_of_all_trials_are_asked_for_at_once(file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = read_experiment(file(schedules={f"s{place}": {1: place / 10} for place in range(7)}))
    sweep(experiment, "whole", 3)
    asked: list[str] = []
    bulk, single = SqlAlchemyStore.get_metric_history_bulk, SqlAlchemyStore.get_metric_history
    monkeypatch.setattr(SqlAlchemyStore, "get_metric_history_bulk", lambda *all_: asked.append("bulk") or bulk(*all_))
    monkeypatch.setattr(SqlAlchemyStore, "get_metric_history", lambda *all_: asked.append("single") or single(*all_))
    states = find_results(replace(experiment, rounds=2)).states
    assert asked == ["bulk"] * 2  # of the three metrics one is not logged
    assert [state.curves["test_macro_f1"].tolist() for state in states.values()] == [[0.01, 0.02]] * 7
    assert all(np.isnan(state.curves["validation_macro_f1"]).all() for state in states.values())


def test_another_recipe_is_said_and_a_knob_that_the_file_no_longer_has_counts(file: Write) -> None:
    experiment = read_experiment(file())
    sweep(experiment, "one", 2)
    faster = replace(experiment, training=replace(experiment.training, learning_rate=0.02))
    found = find_results(faster)
    assert seen(found) == ("one", {"firm": 2}, False, 1)
    assert "these are the older results: training.learning_rate was 0.01, is 0.02." in found.differs[0]
    client = MlflowClient(mlflow_uri(experiment))
    client.log_param(found.sweep.id, "training.new_knob", "7")
    assert "training.new_knob was 7, is its default" in find_results(experiment).differs[0]


def test_of_two_chains_the_one_taken_up_last_is_read_and_machines_that_differ_are_named(file: Write) -> None:
    experiment = read_experiment(file(schedules={"firm": {1: 0.5}, "none": {1: 0.0}}))
    sweep(experiment, "one", 3)
    elsewhere = Origin("elsewhere", "cpu-AVX512", ("torch 2.8.0",))
    firm = replace(experiment, schedules={"firm": {1: 0.5}})
    sweep(firm, "one", 2, origin=elsewhere)
    found = find_results(experiment)
    assert seen(found) == ("one", {"firm": 2, "none": 3}, True, 1)
    assert found.differs[0].startswith(
        "The trials were made on several kinds of machine: cpu-AVX512 (torch 2.8.0), cpu"
    )
    sweep(firm, "one", 3)
    assert seen(find_results(experiment)) == ("one", {"firm": 3, "none": 3}, True, 0)


READERS = ["show", "ui", "analyze", "highlight", "register", "score"]


@pytest.mark.parametrize("store", ["", "sqlite:///{}/track.db", "sqlite:///{}/there.db"])
def test_a_look_before_the_first_sweep_makes_nothing(
    experiment_file: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    store: str,
) -> None:
    if "there" in store:  # another experiment's
        MlflowClient(store.format(tmp_path)).create_experiment("other")
    file = experiment_file(name="tiny", **({"mlflow": store.format(tmp_path)} if store else {}))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = contents(tmp_path)
    for command in READERS:
        words = ["photo.png", "--experiment", str(file)] if command == "score" else [str(file)]
        assert cli.main([command, *words]) == 2, command
        said = capsys.readouterr().err
        wanted = r"there is no (MLflow store|model)" if command == "score" else "no results of tiny yet"
        assert re.search(wanted, said), (command, said)
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, and of databases what is in them."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and "-" not in path.suffix}


@pytest.mark.slow
def test_a_database_of_an_older_mlflow_is_migrated_by_a_sweep_alone_and_announced(
    experiment_file: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow.store.db import utils

    databases: Any = utils
    file = tmp_path / "track.db"
    uri = f"sqlite:///{file}"
    experiment = read_experiment(experiment_file(name="tiny", mlflow=uri))
    engine = databases.create_sqlalchemy_engine(uri)
    databases.InitialBase.metadata.create_all(engine)
    scripts = databases.ScriptDirectory.from_config(databases._get_alembic_config(uri))
    revision = [script.revision for script in scripts.walk_revisions()][3]
    from alembic import command

    config = databases._get_alembic_config(uri)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    for words in (["show", str(tmp_path / "tiny.yaml")], ["analyze", str(tmp_path / "tiny.yaml")]):
        assert cli.main(words) == 2
        assert "was made by an older MLflow, and opening it would migrate it for ever" in capsys.readouterr().err
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before
    said: list[str] = []
    tracker = Tracker(uri, "tiny", artifacts_root(experiment), said.append)
    assert tracker.newest() is None
    (line,) = said
    assert line == (
        f"mlflow: {uri} was made by an older MLflow and is migrated to {mlflow.__version__} now: "
        "the older one can then no longer open it"
    )
    with sqlite3.connect(file) as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    for open_it in (lambda: find_results(experiment), lambda: Tracker(uri, "tiny", None, said.append)):
        with pytest.raises(ValueError, match="was made by a newer MLflow than the installed"):
            open_it()


def test_a_tracking_server_that_is_away_is_one_sentence(
    experiment_file: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = experiment_file(mlflow="http://user:secret@127.0.0.1:9")
    for command in ("show", "analyze", "highlight", "register", "ui"):
        assert cli.main([command, str(file)]) == 2
        said = capsys.readouterr().err
        assert "mlflow: http://***@127.0.0.1:9 does not answer; check that the server runs" in said
        assert "secret" not in said and len(said.splitlines()) == 1


def test_a_server_that_goes_away_while_it_is_read(file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = read_experiment(file())
    sweep(experiment, "one", 1)
    found = find_results(experiment)
    (run,) = found.trials.values()
    gone = mlflow.exceptions.MlflowException("API request to http://x failed with exception HTTPConnectionPool(...)")

    def refuse(*_: object, **__: object) -> None:
        raise gone

    monkeypatch.setattr(MlflowClient, "search_runs", refuse)
    monkeypatch.setattr(SqlAlchemyStore, "get_metric_history_bulk", refuse)
    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", refuse)
    results = found.results
    for read in (
        lambda: results.sweep_runs(),
        lambda: results.trial_runs(found.sweep),
        lambda: found.states,
        lambda: run.artifacts.read("folds.csv", Path.read_text),
    ):
        with pytest.raises(ValueError, match=r"^mlflow: sqlite:"):
            read()


def test_a_parent_run_that_was_deleted_is_said(file: Write) -> None:
    experiment = read_experiment(file())
    sweep(experiment, "one", 1)
    found, client = find_results(experiment), MlflowClient(mlflow_uri(experiment))
    client.delete_run(found.sweep.id)
    with pytest.raises(
        ValueError, match=r"no sweep of tiny is in MLflow; run `rsrl sweep` on the file first, or restore"
    ):
        find_results(experiment)
    client.restore_run(found.sweep.id)
    assert seen(find_results(experiment)) == ("one", {"firm": 1}, True, 0)
    client.rename_experiment(found.results.experiment_id, "renamed")
    assert seen(find_results(experiment)) == ("one", {"firm": 1}, True, 0)
    client.delete_experiment(found.results.experiment_id)
    with pytest.raises(ValueError, match="'renamed' was deleted; restore it"):
        find_results(experiment)


def test_an_experiment_that_is_not_there_in_a_store_that_is(photos_csv: Path, tmp_path: Path) -> None:
    one, other = (
        read_experiment(write_experiment(tmp_path, photos_csv, name=name, folds={"count": 2, "use": [0]}))
        for name in ("one", "other")
    )
    sweep(one, "one", 1)
    with pytest.raises(ValueError, match="no results of other yet"):
        find_results(other)
