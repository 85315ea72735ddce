"""What lies in a storage, who needs it, and that what nobody needs is all that is freed."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from rsrl_ray.cli import main as cli
from rsrl_ray.config import Experiment
from rsrl_ray.core.digest import digest
from rsrl_ray.core.trial import Link, Origin, TrialKey
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.identity import photos_digest, recipe, trial_id
from rsrl_ray.inventory import NOBODY, Item, inventory
from rsrl_ray.method import methods_of
from rsrl_ray.photos.decoding import Decoder
from rsrl_ray.photos.photo_set import PhotoSet, load_photos
from rsrl_ray.store.archive import Archive, Record, array_digest
from rsrl_ray.store.holders import (
    EVERY_ROUND,
    WAITING,
    Holder,
    data_holder,
    hold_file,
    model_holder,
    sweep_holder,
    trial_holder,
)
from rsrl_ray.store.locks import locked
from rsrl_ray.store.processes import process
from rsrl_ray.tracking.entries import Round, SweepRun, Trial
from rsrl_ray.tracking.names import LEASE
from rsrl_ray.tracking.needs import NOT_KNOWN, OWN
from rsrl_ray.tracking.read import artifacts_root
from rsrl_ray.tracking.stores import mlflow_uri
from rsrl_ray.tracking.write import Tracker

Write = Callable[..., Path]
KNOBS: dict[str, Any] = {"schedules": {"firm": {1: 0.5}}, "folds": {"count": 2, "use": [0]}, "rounds": 3}


class Storage:
    """A storage in which files were swept: what their sweeps leave is made without training."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.file = write(**KNOBS)
        self.experiment = read_experiment(self.file)
        self.archive = Archive(self.experiment.storage)

    def variant(self, **knobs: Any) -> Experiment:
        """The file with other knobs; it stays as it was."""
        found = read_experiment(self._write(**KNOBS | knobs))
        self._write(**KNOBS)
        return found

    def sweep(self, experiment: Experiment, sweep: str, photos: PhotoSet | None = None) -> dict[str, Holder]:
        """Track a sweep and its trials, with the rounds ``sweep-METHOD``; by method, who holds their weights."""
        photos = photos or self.load(experiment)
        tracker = Tracker(mlflow_uri(experiment), experiment.name, artifacts_root(experiment), print)
        pairs = list(zip(photos.images, photos.scores.tolist(), strict=True))
        folds = "image,score,fold_0\n" + "".join(f"{image},{score},train\n" for image, score in pairs)
        files = {"folds.csv": folds, "experiment.yaml": f"storage: {experiment.storage}\n"}
        tracker.open_sweep(SweepRun(sweep, recipe(experiment), "", files, {"rsrl.photos": photos_digest(pairs)}))
        holders = {}
        for name, method in methods_of(experiment).items():
            key = TrialKey(0, name)
            identity = trial_id(sweep, key, method)
            data = digest([photos.fingerprint, photos.scores.tolist()])
            trial = Trial(identity, key, {**method.params, "data_fingerprint": data})
            link = Link(f"{sweep}-{name}")
            if not tracker.take_up(trial, [link], Origin()):
                tracker.log_rounds(trial, [Round(1, {"test_macro_f1": 0.5}, "", link, 1000.0, lambda folder: None)])
            tracker.end_trial(trial, "FINISHED")
            holders[name] = trial_holder(experiment.name, key, identity)
            self.round(link.key, holders[name])
        tracker.end_sweep("FINISHED")
        return holders

    def round(self, key: str, *holders: Holder, parent: str | None = "") -> None:
        """A round in the archive, held by these."""
        for holder in holders:
            self.archive.hold(key, holder.id, holder.words)
        record = Record(1, np.zeros((2, 3), np.float32), np.ones(2, bool), {}, "maker", 0.0, 0.0, parent)
        self.archive.write(key, record, {"w": np.zeros(100, np.float32)})

    def load(self, experiment: Experiment) -> PhotoSet:
        """Decode its photos."""
        folder = Path(experiment.storage) / "photos"
        return load_photos(experiment.photos, Decoder(experiment.network.image_size), folder)

    def weights(self) -> set[str]:
        """The rounds that have theirs."""
        return {path.parent.name for path in Path(self.experiment.storage).glob("rounds/*/*/weights.safetensors")}

    def pixels(self) -> set[Path]:
        return set(Path(self.experiment.storage).glob("photos/*.npy"))

    def items(self, kind: str) -> dict[str, Item]:
        """Those of a kind, by what they are."""
        return {item.who: item for item in inventory(self.experiment) if item.kind == kind}

    def prune(self, *words: str) -> int:
        return cli.main(["prune", str(self.file), *words])


@pytest.fixture
def storage(experiment_file: Write) -> Storage:
    return Storage(experiment_file)


def test_weights_that_only_older_recipes_and_methods_held_are_freed(
    storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Holder("elsewhere", "other", "fold 0, firm")
    before = storage.sweep(storage.variant(schedules={"firm": {1: 0.5}, "gone": {1: 0.7}}), "now")
    older = storage.sweep(storage.variant(seed=7), "older")
    now = storage.sweep(storage.experiment, "now")["firm"]
    name = storage.experiment.name
    storage.round("shared", now, older["firm"], other)
    storage.round("others", older["firm"], other)
    storage.round("waiting", sweep_holder(name, "now", WAITING))
    storage.round("waited", sweep_holder(name, "older", WAITING))
    storage.round("every", sweep_holder(name, "now", EVERY_ROUND))
    every = sweep_holder(name, "now", EVERY_ROUND)
    storage.archive.hold("now-gone", every.id, every.words)
    storage.round("nobodys")
    storage.round("ancient", parent=None)  # from before holders were noted
    assert storage.weights() == {
        *("now-firm", "now-gone", "older-firm", "shared", "others"),
        *("waiting", "waited", "every", "nobodys", "ancient"),
    }
    weights = storage.items("weights")
    assert {who: (item.what, item.is_free) for who, item in weights.items()} == {
        OWN: ("3 rounds", False),
        f"{OWN}, experiment other": ("1 round", False),
        "experiment other": ("1 round", False),
        NOT_KNOWN: ("1 round", False),
        NOBODY: ("1 round", True),
        f"{NOBODY}: once firm": ("1 round", True),
        f"{NOBODY}: once every round, gone": ("1 round", True),
        f"{NOBODY}: once {WAITING}": ("1 round", True),
    }
    size = os.path.getsize(Path(storage.archive.where("shared"), "weights.safetensors"))
    assert weights[OWN].size == 3 * size and time.time() - weights[OWN].time < 60
    everything = storage.weights()
    for path in Path(storage.archive.where("others")).rglob("*"):
        os.utime(path, times=2 * (time.time() - 90_000,))
    assert storage.prune() == 0
    assert storage.weights() == everything
    out = capsys.readouterr().out
    listed = [line.split() for line in out.splitlines() if line.startswith("weights")]
    assert [*("weights", "1", "round", f"{size}", "bytes", "1", "day", "experiment", "other")] in listed
    assert f"nobody needs 1.9 kB: rsrl prune {storage.file} --yes frees them" in out
    assert storage.prune("--yes") == 0
    assert "freed: 1.9 kB" in capsys.readouterr().out
    assert storage.weights() == {"now-firm", "shared", "others", "waiting", "every", "ancient"}
    held = Path(storage.archive.where("shared"), "held")
    assert {path.name for path in held.iterdir()} == {now.id, other.id}
    assert storage.archive.read("older-firm") is not None  # records stay
    assert before["firm"] == now and not any(item.is_free for item in inventory(storage.experiment))
    assert storage.prune() == 0
    assert "all of it is needed, or it is not known who needs it" in capsys.readouterr().out


def test_with_needed_weights_a_sweep_no_longer_needs_every_round(storage: Storage) -> None:
    storage.sweep(storage.experiment, "now")
    storage.round("every", sweep_holder(storage.experiment.name, "now", EVERY_ROUND))
    assert OWN in storage.items("weights")
    needed = replace(storage.experiment, archive=replace(storage.experiment.archive, weights="needed"))
    assert [item.is_free for item in inventory(needed) if item.who == f"{NOBODY}: once {EVERY_ROUND}"] == [True]


def test_weights_of_registered_models_are_freed_with_their_last_version(storage: Storage) -> None:
    storage.sweep(storage.experiment, "now")
    client = MlflowClient(mlflow_uri(storage.experiment))
    for place, name in enumerate(("stays", "deleted")):
        storage.round(f"model{place}", model_holder(storage.experiment.name, name))
        client.create_registered_model(name)
        run = client.search_runs(["1"], "tags.`rsrl.trial` != ''")[0].info.run_id
        client.create_model_version(name, "s3://x/y", run, {"rsrl.key": f"model{place}"})
    storage.round("model2", model_holder("another", "deleted"))
    assert not any(item.is_free for item in inventory(storage.experiment))
    client.delete_registered_model("deleted")
    assert storage.prune("--yes") == 0
    assert storage.weights() == {"now-firm", "model0", "model2"}


def test_of_decoded_photos_those_of_edited_tables_are_freed(storage: Storage, tmp_path: Path, photos_csv: Path) -> None:
    table = tmp_path / "photos.csv"
    lines = photos_csv.read_text().splitlines()
    rows = [f"{photos_csv.parent / line.partition(',')[0]},{line.partition(',')[2]}" for line in lines[1:]]

    def edited(count: int) -> PhotoSet:
        table.write_text("\n".join([lines[0], *rows[:count]]) + "\n")
        return storage.load(replace(storage.experiment, photos=str(table)))

    own = replace(storage.experiment, photos=str(table))
    sets = {count: edited(count) for count in (25, 26, 27, 28, 29)}
    hold_file(sets[25].pixels_path, data_holder(own, "first"))
    hold_file(sets[26].pixels_path, data_holder(own, "second"))
    hold_file(sets[26].pixels_path, data_holder(replace(own, name="other"), "first"))
    storage.sweep(own, "third", sets[27])  # of a version that did not note who uses them
    now = storage.load(storage.experiment)
    storage.sweep(storage.experiment, "now", now)
    hold_file(now.pixels_path, data_holder(own, "now"))
    assert len(storage.pixels()) == 6
    found = {item.what: (item.who, item.is_free) for item in inventory(storage.experiment)}
    once = f"{NOBODY}: an older sweep of this file had it"
    assert [found[photos.pixels_path.name] for photos in (*sets.values(), now)] == [
        (once, True),
        ("experiment other", False),
        (once, True),
        (NOT_KNOWN, False),
        (NOT_KNOWN, False),
        (OWN, False),
    ]
    assert storage.prune("--yes") == 0
    assert storage.pixels() == {sets[count].pixels_path for count in (26, 28, 29)} | {now.pixels_path}
    assert len(list(sets[26].pixels_path.parent.glob(f"{sets[26].pixels_path.stem}*.user"))) == 1
    assert {path.name for path in sets[27].pixels_path.parent.glob(f"{sets[27].pixels_path.stem}*")} == set()
    sets[27].pixels()  # a cache: what was freed is made again


def test_of_features_and_frozen_weights_those_that_nothing_names_are_freed(storage: Storage) -> None:
    ours = storage.sweep(storage.experiment, "now")
    own, folder = storage.experiment, Path(storage.experiment.storage) / "features"
    users = {"older": [(own, "before")], "ours": [(own, "before"), (own, "now")], "untold": []}
    users["shared"] = [(own, "before"), (replace(own, name="other"), "before")]
    folder.mkdir()
    for name, holders in users.items():
        (folder / f"{name}.npy").write_bytes(b"features")
        for experiment, sweep in holders:
            hold_file(folder / f"{name}.npy", data_holder(experiment, sweep))
    weights = [{"w": np.full(3, value, np.float32)} for value in (1, 2, 3)]
    named, nobodys, once = map(array_digest, weights)
    record = Record(1, np.zeros((2, 3), np.float32), np.ones(2, bool), {}, "maker", 0.0, 0.0, "")
    for frozen, each in zip((named, nobodys, once), weights, strict=True):
        storage.archive.write_frozen(frozen, each)
    storage.archive.write("frozen", replace(record, frozen=named), {"w": np.zeros(1, np.float32)})
    storage.archive.write("freed", replace(record, frozen=once), {"w": np.zeros(1, np.float32)})
    older = trial_holder(own.name, TrialKey(0, "gone"), "before")  # so that its weights are freed as well
    for key, holder in (("frozen", next(iter(ours.values()))), ("freed", older)):
        storage.archive.hold(key, holder.id, holder.words)
    found = {item.what.partition(".")[0]: (item.who, item.is_free) for item in inventory(own)}
    assert {name: found[name] for name in (*users, named, nobodys, once)} == {
        "older": (f"{NOBODY}: an older sweep of this file had it", True),
        "ours": (OWN, False),
        "untold": (NOT_KNOWN, False),
        "shared": ("experiment other", False),
        named: ("1 round", False),
        nobodys: (NOBODY, True),
        once: (NOBODY, True),
    }
    assert storage.prune("--yes") == 0
    assert sorted(path.stem for path in folder.glob("*.npy")) == ["ours", "shared", "untold"]
    assert len(list(folder.glob("*.user"))) == 2  # of this file's sweep of now, and of the other experiment's
    assert [path.stem for path in Path(own.storage).glob("frozen/*")] == [named]


def test_half_files_of_killed_processes_are_freed_after_an_hour_and_nothing_else(storage: Storage) -> None:
    storage.sweep(storage.experiment, "now")
    folder = Path(storage.experiment.storage)
    old = [folder / "photos" / f"{'a' * 32}.part", folder / "rounds" / "ab" / "abc" / f"weights.{'0' * 32}.tmp"]
    others = [folder / "photos" / f"{'b' * 32}.part", folder / "devices" / "note.json"]
    for path in (*old, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    for path in old:
        os.utime(path, (0, 0))
    before = {path for path in folder.rglob("*") if path.is_file()}
    assert storage.prune("--yes") == 0
    assert before - {path for path in folder.rglob("*") if path.is_file()} == set(old)


def test_while_a_sweep_runs_nothing_is_freed(storage: Storage, capsys: pytest.CaptureFixture[str]) -> None:
    storage.sweep(storage.experiment, "now")
    storage.round("nobodys")
    with locked(Path(storage.experiment.storage) / "other.lock"):
        assert storage.prune("--yes") == 2
    assert "other in " in (said := capsys.readouterr().err) and "is being swept" in said
    client = MlflowClient(mlflow_uri(storage.experiment))
    found = client.get_experiment_by_name(storage.experiment.name)
    assert found is not None
    client.set_experiment_tag(found.experiment_id, LEASE, f"{process()}:random")
    assert storage.prune() == 2
    assert f"{storage.experiment.name} is being swept in this storage" in capsys.readouterr().err
    client.delete_experiment_tag(found.experiment_id, LEASE)
    assert "nobodys" in storage.weights()
    assert storage.prune("--yes") == 0
    assert "nobodys" not in storage.weights()


def test_a_file_that_was_not_swept_as_it_stands_is_refused(
    storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert storage.prune() == 2
    assert "no results of tiny yet" in capsys.readouterr().err
    storage.sweep(storage.experiment, "now")
    assert storage.prune("--seed", "7", "--yes") == 2
    assert "was not swept as the file stands now (seed was 0, is 7)" in capsys.readouterr().err
    assert storage.weights() == {"now-firm"}
