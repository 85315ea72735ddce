"""A scorer gives the bits of the learner that its weights come from."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rsrl_ray import config
from rsrl_ray.photos.picture import decode_photo
from rsrl_ray.vision import scorer as module
from rsrl_ray.vision.encoders import preprocessing_of
from rsrl_ray.vision.evaluation import EVALUATION_BATCH, Normaliser, Precision, evaluate
from rsrl_ray.vision.features import FeatureMaker
from rsrl_ray.vision.lesson import Lesson
from rsrl_ray.vision.network import Weights, starting_weights
from rsrl_ray.vision.on_device import NetworkOnDevice
from rsrl_ray.vision.scorer import Scorer, Settings
from rsrl_ray.vision.trainer import NetworkTrainer

SIZE = 32
COUNT = 150  # two evaluation batches and a part of one
NETWORK = config.Network("small", "none", SIZE)
GPU = torch.device("cuda")


def settings(precision: Precision = "fp32", device: str = "cpu") -> Settings:
    return Settings("small", SIZE, (3, 5, 7), "sigmoid", precision, 1, device)


def png(image: Image.Image) -> bytes:
    data = BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def given(data: bytes) -> Callable[[], bytes]:
    return lambda: data


@pytest.fixture(scope="module")
def weights() -> Weights:
    return starting_weights(NETWORK, 3, [0]).weights


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    draw = np.random.default_rng(0)
    return [png(Image.fromarray(draw.integers(0, 256, (40, 50, 3), dtype=np.uint8))) for _ in range(COUNT)]


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def judged(request: pytest.FixtureRequest, weights: Weights, photos: list[bytes]) -> tuple[Precision, np.ndarray]:
    """Precision, and the learner's logits."""
    return request.param, judged_by_the_learner(request.param, weights, photos)


def judged_by_the_learner(precision: Precision, weights: Weights, photos: list[bytes]) -> np.ndarray:
    pixels = np.stack([decode_photo(photo, SIZE) for photo in photos])
    labels = np.arange(len(photos), dtype=np.int64) % 3
    network = NetworkOnDevice(NETWORK, config.Training(precision=precision), 3, lambda: pixels)
    learner = NetworkTrainer(Lesson(labels, weights, np.arange(len(photos))), network)
    return learner.logits(weights)


@pytest.mark.parametrize("count", [1, 64, 65, 66, 129, COUNT])
def test_the_logits_are_the_learners(count: Any, weights: Any, photos: Any) -> None:
    for precision in ("fp32", "bf16"):
        expected = judged_by_the_learner(precision, weights, photos[:count])
        found = Scorer([weights], settings(precision)).judge([given(photo) for photo in photos[:count]])
        assert found.errors == ("",) * count
        assert np.array_equal(found.logits, [expected])


def test_also_of_a_network_that_prepares_photos_in_its_own_way(photos: Any) -> None:
    network = config.Network("timm/test_vit", "none", 64, standardise=True)
    prepared = preprocessing_of(network)
    pixels = np.stack([decode_photo(photo, 64, interpolation="bicubic") for photo in photos])
    start, training = starting_weights(network, 3, [0]).weights, config.Training(trainable="head", epochs=1)
    features = FeatureMaker(network, training, 3, start, "cpu").features(pixels)
    labels = np.arange(len(photos), dtype=np.int64) % 3
    trained = NetworkOnDevice(network, training, 3, lambda: features)
    learner = NetworkTrainer(Lesson(labels, start, np.arange(100)), trained)
    weights = learner.fit(start, labels < 2, 1)
    asked = Settings(
        *(network.backbone, 64, (3, 5, 7), "sigmoid", "bf16", 1, "cpu"),
        standardise=True,
        mean=prepared.mean,
        std=prepared.std,
        interpolation=prepared.interpolation,
    )
    found = Scorer([start | weights], asked).judge([given(photo) for photo in photos])
    assert np.array_equal(found.logits, [learner.logits(weights)])


def test_a_photo_alone_has_the_same_logits_but_for_rounding(judged: Any, weights: Any, photos: Any) -> None:
    precision, expected = judged
    scorer = Scorer([weights], settings(precision))
    alone = np.concatenate([scorer.judge([given(photo)]).logits[0] for photo in photos[:20]])
    np.testing.assert_allclose(alone, expected[:20], atol=1e-5)


def test_photos_that_cannot_be_read_are_errors_in_their_places(weights: Any, photos: Any) -> None:
    def gone() -> bytes:
        raise ValueError("missing")

    scorer = Scorer([weights], settings())
    asked = [gone, given(photos[0]), given(photos[1][:200]), *map(given, photos[2 : EVALUATION_BATCH + 10]), gone]
    found = scorer.judge(asked)
    bad = [0, 2, len(asked) - 1]
    assert [row for row, error in enumerate(found.errors) if error] == bad
    assert found.errors[0] == "missing" and "truncated" in found.errors[2]
    assert np.isnan(found.logits[0, bad]).all()
    good = [row for row in range(len(asked)) if row not in bad]
    assert np.array_equal(found.logits[:, good], scorer.judge([asked[row] for row in good]).logits)


def test_no_photo_and_none_that_can_be_read(weights: Any) -> None:
    scorer = Scorer([weights], settings())
    assert scorer.judge([]).logits.shape == (1, 0, 3)
    found = scorer.judge([given(b"no picture")])
    assert found.errors == ("not a picture that Pillow can read",) and np.isnan(found.logits).all()


def test_a_network_of_a_gpu_is_judged_on_the_cpu_where_there_is_none(
    weights: Any, photos: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Scorer([weights], settings(device="cuda")).judge([given(photos[0])]).errors == ("",)


@pytest.mark.parametrize("full", ["as it is loaded", "as it judges"])
def test_a_network_of_a_gpu_that_is_full_is_judged_on_the_cpu_and_that_is_said_once(
    full: str, weights: Any, photos: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def to(model: Any, *place: Any, inner: Any = torch.nn.Module.to, **how: Any) -> Any:
        if full == "as it is loaded" and GPU in place:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return inner(model, *(part for part in place if part != GPU), **how)

    def evaluate_there(model: Any, inputs: Any, device: Any, *how: Any, inner: Any = evaluate) -> Any:
        if device == GPU:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return inner(model, inputs, device, *how)

    asked = [given(photo) for photo in photos]
    expected = Scorer([weights], settings()).judge(asked).logits
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.nn.Module, "to", to)
    monkeypatch.setattr(module, "evaluate", evaluate_there)
    monkeypatch.setattr(module, "Normaliser", lambda device, colours: Normaliser(torch.device("cpu"), colours))
    scorer = Scorer([weights], settings(device="cuda"))
    for _ in range(2):
        assert np.array_equal(scorer.judge(asked).logits, expected)
    assert caplog.messages == ["the GPU is full or busy (CUDA out of memory.): computing on the CPU, slower"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_network_of_a_gpu_is_judged_on_one(weights: Any, photos: Any) -> None:
    on_gpu, on_cpu = (
        Scorer([weights], settings(device=device)).judge([given(photos[0])]) for device in ("cuda", "cpu")
    )
    np.testing.assert_allclose(on_gpu.logits, on_cpu.logits, atol=1e-4)
