"""What a registered model answers: a row of numbers, or a cause instead."""

import base64
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rsrl_ray import config, served
from rsrl_ray.core.decisions import Decision
from rsrl_ray.vision import scorer
from rsrl_ray.vision.network import starting_weights
from rsrl_ray.vision.scorer import Settings

SIZE = 32
RIGHT_ANGLE = 6  # EXIF: the top of the picture is on its right
NEAR = 1e-5  # the last digits of a photo's numbers depend on its place in the batch, on some CPUs


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> served.ScoringModel:
    """A network with random weights, written and loaded as MLflow does it."""
    folder = tmp_path_factory.mktemp("model") / "network"
    weights = starting_weights(config.Network("small", "none", SIZE), 3, [0]).weights
    served.save(folder, [weights], Settings("small", SIZE, (3, 5, 7), "sigmoid", "fp32", 1, "cpu"))
    return served._load_pyfunc(str(folder))


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    data = BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def upright() -> Image.Image:
    """48 x 64 pixels: dark on top, bright below, so that it matters which way it is turned."""
    levels = np.linspace(20, 220, 64, dtype=np.uint8)[:, None].repeat(48, axis=1)
    return Image.fromarray(np.stack([levels, levels // 2, 255 - levels], axis=2))


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def numbers(table: pd.DataFrame) -> np.ndarray:
    return table.drop(columns=["score", "error"]).to_numpy(dtype=np.float64)


def test_a_path_and_bytes_and_a_uri_give_the_same(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = encode(upright())
    (tmp_path / "ü 1.png").write_bytes(photo)
    monkeypatch.chdir(tmp_path)
    paths = [str(tmp_path / "ü 1.png"), "ü 1.png", (tmp_path / "ü 1.png").as_uri()]
    by_path = model.predict(pd.DataFrame({"path": paths}))
    by_bytes = model.predict(pd.DataFrame({"photo": [photo, bytearray(photo), memoryview(photo)]}))
    pd.testing.assert_frame_equal(by_path, by_bytes)
    assert by_path["error"].isna().all()


def test_base64_in_all_its_forms(model: Any) -> None:
    photo = encode(upright()) + b"\xfb\xef\xff\xfb\xef\xff"  # its URL-safe base64 has both - and _
    standard, for_urls = base64.b64encode(photo).decode(), base64.urlsafe_b64encode(photo).decode()
    assert "-" in for_urls and "_" in for_urls
    forms = [
        standard,
        for_urls,
        standard.rstrip("="),
        base64.encodebytes(photo).decode(),
        f"data:image/png;base64,{standard}",
        f"DATA:image/jpeg;charset=x;BASE64,{for_urls}",
    ]
    found = model.predict(pd.DataFrame({"photo": [photo, *forms]}))
    assert found["error"].isna().all()
    for row in range(1, len(forms) + 1):
        np.testing.assert_allclose(numbers(found)[row], numbers(found)[0], rtol=0, atol=NEAR)
    (cause,) = model.predict(pd.DataFrame({"photo": ["no base64!"]}))["error"]
    assert cause.startswith("the photo is text that is not base64 (")


def test_requests_at_once_decode_no_more_photos_than_there_are_cores(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, most, decode = [], [], scorer.decode_photo

    def count(data: Any, *how: Any) -> Any:
        inside.append(data)
        most.append(len(inside))
        try:
            return decode(data, *how)
        finally:
            inside.pop()

    monkeypatch.setattr(scorer, "decode_photo", count)
    table = pd.DataFrame({"photo": [encode(upright().resize((480, 640)))] * 20})
    with ThreadPoolExecutor(8) as pool:
        assert all(one["error"].isna().all() for one in pool.map(model.predict, [table] * 8))
    assert len(most) == 160 and max(most) <= os.cpu_count()


def test_the_limit_of_memory_travels_with_the_model(tmp_path: Path) -> None:
    weights = starting_weights(config.Network("small", "none", SIZE), 3, [0]).weights
    settings = Settings("small", SIZE, (3, 5, 7), "sigmoid", "fp32", 1, "cpu", photo_memory=0.00001)
    served.save(tmp_path / "network", [weights], settings)
    (cause,) = served.load(tmp_path / "network").predict(pd.DataFrame({"photo": [encode(upright())]}))["error"]
    assert cause == "48 x 64 pixels take 0.00 GiB to decode, more than the 1e-05 GiB of resources.photo_memory"
    written = json.loads((tmp_path / "network" / "settings.json").read_text())
    assert written.pop("photo_memory") == 0.00001  # older versions do not know it
    (tmp_path / "network" / "settings.json").write_text(json.dumps(written))
    assert served.load(tmp_path / "network").predict(pd.DataFrame({"photo": [encode(upright())]}))["error"].isna().all()


def test_how_photos_are_prepared_travels_with_the_model(tmp_path: Path) -> None:
    network = config.Network("timm/test_vit", "none", 64, standardise=True)
    weights = starting_weights(network, 3, [0]).weights
    plain = Settings(network.backbone, 64, (3, 5, 7), "sigmoid", "fp32", 1, "cpu", standardise=True)
    prepared = replace(plain, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic")
    answers = []
    for place, settings in enumerate((plain, prepared, prepared)):
        served.save(tmp_path / str(place), [weights], settings)
        assert ("interpolation" in (tmp_path / str(place) / "settings.json").read_text()) == (settings != plain)
        answers.append(served.load(tmp_path / str(place)).predict(pd.DataFrame({"photo": [encode(upright())]})))
    pd.testing.assert_frame_equal(answers[1], answers[2])
    assert answers[0]["probability_3"][0] != answers[1]["probability_3"][0]


def test_probabilities_are_the_softmax_and_likelihoods_the_membership(model: Any) -> None:
    found = model.predict(pd.DataFrame({"photo": [encode(upright())]}, index=[7]))
    assert found.columns.tolist() == ["score", "error"] + [
        f"{name}_{score}" for name in ("probability", "likelihood") for score in (3, 5, 7)
    ]
    row = found.loc[7]
    probabilities = np.array([row[f"probability_{score}"] for score in (3, 5, 7)])
    likelihoods = np.array([row[f"likelihood_{score}"] for score in (3, 5, 7)])
    logits = np.log(likelihoods / (1 - likelihoods))
    np.testing.assert_allclose(probabilities, np.exp(logits) / np.exp(logits).sum())
    assert row["score"] == (3, 5, 7)[probabilities.argmax()]
    assert found["score"].dtype == np.int64 and found["likelihood_3"].dtype == np.float64


@pytest.mark.parametrize(
    ("photo", "same"),
    [
        (encode(upright().convert("L")), upright().convert("L").convert("RGB")),
        (encode(upright().convert("RGBA")), upright()),
        (encode(upright().quantize(256)), upright().quantize(256).convert("RGB")),
        (encode(upright(), "WEBP", lossless=True), upright()),
        (encode(upright(), "TIFF"), upright()),
        (encode(Image.fromarray(np.full((64, 48), 0x7F00, dtype=np.uint16))), Image.new("RGB", (48, 64), (127,) * 3)),
        (encode(Image.new("CMYK", (48, 64), (0, 255, 255, 0)), "TIFF"), Image.new("RGB", (48, 64), "red")),
        (encode(upright().rotate(90, expand=True), exif=exif(RIGHT_ANGLE)), upright()),
        (encode(upright().rotate(180), exif=exif(3)), upright()),
        (encode(upright().transpose(Image.Transpose.FLIP_LEFT_RIGHT), exif=exif(2)), upright()),
    ],
    ids=["grey", "alpha", "palette", "webp", "tiff", "16 bits", "cmyk", "turned by 90", "turned by 180", "mirrored"],
)
def test_every_kind_of_picture_scores_as_its_upright_rgb(model: Any, photo: Any, same: Any) -> None:
    found = model.predict(pd.DataFrame({"photo": [photo, encode(same)]}))
    assert found["error"].isna().all()
    np.testing.assert_allclose(*numbers(found), rtol=0, atol=NEAR)


def test_a_picture_that_lies_on_its_side_scores_otherwise(model: Any) -> None:
    found = model.predict(pd.DataFrame({"photo": [encode(upright().rotate(90, expand=True)), encode(upright())]}))
    assert np.abs(np.subtract(*numbers(found))).max() > 100 * NEAR


def test_a_photo_that_cannot_be_read_is_a_row_with_a_cause(model: Any, tmp_path: Path) -> None:
    good = encode(upright())
    rows = [
        {"photo": good[:100]},
        {"path": "gone.jpg"},
        {"path": str(tmp_path)},
        {"photo": b"hello"},
        {"path": "", "photo": None},
        {"path": "a.png", "photo": good},
        {"path": 7},
        {"photo": "a.png"},
        {"path": float("nan"), "photo": good},
    ]
    found = model.predict(pd.DataFrame({name: [row.get(name) for row in rows] for name in ("path", "photo")}))
    causes = found["error"].tolist()
    assert causes[0].startswith("truncated")
    assert causes[1:] == [
        "missing (there is no gone.jpg)",
        "a folder, not a picture",
        "not a picture that Pillow can read",
        "neither a path nor a photo is given; give one of them",
        "both a path and a photo are given; give one of them",
        "the path is int, not text",
        "the photo is text that is not base64 (Only base64 data is allowed)",
        None,
    ]
    records = json.loads(json.dumps(found.to_dict("records"), allow_nan=False))  # as MLflow's server writes it
    assert {value for name, value in records[0].items() if name != "error"} == {None}
    assert isinstance(records[-1]["score"], int) and isinstance(records[-1]["likelihood_5"], float)


def test_no_photos_are_no_rows(model: Any) -> None:
    assert len(model.predict(pd.DataFrame({"path": []}))) == 0


def test_a_table_without_the_columns_is_refused(model: Any) -> None:
    with pytest.raises(
        ValueError, match=r"no column 'path' .paths or URIs. or 'photo' .bytes.; give one of them. It has: 'image'"
    ):
        model.predict(pd.DataFrame({"image": ["a.png"]}))


def test_the_files_of_a_model_hold_no_pickle(tmp_path: Path) -> None:
    weights = starting_weights(config.Network("small", "none", SIZE), 3, [0]).weights
    served.save(tmp_path / "network", [weights], Settings("small", SIZE, (3, 5, 7), "softmax", "bf16", 2, "cuda"))
    assert sorted(file.name for file in (tmp_path / "network").iterdir()) == ["settings.json", "weights.safetensors"]
    assert json.loads((tmp_path / "network" / "settings.json").read_text()) == {
        "backbone": "small",
        "image_size": SIZE,
        "scores": [3, 5, 7],
        "membership": "softmax",
        "precision": "bf16",
        "threads": 2,
        "device": "cuda",
    }


def test_several_networks_are_averaged_and_decided_on(tmp_path: Path) -> None:
    """Two networks say 3 and 7, the decision says 5; the likelihoods are those of the last network."""
    network = config.Network("small", "none", SIZE)
    networks = []
    for biases in ((5.0, 2.0, 0.0), (0.0, 2.0, 5.0)):
        weights = dict(starting_weights(network, 3, [0]).weights)
        head = [name for name in weights if name.startswith("classifier")][-2:]
        weights |= {head[0]: weights[head[0]] * 0, head[1]: np.array(biases, dtype=np.float32)}
        networks.append(weights)
    decision = Decision(np.zeros(3), 2.0, np.array([1.0, 3.0, 1.0]), np.array([0.0, 0.1, 0.0]))
    settings = Settings("small", SIZE, (3, 5, 7), "sigmoid", "fp32", 1, "cpu")
    served.save(tmp_path / "network", networks, settings, decision)
    photo = encode(Image.new("RGB", (SIZE, SIZE)))
    (row,) = served.load(tmp_path / "network").predict(pd.DataFrame({"photo": [photo]})).to_dict("records")
    assert row["score"] == 5  # 3 * (0.28 - 0.1) against 0.36
    mean = np.mean([np.array(b) - np.log(np.exp(b).sum()) for b in ((5.0, 2.0, 0.0), (0.0, 2.0, 5.0))], axis=0)
    shares = np.exp(mean / 2) / np.exp(mean / 2).sum()
    np.testing.assert_allclose([row[f"probability_{score}"] for score in (3, 5, 7)], shares, rtol=1e-5)
    likelihoods = 1 / (1 + np.exp([0.0, -2.0, -5.0]))
    np.testing.assert_allclose([row[f"likelihood_{score}"] for score in (3, 5, 7)], likelihoods, rtol=1e-5)
    assert served.load(tmp_path / "network")._decision.as_dict() == decision.as_dict()
    # Shares of .36, .28 and .36 have the expected score 1, in classes. By cuts at .9 and .95 it is 7, by the median 5.
    for name, cuts, score in (("cut", np.array([0.9, 0.95]), 7), ("median", None, 5)):
        decided = Decision(np.zeros(3), 2.0, np.ones(3), np.zeros(3), cuts, median=cuts is None)
        served.save(tmp_path / name, networks, settings, decided)
        assert served.load(tmp_path / name).predict(pd.DataFrame({"photo": [photo]}))["score"].tolist() == [score]


@pytest.mark.parametrize(
    "wrong",
    [{"networks": 0}, {"networks": 3}, {"decision": {"shift": [0, 0]}}, {"decision": 5}, {"networks": "two"}],
)
def test_damaged_decisions_and_missing_networks_are_told(tmp_path: Path, wrong: dict[str, Any]) -> None:
    weights = starting_weights(config.Network("small", "none", SIZE), 3, [0]).weights
    decision = Decision(np.zeros(3), 1.0, np.ones(3), np.zeros(3))
    settings = Settings("small", SIZE, (3, 5, 7), "sigmoid", "fp32", 1, "cpu")
    served.save(tmp_path / "network", [weights, weights], settings, decision)
    file = tmp_path / "network" / "settings.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | wrong))
    with pytest.raises(ValueError, match="is damaged"):
        served.load(tmp_path / "network")
