"""What users get wrong, and the one message that each gets: what is wrong, where, what to do."""

import fcntl
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import safetensors.numpy
import torch
import yaml
from PIL import Image

from rsrl_ray.cli import main as cli

Place = Path  # a folder with photos.csv, its pictures and tiny.yaml


@pytest.fixture
def place(photos_csv: Path, tmp_path: Path) -> Place:
    shutil.copytree(photos_csv.parent, tmp_path, dirs_exist_ok=True)
    content = {
        "name": "tiny",
        "photos": "photos.csv",
        "network": {"backbone": "small", "weights": "none", "image_size": 32},
        "rounds": 1,
        "folds": {"count": 2},
        "schedules": {"none": {1: 0.0}},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def knob(**changes: Any) -> Callable[[Place], None]:
    """The experiment file with top-level knobs changed."""

    def change(place: Place) -> None:
        content = yaml.safe_load((place / "tiny.yaml").read_text())
        (place / "tiny.yaml").write_text(yaml.safe_dump(content | changes))

    return change


def method(**knobs: Any) -> Callable[[Place], None]:
    """The experiment file with a method beside its schedule."""
    return knob(methods={"a": knobs})


def network(**changes: Any) -> Callable[[Place], None]:
    return knob(network={"backbone": "small", "weights": "none", "image_size": 32} | changes)


def weights_file(write: Callable[[Path], object], name: str = "weights.pt") -> Callable[[Place], None]:
    def change(place: Place) -> None:
        write(place / name)
        network(weights=name)(place)

    return change


def lines(*added: str) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        with (place / "photos.csv").open("a") as table:
            table.write("".join(f"{line}\n" for line in added))

    return change


def table(content: str | bytes) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        (place / "photos.csv").write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def truncated(place: Place) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(place / "cut.jpg")
    (place / "cut.jpg").write_bytes((place / "cut.jpg").read_bytes()[:800])
    lines("cut.jpg,3")(place)


def same_bytes(place: Place) -> None:
    shutil.copy(place / "3-0.png", place / "again.png")
    lines("again.png,4")(place)


def only(*scores: int) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        rows = [f"{score}-{number}.png,{score}" for score in scores for number in range(4)]
        table("image,score\n" + "\n".join(rows) + "\n")(place)

    return change


def text_file(name: str, content: str) -> Callable[[Place], None]:
    return lambda place: (place / name).write_text(content) and None


def wrong_shape(path: Path) -> None:
    safetensors.numpy.save_file({"features.0.weight": np.zeros((8, 3, 9, 9), np.float32)}, path)


class Harmful:
    """Its pickle would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("harm",)


SWEEP = ["sweep", "tiny.yaml"]
MISTAKES: dict[str, tuple[Callable[[Place], None] | None, list[str], str]] = {
    # the command line and the experiment file
    "no such command": (None, ["train"], "no command 'train'; there are demo, init, check, sweep, show, ui"),
    "no file given": (None, ["sweep", "--rounds", "3"], "give the experiment file first"),
    "no such file": (None, ["sweep", "papr.yaml"], "papr.yaml: there is no such experiment file"),
    "not YAML": (text_file("tiny.yaml", "name: ["), SWEEP, "tiny.yaml: Problems parsing config"),
    "unknown knob": (knob(epochs=3), SWEEP, "epochs: there is no such knob"),
    "unknown knob in a group": (knob(training={"epoch": 3}), SWEEP, "training.epoch: there is no such knob"),
    "unknown knob given": (None, [*SWEEP, "--rouds", "3"], "--rouds 3: there is no such knob"),
    "a word for a number": (None, [*SWEEP, "--rounds", "many"], "rounds: 'many'; give a whole number"),
    "augmented features": (
        knob(training={"trainable": "head", "augmentation": ["flip"]}),
        SWEEP,
        "training.augmentation: ['flip'] with trainable: head, but then each photo passes the frozen layers once",
    ),
    "no rounds": (None, [*SWEEP, "--rounds", "0"], "rounds: 0; give a whole number, 1 or more"),
    "a missing knob": (text_file("tiny.yaml", "name: x\nphotos: y"), SWEEP, "schedules"),
    "a name with a slash": (knob(name="a/b"), SWEEP, "name: a/b; give letters"),
    "K above 1": (knob(schedules={"a": {1: 1.2}}), SWEEP, "schedules.a: revision 1: K: 1.2; give a number, 0 to 1"),
    "two K for three classes": (knob(schedules={"a": {1: [0.1, 0.2]}}), SWEEP, "2 thresholds [0.1, 0.2] for 3 maj"),
    "revision 0": (knob(schedules={"a": {0: 0.5}}), SWEEP, "revision: 0; give a whole number, 1 or more"),
    "a schedule without steps": (knob(schedules={"a": {}}), SWEEP, "schedules.a: a schedule needs at least one step"),
    "neither schedules nor methods": (knob(schedules={}), SWEEP, "schedules: there are none, and no methods"),
    "an unknown rule": (method(revise={"quantil": 0.2}), SWEEP, "methods.a: no rule in quantil; there are thresholds,"),
    "two rules": (
        method(revise={"quantile": 0.2, "margin": 0}),
        SWEEP,
        "methods.a: margin and quantile: give one rule only",
    ),
    "a knob of a rule misspelt": (
        method(revise={"quantile": 0.2, "likelyhood": "mean"}),
        SWEEP,
        "methods.a: likelyhood: no knob of quantile; do you mean likelihood?",
    ),
    "a share of 2": (method(revise={"quantile": 2}), SWEEP, "methods.a: quantile: 2; give a share, 0 to 1"),
    "a number for a rule": (method(revise=3), SWEEP, "methods.a: revise: 3; give knobs, such as {quantile: 0.2}"),
    "a schedule and a method of one name": (
        knob(methods={"none": {"revise": {"quantile": 0.2}}}),
        SWEEP,
        "methods.none: a schedule has this name too",
    ),
    "a prediction that has nothing to learn from": (
        knob(folds={"count": 2, "validation": 0}, methods={"a": {"predict": {"decision": "expected_f"}}}),
        SWEEP,
        "methods.a: predict: expected-F decision learns from validation photos, but folds.validation is 0",
    ),
    "unknown sampling": (method(sampling="odd"), SWEEP, "methods.a: sampling: 'odd'; give one of shuffled, class_bal"),
    "one K for a rule of thresholds": (
        method(revise={"thresholds": 0.9}),
        SWEEP,
        "methods.a: thresholds: 0.9; give steps, such as {1: 0.9}",
    ),
    "a word for a revision": (
        method(revise={"thresholds": {"a": 0.9}}),
        SWEEP,
        "methods.a: revision: 'a'; give a whole number, 1 or more",
    ),
    "one fold": (knob(folds={"count": 1}), SWEEP, "folds.count: 1 leaves no photos to train on"),
    "a fold that is not there": (knob(folds={"count": 2, "use": [2]}), SWEEP, "folds.use: [2], but there are 2 folds"),
    "a fold beyond the last repeat": (
        knob(folds={"count": 2, "repeats": 2, "use": [3, 4]}),
        SWEEP,
        "folds.use: [4], but there are 4 folds",
    ),
    "too little validation": (
        knob(folds={"count": 2, "validation": 0.02}),
        SWEEP,
        "folds.validation: 0.02, but fold 0 holds out none of its 29 training photos to choose",
    ),
    "too much validation": (
        knob(folds={"validation": 0.7}),
        SWEEP,
        "folds.validation: 0.7; give a number from 0 to",
    ),
    "unknown precision": (knob(training={"precision": "fp8"}), SWEEP, "fp8"),
    "more majority classes than classes": (
        knob(revision={"majority_classes": 6}),
        SWEEP,
        "revision.majority_classes: 6, but the photos have 5 scores: [2, 3, 4, 5, 6]",
    ),
    # photos
    "no table": (knob(photos="fotos.csv"), SWEEP, "fotos.csv"),
    "no column score": (table("image,stars\n2-0.png,2\n"), SWEEP, "stars"),
    "an empty table": (table(""), SWEEP, "photos.csv"),
    "not UTF-8": (table(b"image,score\n\xff\xfe.png,3\n"), SWEEP, "UTF-8"),
    "an unknown kind of table": (knob(photos="tiny.yaml"), SWEEP, "tiny.yaml"),
    "a missing picture": (lines("gone.png,3"), SWEEP, "line 60, gone.png:"),
    "a truncated picture": (truncated, SWEEP, "line 60, cut.jpg: truncated"),
    "not a picture": (lambda p: (text_file("a.png", "hello")(p), lines("a.png,3")(p))[0], SWEEP, "line 60, a.png: "),
    "half a score": (lines("2-0.png,3.5"), SWEEP, "line 60, 2-0.png: "),
    "the same path twice": (lines("2-0.png,2"), SWEEP, "line 60, 2-0.png: "),
    "the same bytes with two scores": (same_bytes, SWEEP, "again.png: "),
    "one class": (only(3), SWEEP, "fewer than two scores have two good photos or more; these have: 3"),
    "two classes, three to revise": (only(3, 4), SWEEP, "3, but the photos have 2 scores: [3, 4]; give 2 or fewer"),
    "a class of one": (lambda p: (shutil.copy(p / "2-0.png", p / "one.png"), lines("one.png,9")(p))[1], SWEEP, "9"),
    # networks and weights
    "unknown backbone": (network(backbone="alexnett"), SWEEP, "alexnet"),
    "no ImageNet weights for small": (network(weights="imagenet"), SWEEP, "none"),
    "no network": (network(backbone="alexnet", weights="imagenet", image_size=64), SWEEP, "network.weights"),
    "too small an image": (network(backbone="alexnet", image_size=16), SWEEP, "image_size"),
    "no weights file": (network(weights="gone.pt"), SWEEP, "gone.pt"),
    "a harmful pickle": (weights_file(lambda path: path.write_bytes(pickle.dumps(Harmful()))), SWEEP, "weights.pt"),
    "a harmful pickle of torch's": (weights_file(lambda path: torch.save(Harmful(), path)), SWEEP, "weights.pt"),
    "no state dict": (weights_file(lambda path: torch.save([1, 2], path)), SWEEP, "weights.pt"),
    "weights of another shape": (weights_file(wrong_shape, "w.safetensors"), SWEEP, "features.0.weight"),
    # storage, tracking, resources
    "storage is a file": (
        lambda p: (text_file("f", "x")(p), knob(storage="f/results")(p))[1],
        SWEEP,
        "storage: cannot",
    ),
    "storage of an unknown kind": (
        knob(storage="ftp://host/x", mlflow="http://127.0.0.1:9"),
        SWEEP,
        "storage: ftp://host/x",
    ),
    "a bucket without a tracking server": (knob(storage="s3://bucket/x"), SWEEP, "mlflow: with storage in s3://bucket"),
    "an unknown tracking store": (knob(mlflow="redis://host"), SWEEP, "mlflow: "),
    "more CPUs than there are": (knob(resources={"cpus": 512}), SWEEP, "resources.cpus: 512 for a trial"),
    "a GPU that is not there": (knob(resources={"gpus": 1}), SWEEP, "resources.gpus: 1 for a trial"),
    "two GPUs for a trial": (knob(resources={"gpus": 2}), SWEEP, "resources.gpus: 2, but a trial trains on one GPU"),
    "nothing to show yet": (None, ["show", "tiny.yaml"], "run `rsrl sweep` on the file first"),
}


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(
    mistake: str, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_network(*arguments: object, **keywords: object) -> None:
        raise URLError("no network")

    make, words, message = MISTAKES[mistake]
    monkeypatch.chdir(place)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", no_network)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    if make is not None:
        make(place)
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1 or not message.startswith("methods.")
    assert not list(place.glob("results/rounds/*"))  # nothing was trained


def test_two_sweeps_of_one_file_at_once(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    (place / "results").mkdir()
    with (place / "results" / "tiny.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("head:4711")
        lock.flush()
        assert cli.main(SWEEP) == 2
    assert capsys.readouterr().err.endswith(
        "is being swept by another process (head:4711); wait for its end, or stop it\n"
    )


def test_check_reports_everything_at_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    lines("gone.png,3", "2-0.png,2", "5-0.png,good")(place)
    assert cli.main(["check", str(place / "photos.csv")]) == 1
    said = capsys.readouterr().out
    assert all(f"line {number}," in said for number in (60, 61, 62))
    assert "24" in said  # the histogram: 24 photos of score 4


def test_check_deals_the_folds_of_an_experiment_file(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    knob(folds={"count": 2, "validation": 0.2})(place)
    assert cli.main(["check", str(place / "tiny.yaml")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "58 photos, nothing wrong." in said
    assert "2 folds, photos in each: train 24 to 24, validation 5 to 5, test 29 to 29. note: near-duplicates" in said
    knob(folds={"count": 2, "validation": 0.02})(place)
    assert cli.main(["check", str(place / "tiny.yaml")]) == 2
    assert "folds.validation: 0.02, but fold 0 holds out none of its 29 training photos" in capsys.readouterr().err
