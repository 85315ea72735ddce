"""Near-duplicates in different folds: made ones are found, shown and grouped; the weights of the network are a file."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_experiment
from PIL import Image, ImageEnhance

import rsrl_ray as rsrl
from rsrl_ray import config, leaks
from rsrl_ray.cli import main as cli
from rsrl_ray.leaks import group_names
from rsrl_ray.sweep.nodes.features import _files as features_of_a_sweep
from rsrl_ray.sweep.task import Task
from rsrl_ray.sweep.trial.trainers import NetworkTrainers
from rsrl_ray.vision.describing import as_vectors
from rsrl_ray.vision.inputs import stored
from rsrl_ray.vision.network import starting_weights

SIZE = 64
SEED = 2  # of folds that divide two of the three made pairs
LEAST = 0.6  # a network of random weights tells these photos apart by it: made ones have more, all others less than 0.5
MADE: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved": lambda picture: picture,  # again, as JPEG of quality 60
    "cropped": lambda picture: picture.crop((2, 2, SIZE - 1, SIZE - 1)),
    "brightened": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
}


def picture(seed: int) -> Image.Image:
    """Like no other: smooth blots."""
    blots = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(blots).resize((SIZE, SIZE), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 photos of two scores, among them 3 that are made of others and have their score."""
    folder = tmp_path_factory.mktemp("photos")
    rows = [["image", "score"]]
    for number in range(27):
        picture(number).save(folder / f"{number}.png")
        rows.append([f"{number}.png", str(number % 2)])
    for number, (name, make) in enumerate(MADE.items()):
        make(picture(number)).save(folder / f"{name}.jpg", quality=60)
        rows.append([f"{name}.jpg", str(number % 2)])
    with (folder / "photos.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "photos.csv"


@pytest.fixture
def place(photos: Path, tmp_path: Path) -> Callable[..., Path]:
    """An experiment file of these photos, in this test's folder."""
    network = config.Network("small", "none", SIZE)
    state = {name: torch.from_numpy(array) for name, array in starting_weights(network, 2, [0]).weights.items()}
    torch.save(state, tmp_path / "small.pt")

    def write(**knobs: Any) -> Path:
        given = {"backbone": "small", "weights": "small.pt", "image_size": SIZE}
        usual = {"network": given, "folds": {"count": 5}, "revision": {"majority_classes": 2}}
        return write_experiment(tmp_path, knobs.pop("photos", photos), **(usual | knobs))

    return write


def grouped(table: Path) -> dict[str, str]:
    with table.open(newline="") as file:
        return {row["image"]: row["group"] for row in csv.DictReader(file)}


@pytest.mark.slow  # it loads MLflow and Matplotlib
def test_made_duplicates_are_found_named_and_grouped(place: Any, photos: Path, capsys: Any) -> None:
    file = place(seed=SEED)
    table = file.parent / "mine.csv"
    assert cli.main(["check", str(file), "--group-similar", str(LEAST), "--out", str(table)]) == 0
    said = capsys.readouterr().out
    found = rsrl.near_duplicates(rsrl.read(file), LEAST)
    pairs = {tuple(sorted((row.image, row.other))) for row in found.pairs.itertuples()}
    made = {(f"{number}.png", f"{name}.jpg") for number, name in enumerate(MADE)}
    folds = found.tested_in[0][np.argsort(found.photos.images)], sorted(found.photos.images)
    fold_of = dict(zip(folds[1], folds[0].tolist(), strict=True))
    divided = {pair for pair in made if fold_of[pair[0]] != fold_of[pair[1]]}
    assert len(divided) == 2 and pairs == divided, "no other pair, and not the one that lies in one fold"
    assert found.share == pytest.approx(2 * len(divided) / 30)
    assert all(found.pairs["fold"] == [fold_of[image] for image in found.pairs["image"]])
    for image, other in divided:
        assert image in said and other in said
    assert f"{len(divided)} pairs of photos in different folds" in said
    assert f"photos: {table.name}" in said
    folder = file.parent / "results" / "analysis" / "tiny"
    with Image.open(folder / "near_duplicates.png") as sheet:
        assert sheet.width == 748
    assert len((folder / "near_duplicates.csv").read_text().splitlines()) == 1 + len(divided)

    names = grouped(table)
    together = {str(photos.parent / image): str(photos.parent / other) for image, other in made}
    assert len({names[image] for image in together}) == 3, "a group each"
    assert all(names[image] == names[other] for image, other in together.items())
    assert sum(map(bool, names.values())) == 6 and len(names) == 30
    assert rsrl.near_duplicates(rsrl.read(place(photos=table, name="grouped")), LEAST).pairs.empty


def test_features_are_made_once(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = rsrl.read(place())
    first = rsrl.near_duplicates(experiment, 0.3)
    monkeypatch.delattr("rsrl_ray.vision.describing.Describer.vectors")
    again = rsrl.near_duplicates(experiment, 0.3)
    assert again.pairs.equals(first.pairs) and len(first.similar) > 3


def test_features_of_a_sweep_are_found(place: Any) -> None:
    found = rsrl.near_duplicates(rsrl.read(place(training={"trainable": "head", "precision": "fp32"})))
    task = Task(found.experiment, found.photos, [], {}, "", NetworkTrainers, frozen="of the frozen weights")
    assert features_of_a_sweep(task) == leaks._files(found.experiment, found.photos, task.frozen, "cpu")


def test_features_are_vectors_whatever_they_are_kept_as() -> None:
    rows = np.array([[1.5, -2.0], [0.25, 3.0]], dtype=np.float32)
    assert as_vectors(rows) is rows
    assert as_vectors(stored(torch.from_numpy(rows).bfloat16())).tolist() == rows.tolist()
    maps = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    assert as_vectors(maps).tolist() == [[3.0, 4.0]]


def test_groups_that_are_there_are_joined(place: Any, photos: Path, tmp_path: Path) -> None:
    rows = list(csv.reader(io.StringIO(photos.read_text())))
    own = {"0.png": "anna", "7.png": "anna", "9.png": "bob"}
    table = tmp_path / "named.csv"
    named = [[str(photos.parent / image), score, own.get(image, "")] for image, score in rows[1:]]
    table.write_text("\n".join(map(",".join, [["image", "score", "group"], *named])) + "\n")
    near = rsrl.near_duplicates(rsrl.read(place(photos=table)), LEAST)
    near.grouped().write(tmp_path / "new.csv")
    names = {Path(image).name: name for image, name in grouped(tmp_path / "new.csv").items() if name}
    made = {"1.png": "similar-1", "cropped.jpg": "similar-1", "2.png": "similar-2", "brightened.jpg": "similar-2"}
    assert names == own | {"saved.jpg": "anna"} | made
    with pytest.raises(ValueError, match=r"new.csv cannot be written: .*exists"):
        near.grouped().write(tmp_path / "new.csv")


def test_names_of_groups() -> None:
    assert group_names(np.array([0, 1, 0, 2, 1]), ["", "", "b", "c", ""]) == ["b", "similar-1", "b", "c", "similar-1"]
    assert group_names(np.array([0, 0, 1, 1]), ["similar-1", "", "", ""]) == ["similar-1"] * 2 + ["similar-2"] * 2


def test_a_network_that_has_learnt_nothing_compares_nothing(place: Any, tmp_path: Path, capsys: Any) -> None:
    file = str(place(network={"backbone": "small", "weights": "none", "image_size": SIZE}))
    assert cli.main(["check", file]) == 0
    assert "note: near-duplicates were not looked for: network.weights: none" in capsys.readouterr().out
    assert cli.main(["check", file, "--group-similar", "0.9", "--out", str(tmp_path / "t.csv")]) == 2
    assert "network.weights: none" in capsys.readouterr().err and not (tmp_path / "t.csv").exists()


def test_what_cannot_be_grouped_is_told_at_once(place: Any, photos: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "there.csv").touch()
    for words, said in (
        ([place(), "--group-similar", 0.9, "--out", tmp_path / "there.csv"], "there.csv is there already"),
        ([place(), "--group-similar", 0.9, "--out", tmp_path / "t.parquet"], "the table is a .csv file"),
        ([place(), "--group-similar", 0.9, "--out", tmp_path / "no" / "t.csv"], "no cannot be written to"),
        ([place(), "--group-similar", 98, "--out", tmp_path / "t.csv"], "98: give a number above 0, up to 1"),
        ([photos, "--group-similar", 0.9], "need an experiment file"),
        ([place(), "--out", tmp_path / "t.csv"], "--out is for --group-similar"),
    ):
        assert cli.main(["check", *map(str, words)]) == 2
        assert said in capsys.readouterr().err
