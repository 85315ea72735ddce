"""A network cut in two is the same network, bit for bit, and only its last part is trained."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn.functional import cross_entropy, softmax
from vision.test_trainer import COUNT, EVEN, LABELS, NO_GPU, PHOTOS, SIZE, START, same, small, stripes

from rsrl_ray import config
from rsrl_ray.identity import ARITHMETIC
from rsrl_ray.vision.features import FeatureMaker
from rsrl_ray.vision.frozen import cut, frozen_weights
from rsrl_ray.vision.layers import QuickDropout
from rsrl_ray.vision.lesson import Lesson
from rsrl_ray.vision.network import build, load_weights, starting_weights, torch_seed
from rsrl_ray.vision.on_device import NetworkOnDevice, Place
from rsrl_ray.vision.trainer import NetworkTrainer

PINNED = [
    [-0.011736, -0.090099, -0.038463],
    [0.202182, -0.117025, -0.271763],
    [0.158833, -0.134021, -0.136762],
]
HEAD = ["classifier.6.weight", "classifier.6.bias"]


@pytest.mark.parametrize(
    ("backbone", "size", "trainable", "names", "shape"),
    [
        ("small", 64, "classifier", ["classifier.1", "classifier.4", "classifier.6"], (234,)),
        ("small", 64, "head", ["classifier.6"], (400,)),
        ("alexnet", 96, "classifier", ["classifier.1", "classifier.4", "classifier.6"], (9216,)),
        ("squeezenet1_1", 64, "classifier", ["classifier.1"], (512, 3, 3)),
        ("squeezenet1_1", 64, "head", ["classifier.1"], (512, 3, 3)),
        ("resnet18", 64, "classifier", ["fc"], (512,)),
        ("mobilenet_v3_small", 64, "classifier", ["classifier.0", "classifier.3"], (576,)),
        ("mobilenet_v3_small", 64, "head", ["classifier.3"], (1024,)),
        pytest.param(
            "convnext_tiny", 64, "classifier", ["classifier.0", "classifier.2"], (768, 1, 1), marks=pytest.mark.slow
        ),
        pytest.param("vit_b_16", 224, "head", ["heads.head"], (768,), marks=pytest.mark.slow),
        pytest.param("swin_t", 64, "head", ["head"], (768,), marks=pytest.mark.slow),
    ],
)
def test_the_two_parts_are_the_network(backbone: Any, size: Any, trainable: Any, names: Any, shape: Any) -> None:
    model = build(config.Network(backbone, "none", size), 5).eval()
    parts = cut(model, trainable)
    pictures = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = parts.frozen(pictures)
        assert features.shape == (2, *shape)
        assert torch.equal(parts.trained(features), model(pictures))
    trained = parts.trained.state_dict()
    assert list(trained) == [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]
    assert not trained.keys() & parts.frozen.state_dict().keys()
    assert all(parts.trained.get_parameter(name) is model.get_parameter(name) for name in trained)


def test_dropout_right_before_the_head_is_trained_with_it() -> None:
    parts = cut(build(config.Network("mobilenet_v3_small", "none", 64), 5), "head")
    kinds = [type(module).__name__ for module in parts.trained.modules()]
    assert kinds.count("QuickDropout") == 1
    features, train = torch.ones(4, 1024), parts.trained.train()
    torch.manual_seed(0)
    assert not torch.equal(train(features), train(features))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quick_dropout_drops_a_share_and_keeps_the_mean(p: float, dtype: Any) -> None:
    dropout, ones = QuickDropout(p).train(), torch.ones(40, 9, 9, 31, dtype=dtype).permute(0, 3, 1, 2)
    torch.manual_seed(0)
    first, second = dropout(ones), dropout(ones)
    assert (first.shape, first.stride(), first.dtype) == (ones.shape, ones.stride(), dtype)
    near = 1e-5 if dtype == torch.float32 else 4e-3
    for dropped in (first, second):
        assert abs((dropped == 0).float().mean().item() - p) < 0.005
        assert dropped.unique().tolist() == [0, pytest.approx(1 / (1 - p), rel=near)]
    both = ((first == 0) & (second == 0)).float().mean().item()
    assert abs(both - p * p) < 0.005  # each element is drawn independently, and again each time
    neighbours = ((first[..., 1:] == 0) & (first[..., :-1] == 0)).float().mean().item()
    assert abs(neighbours - p * p) < 0.005
    torch.manual_seed(0)
    assert torch.equal(dropout(ones), first)


def test_quick_dropout_at_its_ends() -> None:
    ones = torch.ones(7)
    assert torch.equal(QuickDropout(0.0).train()(ones), ones)
    assert torch.equal(QuickDropout(1.0).train()(ones), 0 * ones)
    assert torch.equal(QuickDropout(0.5).eval()(ones), ones)
    weight = torch.ones(7, requires_grad=True)
    dropped = QuickDropout(0.5).train()(weight)
    dropped.sum().backward()
    assert torch.equal(weight.grad, dropped.detach())


def test_a_linear_head_takes_the_mean_of_each_map() -> None:
    network = config.Network("squeezenet1_1", "none", 64, head="linear")
    model = build(network, 5).eval()
    parts = cut(model, "head")
    pictures = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = parts.frozen(pictures)
        assert torch.equal(features, model.features(pictures).mean((2, 3))) and features.shape == (2, 512)
        assert torch.equal(parts.trained(features), model(pictures))
    assert {name: tuple(tensor.shape) for name, tensor in parts.trained.state_dict().items()} == {
        "classifier.1.weight": (5, 512),
        "classifier.1.bias": (5,),
    }
    with pytest.raises(ValueError, match=r"network\.head: linear is for .* resnet18 has a linear one, leave it out"):
        build(config.Network("resnet18", "none", 64, head="linear"), 5)
    with pytest.raises(ValueError, match=r"network\.standardise: squeezenet1_1 ends in maps; give network\.head: lin"):
        build(config.Network("squeezenet1_1", "none", 64, standardise=True), 5)


def test_features_are_standardised_by_the_photos_that_the_fold_trains_on() -> None:
    network, training = (
        replace(small(), standardise=True),
        config.Training(epochs=1, trainable="head", precision="fp32"),
    )
    start = starting_weights(network, 3, [0]).weights
    found = features_of(network, training, start, PHOTOS)
    train = np.arange(0, COUNT, 3)
    on_device = NetworkOnDevice(network, training, 3, lambda: found)
    one = NetworkTrainer(Lesson(LABELS, start, train), on_device)
    kept = np.isin(np.arange(COUNT), train[::2])
    weights = one.fit(start, kept, 1)
    mean, sd = found[train].mean(axis=0, dtype=np.float64), found[train].std(axis=0, dtype=np.float64)
    assert_allclose(weights["classifier.6.mean"], mean, rtol=1e-6, atol=1e-7)
    assert_allclose(weights["classifier.6.sd"], np.where(sd < 1e-12, 1, sd), rtol=1e-5)
    scaled = (found - weights["classifier.6.mean"]) / weights["classifier.6.sd"]
    expected = scaled @ weights["classifier.6.weight"].T + weights["classifier.6.bias"]
    assert_allclose(one.logits(weights), expected, atol=1e-4)
    assert same(one.fit(weights, kept, 2), one.fit(weights, kept, 2))


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_rules_see_the_features_as_numbers(precision: str) -> None:
    training = config.Training(trainable="classifier", precision=precision)
    kept = features_of(small(), training, START, PHOTOS)
    exact = torch.from_numpy(kept).view(torch.bfloat16).float().numpy() if precision == "bf16" else kept
    assert_array_equal(trainer(training).features(), exact.reshape(COUNT, -1))
    assert trainer(training, photos=PHOTOS).features().dtype == np.float32


WEIGHTED = config.Training(epochs=3, trainable="head", precision="fp32", steps="weighted")


def test_weighted_steps_that_drop_nothing_are_those_of_all_photos() -> None:
    every = np.ones(COUNT, dtype=bool)
    weighted, kept = (
        trainer(WEIGHTED).fit(START, every, 1),
        trainer(replace(WEIGHTED, steps="kept")).fit(START, every, 1),
    )
    for name in HEAD:
        assert_allclose(weighted[name], kept[name], atol=1e-6)


def test_a_dropped_photo_changes_nothing_where_it_weighs_nothing() -> None:
    """Its features may be any others; and the order is that of all photos, whatever is dropped."""
    found = features_of(small(), WEIGHTED, START, PHOTOS)
    changed = np.where(EVEN[:, None], found, 7 * found + 1)
    lesson = Lesson(LABELS, START, np.arange(COUNT))
    fitted = [
        NetworkTrainer(lesson, NetworkOnDevice(small(), WEIGHTED, 3, lambda rows=rows: rows)).fit(START, EVEN, 1)
        for rows in (found, changed)
    ]
    assert same(*fitted)


@pytest.mark.parametrize("kept", [EVEN, (1 / (1 + np.arange(COUNT) % 3)).astype(np.float32)], ids=["mask", "weights"])
def test_weighted_steps_are_those_of_torch_with_weights(kept: np.ndarray) -> None:
    """Two epochs of SGD by hand: the mean over a batch of weight times loss."""
    found = torch.from_numpy(features_of(small(), WEIGHTED, START, PHOTOS))
    training = replace(WEIGHTED, epochs=2, batch_size=16, momentum=0.0, weight_decay=0.0, head_factor=1.0)
    weight, bias = (torch.tensor(START[name], requires_grad=True) for name in HEAD)
    order = torch.Generator().manual_seed(torch_seed([0, 0, 1, 1]))
    weights = torch.from_numpy(kept * COUNT / kept.sum()).float()
    for _ in range(2):
        for rows in torch.randperm(COUNT, generator=order).split(16):
            loss = cross_entropy(found[rows] @ weight.T + bias, torch.from_numpy(LABELS)[rows], reduction="none")
            slopes = torch.autograd.grad((loss * weights[rows]).mean(), (weight, bias))
            with torch.no_grad():
                for value, slope in zip((weight, bias), slopes, strict=True):
                    value -= training.learning_rate * slope
    mine = trainer(training).fit(START, kept, 1)
    assert_allclose(mine[HEAD[0]], weight.detach(), atol=1e-6)
    assert_allclose(mine[HEAD[1]], bias.detach(), atol=1e-6)


def test_frozen_weights() -> None:
    weights = dict.fromkeys(["features.0.weight", "classifier.1.bias", "classifier.6.weight", "classifier.61.bias"], 0)
    assert list(frozen_weights(weights, "classifier.6", "head")) == [
        "features.0.weight",
        "classifier.1.bias",
        "classifier.61.bias",
    ]
    assert list(frozen_weights(weights, "classifier.6", "classifier")) == ["features.0.weight"]


def features_of(network: Any, training: Any, start: Any, photos: Any) -> Any:
    return FeatureMaker(network, training, 3, start, "cpu").features(photos)


def trainer(
    training: Any,
    network: Any = None,
    start: Any = START,
    photos: Any = PHOTOS,
    labels: Any = LABELS,
    warm_start: str = "all",
) -> Any:
    network = network or small()
    on_device = NetworkOnDevice(network, training, 3, lambda: features_of(network, training, start, photos))
    return NetworkTrainer(Lesson(labels, start, np.arange(len(labels)), warm_start=warm_start), on_device)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize(
    ("backbone", "trainable"), [("small", "head"), ("small", "classifier"), ("squeezenet1_1", "head")]
)
def test_the_whole_network_has_the_logits_of_its_trained_part_bit_by_bit(
    backbone: str, trainable: str, precision: str
) -> None:
    network = config.Network(backbone, "none", 64)
    photos = np.random.default_rng(0).integers(0, 256, (COUNT, 64, 64, 3), dtype=np.uint8)
    start = starting_weights(network, 3, [0]).weights
    training = config.Training(epochs=1, trainable=trainable, precision=precision)
    one = trainer(training, network, start, photos)
    weights = one.fit(start, EVEN, 1)
    assert 0 < len(weights) < len(start)
    assert all(name.startswith("classifier.") for name in weights)
    assert not any(np.array_equal(weights[name], start[name]) for name in weights)
    whole = NetworkOnDevice(network, config.Training(precision=precision), 3, lambda: photos)
    assert_array_equal(
        NetworkTrainer(Lesson(LABELS, start, np.arange(len(LABELS))), whole).logits(start | weights),
        one.logits(weights),
    )
    assert one.conv1(weights) is None


def test_two_steps_of_the_head_are_sgd_on_its_inputs() -> None:
    training = config.Training(epochs=2, batch_size=100, learning_rate=0.01, precision="fp32", trainable="head")
    weights = trainer(training).fit(START, EVEN, 1)
    features = torch.from_numpy(features_of(small(), training, START, PHOTOS)[EVEN]).double()
    weight, bias = (torch.from_numpy(START[name]).double() for name in HEAD)
    moving = [torch.zeros_like(weight), torch.zeros_like(bias)]
    wanted = torch.nn.functional.one_hot(torch.from_numpy(LABELS[EVEN]), 3)
    for _ in range(2):
        error = (softmax(features @ weight.T + bias, 1) - wanted) / len(features)
        for place, gradient in enumerate((error.T @ features + 1e-4 * weight, error.sum(0) + 1e-4 * bias)):
            moving[place] = 0.9 * moving[place] + gradient
        weight, bias = weight - 0.1 * moving[0], bias - 0.1 * moving[1]
    np.testing.assert_allclose(weights[HEAD[0]], weight.numpy(), atol=1e-6)
    np.testing.assert_allclose(weights[HEAD[1]], bias.numpy(), atol=1e-6)


def test_a_frozen_round_is_a_pure_function_too() -> None:
    training = config.Training(epochs=2, trainable="classifier")
    one, fresh = trainer(training), trainer(training)
    first = one.fit(START, EVEN, 4)
    second = one.fit(first, ~EVEN, 5)
    assert same(fresh.fit(first, ~EVEN, 5), second)
    assert same(one.fit(START, EVEN, 4), first)
    assert_array_equal(fresh.logits(second), one.logits(second))
    assert not same(one.fit(START, EVEN, 5), first)  # dropout and order are drawn for the round


@pytest.mark.parametrize("warm_start", ["head", "cold"])
def test_warm_starts_of_a_frozen_network(warm_start: str) -> None:
    still = config.Training(epochs=1, learning_rate=1e-60, trainable="classifier")
    parent = {name: array + 1 for name, array in START.items() if name.startswith("classifier.")}
    weights = trainer(still, warm_start=warm_start).fit(parent, EVEN, 2)
    body = parent if warm_start == "head" else START
    assert_array_equal(weights["classifier.1.weight"], body["classifier.1.weight"])
    assert not np.array_equal(weights[HEAD[0]], body[HEAD[0]])


def test_features_are_those_in_evaluation_mode_a_batch_of_64_at_a_time() -> None:
    network = config.Network("small", "none", SIZE)
    training = config.Training(trainable="head", precision="fp32")
    features = features_of(network, training, START, PHOTOS)
    model = build(network, 3).eval()
    load_weights(model, START)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pictures = ((torch.from_numpy(PHOTOS) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        wanted = model.classifier[:6](model.avgpool(model.features(pictures)).flatten(1))
    np.testing.assert_allclose(features, wanted.numpy(), rtol=0, atol=1e-4)
    assert_array_equal(features[:64], features_of(network, training, START, PHOTOS[:64]))


@NO_GPU
@pytest.mark.parametrize("trainable", ["classifier", "head"])
def test_a_gpu_gives_the_same_bits_of_features_and_rounds(trainable: str) -> None:
    network, training = small(), config.Training(epochs=2, trainable=trainable)
    makers = [FeatureMaker(network, training, 3, START, "cuda") for _ in range(2)]
    features = makers[0].features(PHOTOS)
    assert_array_equal(makers[1].features(PHOTOS), features)
    one, other = (
        NetworkTrainer(
            Lesson(LABELS, START, np.arange(len(LABELS))),
            NetworkOnDevice(network, training, 3, lambda: features, Place("cuda", share)),
        )
        for share in (1.0, 0.0)
    )
    weights = one.fit(START, EVEN, 1)
    assert same(other.fit(START, EVEN, 1), weights)
    assert_array_equal(one.logits(weights), other.logits(weights))
    whole = NetworkOnDevice(network, config.Training(), 3, lambda: PHOTOS, Place("cuda"))
    assert_array_equal(
        NetworkTrainer(Lesson(LABELS, START, np.arange(len(LABELS))), whole).logits(START | weights),
        one.logits(weights),
    )


def test_version_1_of_the_arithmetic_of_frozen_rounds() -> None:
    """If you change dropout, the cut or how features are stored, count `ARITHMETIC` up."""
    assert ARITHMETIC == 1
    photos, labels = stripes(40, SIZE, seed=3)
    training = config.Training(epochs=10, batch_size=8, precision="fp32", trainable="classifier")
    features = features_of(small(), training, START, photos)
    network = NetworkOnDevice(small(), training, 3, lambda: features)
    one = NetworkTrainer(Lesson(labels, START, np.arange(len(labels)), seed=1, fold=2), network)
    logits = one.logits(one.fit(START, np.arange(40) < 30, 1))
    np.testing.assert_allclose(logits[[0, 1, 39]], PINNED, rtol=0, atol=1e-3)
