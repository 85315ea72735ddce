"""`rsrl init` on the kinds of tables that there are; what it writes passes the checks before a sweep."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from rsrl_ray.cli import main as cli
from rsrl_ray.display import Silent
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.forecast import Machine
from rsrl_ray.sweep.driver.prepare import prepare
from rsrl_ray.sweep.trial.trainers import NetworkTrainers
from rsrl_ray.vision import speed as measured
from rsrl_ray.vision.memory import OutOfMemory
from rsrl_ray.vision.speed import Speed, TrainsOn

Said = pytest.CaptureFixture[str]
SMALL = ("--network.backbone", "small", "--network.weights", "none", "--network.image_size", "32")  # no download
SIZES = {"2": 6, "3": 14, "4": 24, "5": 10, "6": 4}  # of photos_csv


@pytest.fixture(autouse=True)
def timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is timed at once."""
    monkeypatch.setattr(measured, "device", lambda: TrainsOn("a CPU", 0, False))
    monkeypatch.setattr(measured, "speed", lambda *arguments: Speed(1e-5, 1e-5, 0.02))


def csv(photos: Path, folder: Path) -> Path:
    return photos


def other_folder(photos: Path, folder: Path) -> Path:
    place = shutil.copytree(photos.parent, folder / "my photos, all")
    return (place / "photos.csv").rename(place / "it's mine.csv")


def parquet(photos: Path, folder: Path) -> Path:
    table = pd.read_csv(photos)
    table["image"] = [str(photos.parent / name) for name in table["image"]]
    table.to_parquet(folder / "photos.parquet")
    return folder / "photos.parquet"


def folder_per_score(photos: Path, folder: Path) -> Path:
    for score in SIZES:
        (folder / "graded" / score).mkdir(parents=True)
        for photo in photos.parent.glob(f"{score}-*.png"):
            shutil.copy(photo, folder / "graded" / score)
    return folder / "graded"


def ava(photos: Path, folder: Path) -> Path:
    lines = []
    for number, (image, score) in enumerate(pd.read_csv(photos).itertuples(index=False), 1):
        (folder / "images").mkdir(exist_ok=True)
        shutil.copy(photos.parent / image, folder / "images" / f"{number}.jpg")
        votes = [int(vote == score) for vote in range(1, 11)]
        lines.append(" ".join(map(str, (number, number, *votes, 0, 0, 0))))
    (folder / "AVA.txt").write_text("\n".join(lines))
    return folder / "AVA.txt"


@pytest.mark.parametrize("kind", [csv, other_folder, parquet, folder_per_score, ava])
def test_what_is_written_passes_the_checks_before_a_sweep(
    kind: Callable[[Path, Path], Path], photos_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = kind(photos_csv, tmp_path)
    assert cli.main(["init", str(photos)]) == 0
    (file,) = tmp_path.glob("*.yaml")
    shown = capsys.readouterr().out
    assert "note" not in shown
    assert [line.split()[:2] for line in shown.splitlines() if line.startswith("  ")] == [
        ["rsrl", "check"],
        ["rsrl", "sweep"],
        ["rsrl", "analyze"],
    ]
    assert "the sweep takes about 1 minute here" in shown
    assert "# photos    58, with the scores 2 (6), 3 (14), 4 (24), 5 (10), 6 (4)\n" in file.read_text()
    experiment = read_experiment(file, SMALL)
    assert experiment.photos == str(photos)
    task = prepare(experiment, Silent(), False, False, NetworkTrainers)
    assert (len(task.folds), len(task.photos.images), experiment.revision.majority_classes) == (8, 58, 2)


def test_rows_that_are_no_good_are_told_and_left_out_by_the_sweep(
    photos_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{photos_csv.parent / line}" for line in photos_csv.read_text().splitlines()[1:]]
    rows[0] = f"{photos_csv.parent / '2-0.png'},9"  # the only one
    rows[1] = f"{photos_csv.parent / '2-1.png'},high"
    Path("photos.csv").write_text("\n".join(["image,score", *rows]))
    assert cli.main(["init", "photos.csv", "mine.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "note: 2 rows of the table are no good and not counted; `rsrl check` says why" in shown
    assert "  rsrl sweep mine.yaml --skip_bad\n" in shown
    experiment = read_experiment("mine.yaml", SMALL)
    assert (experiment.name, experiment.folds.count) == ("mine", 4)
    task = prepare(experiment, Silent(), True, False, NetworkTrainers)
    assert len(task.photos.images) == 56


def test_photos_that_are_not_there_are_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos.csv").write_text("image,score\n" + "".join(f"x/{n}.jpg,{n % 3}\n" for n in range(30)))
    assert cli.main(["init", "photos.csv"]) == 0
    assert f"no good: {tmp_path / 'x' / '0.jpg'}: missing" in capsys.readouterr().out


def test_a_file_that_is_there_stays(photos_csv: Path, tmp_path: Path, capsys: Said) -> None:
    file = tmp_path / "photos.yaml"
    file.write_text("mine")
    assert cli.main(["init", str(photos_csv), str(file)]) == 2
    error = capsys.readouterr().err
    assert f"{file} is there already; move it away, or name another: rsrl init {photos_csv} mine.yaml" in error
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("table", "file", "message"),
    [
        ("image,score\na.jpg,1\nb.jpg,1\nc.jpg,2\n", "a.yaml", "fewer than two scores with two photos or more"),
        ("picture,score\na.jpg,1\n", "a.yaml", "image"),
        ("image,score\na,1\nb,1\nc,2\nd,2\n", "no/such/folder/a.yaml", "a.yaml cannot be written"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    table: str, file: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos.csv").write_text(table)
    assert cli.main(["init", "photos.csv", file]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not list(tmp_path.glob("*.yaml"))


def test_a_gpu_is_what_the_network_is_timed_on(
    photos_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(measured, "device", lambda: TrainsOn("a GPU", 1, True))
    monkeypatch.setattr(measured, "speed", lambda *words: asked.append(words) or Speed(1e-4, 1e-4, 0.0))
    assert cli.main(["init", str(photos_csv), str(tmp_path / "a.yaml")]) == 0
    ((network, training, classes, kind),) = asked
    assert (network.backbone, training.trainable, training.precision, classes, kind) == (
        "alexnet",
        "all",
        "bf16",
        5,
        "cuda",
    )
    assert read_experiment(tmp_path / "a.yaml").resources.gpus == "auto"
    assert Machine(TrainsOn("", 1, True), 8, Speed(0, 0, 0), None, 0).at_a_time == 1


def test_a_full_gpu_is_one_line(
    photos_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    def full(*words: object) -> None:
        raise OutOfMemory("CUDA out of memory.")

    monkeypatch.setattr(measured, "device", lambda: TrainsOn("a GPU", 1, True))
    monkeypatch.setattr(measured, "speed", full)
    assert cli.main(["init", str(photos_csv), str(tmp_path / "a.yaml")]) == 2
    assert "the GPU, on which a network is timed, is full (CUDA out of memory.); wait" in capsys.readouterr().err
