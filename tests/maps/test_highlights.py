"""Highlight maps of real files between rounds in a real MLflow store."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr

from rsrl_ray.config import Experiment, Network
from rsrl_ray.core.edges import edge_map
from rsrl_ray.core.highlight import IDENTICAL, NO_VARIANCE
from rsrl_ray.core.trial import Link, Origin, TrialKey
from rsrl_ray.identity import photos_digest, recipe
from rsrl_ray.maps import highlights
from rsrl_ray.maps.highlight_files import COLUMNS
from rsrl_ray.maps.highlights import highlight
from rsrl_ray.maps.subject import Pair, Question
from rsrl_ray.photos.decoding import Progress
from rsrl_ray.photos.picture import decode_photo
from rsrl_ray.tracking.entries import Round, SweepRun, Trial
from rsrl_ray.tracking.stores import mlflow_uri
from rsrl_ray.tracking.write import Tracker
from rsrl_ray.vision.conv1 import conv1_maps, random_conv1
from rsrl_ray.vision.network import Conv1

SIZE, STRIDE, PADDING = 16, (2, 1), (0, 1)
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
ROUNDS = {"paper": 3, "none": 3, "late": 3}
F1 = {1: 0.9, 2: 0.3, 3: 0.5}  # on validation photos: round 1 is the best, then round 3


def filters(method: str, number: int) -> Conv1:
    """Round 1 is shared; round 3 of `late` is round 2 again."""
    seed = (0, 1) if number == 1 else (sorted(ROUNDS).index(method), 2 if method == "late" else number)
    generator = np.random.default_rng(seed)
    return Conv1(
        generator.normal(0, 0.3, (5, 3, 3, 2)).astype(np.float32),
        generator.normal(0, 0.3, 5).astype(np.float32),
        STRIDE,
        PADDING,
    )


def write_photos(folder: Path) -> list[str]:
    """Photos of all kinds. All except the last two can be read. `flat.png` has one colour."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((72, 48), Image.Resampling.BICUBIC)
    turned = Image.Exif()
    turned[0x0112] = 6  # upright after a quarter turn: 48 wide, 72 high
    (folder / "deep").mkdir(parents=True)
    picture.save(folder / "rgb.png")
    picture.save(folder / "deep" / "turned.jpg", exif=turned)
    picture.convert("L").save(folder / "grey.jpg")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.convert("P").save(folder / "palette.png")
    alpha = picture.convert("RGBA")
    alpha.putalpha(Image.fromarray(noise[:, :, 0]).resize((72, 48)))
    alpha.save(folder / "alpha.png")
    Image.new("RGB", (30, 20), (124, 90, 33)).save(folder / "flat.png")
    (folder / "broken.jpg").write_bytes((folder / "grey.jpg").read_bytes()[:400])
    good = ["rgb.png", "deep/turned.jpg", "grey.jpg", "cmyk.jpg", "palette.png", "alpha.png", "flat.png"]
    return [*good, "broken.jpg", "gone.jpg"]


def predictions(images: Sequence[str]) -> pd.DataFrame:
    """The first five photos are test photos. The network is less sure of later photos."""
    count = len(images)
    return pd.DataFrame(
        {
            "image": images,
            "split": pd.Categorical(["test"] * 5 + ["train"] * (count - 5), ["train", "validation", "test"]),
            "score": [3, 7, 7, 3, 7] + [3] * (count - 5),
            "predicted": 3,
            "kept": pd.Series([True] * count, dtype="boolean"),
            "self_confidence": np.linspace(0.9, 0.1, count),
        }
    )


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    folder = tmp_path_factory.mktemp("sweep")
    images = write_photos(folder / "photos")
    rows = [f"{image},3" for image in images]
    (folder / "photos" / "photos.csv").write_text("\n".join(["image,score", *rows]))
    made = Experiment(
        name="photos",
        photos=str(folder / "photos" / "photos.csv"),
        schedules={"none": {1: 0.0}, "paper": {1: 0.9}, "late": {1: 0.0, 2: 0.5}, "waiting": {1: 0.2}},
        storage=str(folder),
        network=Network("small", "none", SIZE),
    )
    tracker = Tracker(mlflow_uri(made), made.name, (folder / "artifacts").as_uri(), print)
    photos = photos_digest((image, 3) for image in images)
    tracker.open_sweep(SweepRun("sweep-0", recipe(made), "", {}, {"rsrl.photos": photos}))
    table = predictions(images)
    for fold, method in [
        (0, "paper"),
        (0, "none"),
        (0, "late"),
        (1, "paper"),
        (2, "paper"),
        (2, "none"),
        (3, "paper"),
    ]:
        steps = made.schedule(method).steps
        text = "; ".join(f"from revision {first}: {', '.join(map(str, k))}" for first, k in steps)
        trial = Trial(f"{fold}-{method}", TrialKey(fold, method), {"thresholds": text})
        last = 1 if (fold, method) in {(2, "none"), (3, "paper")} else ROUNDS[method]
        for number in range(1, last + 1):

            def write(path: Path, method: str = method, number: int = number) -> None:
                conv1 = filters(method, number)
                np.savez(path / "conv1.npz", **vars(conv1))
                table.to_parquet(path / "predictions.parquet")

            values = {"validation_macro_f1": F1[number], "test_macro_f1": 0.1}
            tracker.take_up(trial, [Link(f"key{one}") for one in range(1, number + 1)], Origin())
            tracker.log_rounds(trial, [Round(number, values, "", Link(f"key{number}"), 1000.0, write)])
    return made


def run(
    experiment: Experiment,
    out: Path,
    photos: Sequence[str] = ("rgb.png",),
    progress: Progress | None = None,
    **asked: Any,
) -> pd.DataFrame:
    return highlight(experiment, Question(tuple(photos), **asked), out, progress)


def use_filters(monkeypatch: pytest.MonkeyPatch, filters_of: Callable[[int], Conv1]) -> None:
    """Replaces the logged first convolution of a round, by its number."""
    monkeypatch.setattr(
        "rsrl_ray.maps.subject._read_pair",
        lambda run, number, against: Pair(filters_of(number), filters_of(against)),
    )


def reference_maps(pixels: NDArray[np.uint8], conv1: Conv1) -> NDArray[np.float64]:
    """The convolution, pixel by pixel."""
    inputs = np.pad((pixels / 255 - MEAN) / STD, [(PADDING[0],) * 2, (PADDING[1],) * 2, (0, 0)])
    height = (inputs.shape[0] - 3) // STRIDE[0] + 1
    width = (inputs.shape[1] - 2) // STRIDE[1] + 1
    maps = np.zeros((5, height, width))
    for y in range(height):
        for x in range(width):
            patch = inputs[y * STRIDE[0] : y * STRIDE[0] + 3, x * STRIDE[1] : x * STRIDE[1] + 2]
            maps[:, y, x] = np.einsum("kchw,hwc->k", conv1.weight.astype(np.float64), patch) + conv1.bias
    return maps


def both(
    experiment: Experiment, photo: str, method: str, number: int, against: int, relu: bool = False
) -> list[NDArray[np.float64]]:
    pixels = decode_photo((Path(experiment.photos).parent / photo).read_bytes(), SIZE)
    maps = [reference_maps(pixels, filters(method, wanted)) for wanted in (number, against)]
    return [np.maximum(part, 0) for part in maps] if relu else maps


def reference(
    maps: Sequence[NDArray[np.float64]], against: Sequence[NDArray[np.float64]]
) -> tuple[int, float, NDArray[np.float64]]:
    values = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(maps, against, strict=True)]
    j = int(np.argmin(values))
    return j, values[j], maps[j] - against[j]


def test_map_correlation_and_control_as_the_reference(experiment: Experiment, tmp_path: Path) -> None:
    found = run(experiment, tmp_path, fold=0, method="paper", number=3, against=1).iloc[0]
    assert found[["photo", "fold", "method", "round", "against", "reason"]].tolist() == [
        "rgb.png",
        0,
        "paper",
        3,
        1,
        "",
    ]
    maps = []
    for method, name, j, correlation in (
        ("paper", found["map"], found["J"], found["correlation"]),
        ("none", found["null_map"], found["null_J"], found["null_correlation"]),
    ):
        expected = reference(*both(experiment, "rgb.png", method, 3, 1))
        assert (j, correlation) == (expected[0], pytest.approx(expected[1], abs=1e-12))
        maps.append(np.load(tmp_path / f"{name}.npy"))
        assert maps[-1].dtype == np.float64 and maps[-1].shape == (7, 17)
        np.testing.assert_allclose(maps[-1], expected[2], rtol=0, atol=1e-12)
    assert found["agreement"] == pytest.approx(spearmanr(maps[0].ravel(), maps[1].ravel()).statistic)


def test_beside_the_map_the_edges_and_random_weights(experiment: Experiment, tmp_path: Path) -> None:
    found = run(experiment, tmp_path, ["rgb.png", "grey.jpg"])
    rgb = found.iloc[0]
    pixels = decode_photo((Path(experiment.photos).parent / "rgb.png").read_bytes(), SIZE)
    generator = np.random.default_rng(experiment.seed)
    like = filters("paper", 3)
    pair = [reference_maps(pixels, random_conv1(like, generator)) for _ in range(2)]
    maps = {name: np.load(tmp_path / f"{rgb[name]}.npy") for name in ("map", "null_map", "edge_map", "random_map")}
    np.testing.assert_allclose(maps["random_map"], reference(*pair)[2], rtol=0, atol=1e-12)
    np.testing.assert_allclose(maps["edge_map"], edge_map(pixels, (3, 2), STRIDE, PADDING))
    assert {drawn.shape for drawn in maps.values()} == {(7, 17)}

    def farther(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
        pairs = [(first, second), (np.abs(first), np.abs(second))]
        return max((spearmanr(one.ravel(), other.ravel()).statistic for one, other in pairs), key=abs)

    assert rgb["edges"] == pytest.approx(farther(maps["map"], maps["edge_map"]))
    assert rgb["random"] == pytest.approx(farther(maps["map"], maps["random_map"]))
    assert rgb["random_edges"] == pytest.approx(farther(maps["random_map"], maps["edge_map"]))
    assert rgb["differs"] is np.True_ or rgb["differs"] is True
    assert (abs(rgb["agreement"]) < 0.5) and abs(rgb["edges"]) < 0.5
    with Image.open(tmp_path / f"{rgb['edge_map']}.png") as drawn:
        assert drawn.size == (72, 48)
    assert found.iloc[1]["random_map"] == "" and found.iloc[1]["edge_map"]


def test_random_weights_are_the_sweeps_and_follow_its_seed(experiment: Experiment, tmp_path: Path) -> None:
    def drawn(name: str, experiment: Experiment = experiment, **asked: Any) -> NDArray[np.float64]:
        return np.load(tmp_path / name / f"{run(experiment, tmp_path / name, **asked).iloc[0]['random_map']}.npy")

    first = drawn("first")
    assert (drawn("none", method="none", number=2) == first).all()
    assert (drawn("other", dataclasses.replace(experiment, seed=7)) != first).any()


def test_the_table_is_what_the_file_holds(experiment: Experiment, tmp_path: Path) -> None:
    returned = run(experiment, tmp_path, ["rgb.png", "flat.png"], method="late", number=2)
    assert list(returned.columns) == list(COLUMNS)
    read = pd.read_csv(tmp_path / "highlights.csv", dtype=COLUMNS, keep_default_na=False, na_values={
        name: [""] for name, kind in COLUMNS.items() if kind != "object"
    })  # fmt: skip
    pd.testing.assert_frame_equal(read, returned)


@pytest.mark.parametrize(
    ("photo", "size"),
    [
        ("rgb.png", (72, 48)),
        ("deep/turned.jpg", (48, 72)),
        ("grey.jpg", (72, 48)),
        ("cmyk.jpg", (72, 48)),
        ("palette.png", (72, 48)),
        ("alpha.png", (72, 48)),
    ],
)
def test_every_kind_of_picture_at_its_own_size_and_upright(
    experiment: Experiment, tmp_path: Path, photo: str, size: int
) -> None:
    found = run(experiment, tmp_path, [photo]).iloc[0]
    assert found["reason"] == "" and -1 <= found["agreement"] <= 1
    assert found["map"].startswith("highlights/fold0-paper-03-02/") and found["null_map"] == f"{found['map']}.null"
    for name in (found["map"], found["null_map"]):
        with Image.open(tmp_path / f"{name}.png") as drawn:
            assert (drawn.mode, drawn.size) == ("RGB", size)


def test_what_is_red_on_the_photo_is_red_on_the_upright_overlay(
    tmp_path: Path, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = np.zeros((8, 80, 3), dtype=np.uint8)
    sensor[:, 40:] = (255, 255, 255)  # the sensor's right half is the upright photo's lower half
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(sensor).save(tmp_path / "turned.jpg", exif=turned, quality=95)
    weight = np.full((1, 3, 1, 1), 0.2, dtype=np.float32)
    more, same = (Conv1(factor * weight, np.zeros(1, np.float32), (1, 1), (0, 0)) for factor in (2, 1))
    use_filters(monkeypatch, lambda number: more if number == 3 else same)
    name = run(experiment, tmp_path / "out", [str(tmp_path / "turned.jpg")]).iloc[0]["map"]
    with Image.open(tmp_path / "out" / f"{name}.png") as drawn:
        pixels = np.asarray(drawn).astype(int)
    assert pixels.shape == (80, 8, 3)
    redness = (pixels[:, :, 0] - pixels[:, :, 2]).mean(axis=1)
    assert (redness[45:] > 50).all() and (redness[:35] < -50).all()


def test_what_cannot_be_drawn_is_said(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    empty = str(tmp_path / "empty.png")
    found = run(experiment, tmp_path / "out", ["flat.png", "broken.jpg", "rgb.png", "gone.jpg", empty, "nowhere.jpg"])
    reasons = found["reason"].tolist()
    assert found["photo"].tolist() == ["flat.png", "broken.jpg", "rgb.png", "gone.jpg", empty, "nowhere.jpg"]
    assert reasons[1].startswith("truncated") and reasons[3].startswith("missing") and reasons[5].startswith("missing")
    assert reasons[2] == "" and reasons[4] == "zero bytes"
    assert found["J"].isna().tolist() == [False, True, False, True, True, True]
    drawn = ("flat.png", "rgb.png")
    assert sorted(path.name for path in tmp_path.glob("out/highlights/*/*")) == sorted(
        [f"{photo}{kind}.{end}" for photo in drawn for kind in ("", ".null", ".edges") for end in ("npy", "png")]
        + ["flat.png.random.npy", "flat.png.random.png"]
    )
    assert found["edges"].isna().tolist() == [True, True, False, True, True, True]  # one colour has no edges
    assert found["differs"].isna().tolist() == [True, True, False, True, True, True]


def test_zero_variance_is_said_and_not_drawn(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    padded = filters("paper", 2)
    use_filters(monkeypatch, lambda number: Conv1(padded.weight + np.float32(number == 3), padded.bias, (2, 1), (0, 0)))
    found = run(experiment, tmp_path, ["flat.png"]).iloc[0]
    assert (found["reason"], found["map"], found["null_map"]) == (NO_VARIANCE, "", "")
    assert pd.isna(found["J"]) and np.isnan(found["correlation"]) and np.isnan(found["agreement"])
    assert not list(tmp_path.glob("highlights/*/*"))


def test_identical_filters_are_said_and_not_drawn(experiment: Experiment, tmp_path: Path) -> None:
    found = run(experiment, tmp_path, ["rgb.png", "grey.jpg"], method="late", number=3, against=2)
    assert found["reason"].tolist() == [IDENTICAL] * 2
    assert found["J"].isna().all() and not list(tmp_path.glob("highlights/*/*"))


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"fold": 1}, "no control: none has not begun in fold 1"),
        ({"fold": 2}, "no control: none has 1 of 3 rounds in fold 2"),
        ({"method": "none"}, "no control: the method is the control itself"),
    ],
)
def test_a_map_without_a_control(experiment: Experiment, tmp_path: Path, asked: dict[str, Any], reason: str) -> None:
    found = run(experiment, tmp_path, **asked).iloc[0]
    assert found["reason"] == reason
    assert found["J"] >= 0 and found["null_map"] == "" and pd.isna(found["null_J"])
    assert (tmp_path / f"{found['map']}.npy").exists()


def test_all_at_once_or_one_by_one_gives_the_same(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = ["rgb.png", "deep/turned.jpg", "grey.jpg", "cmyk.jpg", "palette.png", "alpha.png", "broken.jpg"]
    together = run(experiment, tmp_path / "together", photos)
    monkeypatch.setattr(highlights, "_BATCH", 1)
    alone = run(experiment, tmp_path / "alone", photos)
    pd.testing.assert_frame_equal(together, alone, rtol=1e-9)
    files = sorted(path.relative_to(tmp_path / "together") for path in (tmp_path / "together").rglob("*.*"))
    assert len(files) == 6 * 6 + 2 + 1
    for file in (file for file in files if file.suffix == ".npy"):
        ours, theirs = np.load(tmp_path / "together" / file), np.load(tmp_path / "alone" / file)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12, err_msg=str(file))


def test_a_full_gpu_leaves_the_maps_to_the_cpu(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(pixels: NDArray[np.uint8], conv1: Conv1, device: torch.device, colours: Any) -> NDArray[np.float64]:
        tried.append(device.type)
        if len(tried) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return conv1_maps(pixels, conv1, torch.device("cpu"))

    tried, photos = [], ["rgb.png", "grey.jpg", "cmyk.jpg"]
    expected = run(experiment, tmp_path / "cpu", photos)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(highlights, "_BATCH", 1)
    monkeypatch.setattr(highlights, "conv1_maps", full)
    pd.testing.assert_frame_equal(run(experiment, tmp_path / "gpu", photos), expected, rtol=1e-9)
    assert tried == ["cuda", "cuda", "cpu", "cpu"]
    assert caplog.messages == ["the GPU is full or busy (CUDA out of memory.): computing on the CPU, slower"]


def test_a_batch_takes_what_memory_there_is(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(highlights, "_BATCH_BYTES", 1)
    seen = []
    run(experiment, tmp_path, ["rgb.png", "grey.jpg"], progress=lambda *said: seen.append(said))
    assert seen == [("mapping", 1, 2), ("mapping", 2, 2)]


def test_after_relu(experiment: Experiment, tmp_path: Path) -> None:
    found = run(experiment, tmp_path, after_relu=True).iloc[0]
    expected = reference(*both(experiment, "rgb.png", "paper", 3, 2, relu=True))
    assert (found["J"], found["correlation"]) == (expected[0], pytest.approx(expected[1], abs=1e-12))
    np.testing.assert_allclose(np.load(tmp_path / f"{found['map']}.npy"), expected[2], rtol=0, atol=1e-12)
    assert found["map"] == "highlights/fold0-paper-03-02-relu/rgb.png"


def test_absolute(experiment: Experiment, tmp_path: Path) -> None:
    signed, absolute = run(experiment, tmp_path).iloc[0], run(experiment, tmp_path, absolute=True).iloc[0]
    assert absolute["map"] == "highlights/fold0-paper-03-02-absolute/rgb.png" and signed["J"] == absolute["J"]
    first, second = (np.load(tmp_path / f"{found['map']}.npy") for found in (signed, absolute))
    assert first.min() < 0 and (second == np.abs(first)).all()
    null = np.load(tmp_path / f"{absolute['null_map']}.npy")
    assert absolute["agreement"] == pytest.approx(spearmanr(second.ravel(), null.ravel()).statistic)


def test_one_map_for_the_data_set(experiment: Experiment, tmp_path: Path) -> None:
    test = ["rgb.png", "deep/turned.jpg", "grey.jpg", "cmyk.jpg", "palette.png"]
    seen = []
    found = run(
        experiment, tmp_path, ["alpha.png", "rgb.png"], shared_map=True, progress=lambda *said: seen.append(said)
    )
    for method, column in (("paper", "J"), ("none", "null_J")):
        values = []
        for photo in test:
            maps, against = both(experiment, photo, method, 3, 2)
            values.append([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(maps, against, strict=True)])
        assert found[column].tolist() == [np.mean(values, axis=0).argmin()] * 2
    maps, against = both(experiment, "alpha.png", "paper", 3, 2)
    j = found["J"][0]
    drawn = np.load(tmp_path / f"{found['map'][0]}.npy")
    np.testing.assert_allclose(drawn, maps[j] - against[j], rtol=0, atol=1e-12)
    assert seen == [("comparing", 5, 5), ("mapping", 2, 2)]


@pytest.mark.parametrize(
    ("asked", "photos"),
    [
        ({}, ["rgb.png", "deep/turned.jpg", "grey.jpg", "cmyk.jpg", "palette.png"]),
        ({"score": 7}, ["deep/turned.jpg", "grey.jpg", "palette.png"]),
        ({"score": 7, "top": 2}, ["deep/turned.jpg", "grey.jpg"]),
        ({"top": 1}, ["rgb.png"]),
    ],
)
def test_test_photos_by_score_and_self_confidence(
    experiment: Experiment, tmp_path: Path, asked: dict[str, Any], photos: Sequence[str]
) -> None:
    assert run(experiment, tmp_path, [], **asked)["photo"].tolist() == photos


def test_photos_by_name_by_path_and_from_elsewhere(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(experiment.photos).parent
    elsewhere = tmp_path / "my photos" / "Grüße 1.png"
    elsewhere.parent.mkdir()
    Image.open(folder / "rgb.png").save(elsewhere)
    monkeypatch.chdir(elsewhere.parent)
    asked = [str(folder / "deep" / ".." / "rgb.png"), "rgb.png", elsewhere.name, elsewhere.as_uri()]
    found = run(experiment, tmp_path / "out", asked)
    assert found["photo"].tolist() == ["rgb.png", "Grüße 1.png", elsewhere.as_uri()]
    assert found["J"].nunique() == 1 and found["map"].nunique() == 3
    assert all((tmp_path / "out" / f"{name}.png").is_file() for name in found["map"])
    assert all(name.isascii() for name in found["map"])


def test_the_round_is_the_best_that_has_one_before_it(experiment: Experiment, tmp_path: Path) -> None:
    found = run(experiment, tmp_path).iloc[0]
    assert found[["fold", "method", "round", "against"]].tolist() == [0, "paper", 3, 2]
    assert run(experiment, tmp_path, number=2).iloc[0]["against"] == 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"number": 4}, "fold 0, paper: round 4 is not there yet; 3 rounds are logged"),
        ({"number": 31}, "fold 0, paper: there is no round 31, because the file asks for 30"),
        ({"number": 1}, "round 1 against round 0; the second must be an earlier round"),
        ({"number": 2, "against": 2}, "round 2 against round 2"),
        (
            {"method": "waiting"},
            "fold 0, waiting: this trial has not begun; begun so far: fold 0, none; fold 2, none;",
        ),
        ({"fold": 7}, "fold 7, paper: this trial has not begun"),
        ({"fold": 3}, "fold 3, paper: rounds logged so far: 1; a highlight map compares two"),
        ({"photos": [], "score": 9}, "score 9: no test photo of fold 0 has it; there are 3, 7"),
        ({"photos": [], "top": 0}, "top 0: give 1 or more"),
        ({"top": 2}, "give either photos, or the number and score"),
    ],
)
def test_mistakes(experiment: Experiment, tmp_path: Path, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(experiment, tmp_path, **asked)


def test_a_folder_that_cannot_be_written_is_said(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file: it cannot be written"):
        run(experiment, tmp_path / "file")


def test_photos_are_found_where_they_lie_whatever_became_of_the_table(experiment: Experiment, tmp_path: Path) -> None:
    shutil.copytree(Path(experiment.photos).parent, tmp_path / "photos")
    (tmp_path / "photos" / "photos.csv").unlink()
    moved = dataclasses.replace(experiment, photos=str(tmp_path / "photos" / "photos.csv"))
    assert run(moved, tmp_path / "all", [])["reason"].tolist() == [""] * 5
    assert run(moved, tmp_path / "one", [str(tmp_path / "photos" / "rgb.png")])["photo"].tolist() == ["rgb.png"]
    (tmp_path / "photos" / "grey.jpg").unlink()
    found = run(moved, tmp_path / "gone", [])
    assert found["reason"].str.startswith("missing").tolist() == [False, False, True, False, False]


def test_a_shared_map_without_photos_to_choose_it_on_is_said(experiment: Experiment, tmp_path: Path) -> None:
    elsewhere = dataclasses.replace(experiment, photos=str(tmp_path / "photos.csv"))
    with pytest.raises(ValueError, match="the fold's test photos choose the map, and none of them can be read"):
        run(elsewhere, tmp_path, shared_map=True)


def test_rounds_that_the_file_does_not_ask_for_are_not_there(experiment: Experiment, tmp_path: Path) -> None:
    shorter = dataclasses.replace(experiment, rounds=2)
    assert run(shorter, tmp_path)["round"].tolist() == [2]
    with pytest.raises(ValueError, match="fold 0, paper: there is no round 3, because the file asks for 2"):
        run(shorter, tmp_path, number=3)
    with pytest.raises(
        ValueError,
        match="fold 0, none: the file asks for one round, and a highlight map compares two; give more rounds",
    ):
        run(dataclasses.replace(experiment, rounds=1), tmp_path)


def test_methods_and_photos_that_a_disk_may_not_tell_apart(experiment: Experiment, tmp_path: Path) -> None:
    """`PAPER` and `paper`, `RGB.png` and `rgb.png`: on some disks the same name."""
    both = dataclasses.replace(experiment, schedules={"PAPER": {1: 0.1}, **experiment.schedules})
    (tmp_path / "RGB.png").write_bytes((Path(experiment.photos).parent / "rgb.png").read_bytes())
    found = run(both, tmp_path / "out", ["rgb.png", str(tmp_path / "RGB.png")], method="paper")
    folders = {name.split("/")[1].lower() for name in found["map"]}
    assert len(folders) == 1 and folders != {"fold0-paper-03-02"}
    assert found["map"].str.lower().nunique() == 2


def test_photos_named_as_the_maps_of_another_one(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, photo in {"a": "rgb.png", "a.edges": "deep/turned.jpg"}.items():
        Path(name).write_bytes((Path(experiment.photos).parent / photo).read_bytes())
    columns = ["map", "null_map", "edge_map"]

    def maps(*photos: str) -> dict[str, list[NDArray[np.float64]]]:
        out = tmp_path / "out" / "-".join(photos)
        rows = run(experiment, out, photos)[columns].itertuples(index=False)
        return {photo: [np.load(out / f"{name}.npy") for name in row] for photo, row in zip(photos, rows, strict=True)}

    alone = maps("a") | maps("a.edges")
    for photo, found in maps("a", "a.edges").items():
        np.testing.assert_array_equal(found, alone[photo])
