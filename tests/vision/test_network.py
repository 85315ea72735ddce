import copy
import io
import pickle
import re
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from rsrl_ray import config
from rsrl_ray.vision import network as networks
from rsrl_ray.vision.layers import AveragePool, Small
from rsrl_ray.vision.network import build, conv1_of, head_name, new_head, starting_weights, weights_of

SMALL = config.Network(backbone="small", weights="none", image_size=64)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[Any]:
    """Two threads that wait for a busy second core are far slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_state(classes: int = 1000) -> Any:
    torch.manual_seed(5)
    model = Small()
    model.classifier[6] = nn.Linear(400, classes)
    return model.state_dict()


def from_file(path: Path, backbone: str = "small", image_size: int = 64) -> Any:
    return config.Network(backbone=backbone, weights=str(path), image_size=image_size)


@pytest.mark.parametrize(
    ("backbone", "size", "head", "conv1", "filters"),
    [
        ("small", 64, "classifier.6", "features.0", (8, 3, 7, 7)),
        ("alexnet", 64, "classifier.6", "features.0", (64, 3, 11, 11)),
        ("squeezenet1_1", 32, "classifier.1", "features.0", (64, 3, 3, 3)),
        pytest.param("vgg11", 32, "classifier.6", "features.0", (64, 3, 3, 3), marks=pytest.mark.slow),
        ("resnet18", 32, "fc", "conv1", (64, 3, 7, 7)),
        ("mobilenet_v3_small", 32, "classifier.3", "features.0.0", (16, 3, 3, 3)),
        ("mnasnet0_5", 32, "classifier.1", "layers.0", (16, 3, 3, 3)),
        ("googlenet", 64, "fc", "conv1.conv", (64, 3, 7, 7)),
        pytest.param("inception_v3", 96, "fc", "Conv2d_1a_3x3.conv", (32, 3, 3, 3), marks=pytest.mark.slow),
    ],
)
def test_a_backbone_gets_a_head_of_true_logits(backbone: Any, size: Any, head: Any, conv1: Any, filters: Any) -> None:
    torch.manual_seed(0)
    model = build(config.Network(backbone=backbone, weights="none", image_size=size), 5).eval()

    assert head_name(model) == head
    found = conv1_of(model, weights_of(model))
    assert found.weight.shape == filters
    assert_array_equal(found.weight, weights_of(model)[f"{conv1}.weight"])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = model(torch.randn(4, 3, size, size))
    assert logits.shape == (4, 5)
    assert logits.min() < 0  # there is no ReLU after the head
    # float32 under autocast too: not all logits are bfloat16 numbers
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())


def test_auxiliary_heads_of_a_file_are_left_out(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = models.googlenet(init_weights=False)
    torch.save(theirs.state_dict(), tmp_path / "googlenet.pt")
    start = starting_weights(from_file(tmp_path / "googlenet.pt", "googlenet", 64), 3, [0, 0])
    assert start.random_layers == ()
    assert not any(name.startswith("aux") for name in start.weights)
    ours = build(config.Network("googlenet", "none", 64), 1000).eval()
    networks.load_weights(
        ours, start.weights | {name: theirs.state_dict()[name].numpy() for name in ("fc.weight", "fc.bias")}
    )
    pictures, theirs.transform_input = torch.randn(2, 3, 64, 64), True  # as torchvision builds it for its own weights
    with torch.no_grad():
        torch.testing.assert_close(ours(pictures), theirs.eval()(pictures))


def test_squeezenets_own_relu_goes_and_the_rest_stays() -> None:
    torch.manual_seed(0)
    model = build(config.Network(backbone="squeezenet1_1", weights="none", image_size=64), 5)
    assert [type(layer).__name__ for layer in model.classifier] == [
        "Dropout",
        "ConvHead",
        "Identity",
        "AdaptiveAvgPool2d",
    ]


def test_a_built_network_computes_what_torchvisions_does() -> None:
    # with 64 pixels AlexNet has a 1 x 1 map, which its pool makes 6 x 6
    torch.manual_seed(0)
    model = build(config.Network(backbone="alexnet", weights="none", image_size=64), 10).eval()
    theirs = models.alexnet(num_classes=10).eval()
    theirs.load_state_dict(model.state_dict())
    pictures = torch.randn(2, 3, 64, 64)
    assert isinstance(model.avgpool, AveragePool)
    with torch.no_grad():
        torch.testing.assert_close(model(pictures), theirs(pictures))


@pytest.mark.parametrize(
    ("size", "output_size"), [((13, 9), (6, 4)), ((7, 7), (6, 6)), ((1, 1), (3, 3)), ((4, 5), (4, 2))]
)
def test_average_pool_is_torchs_adaptive_pool(size: Any, output_size: Any) -> None:
    maps = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1), requires_grad=True)
    twin = maps.detach().clone().requires_grad_()
    ours, theirs = AveragePool(size, output_size)(maps), nn.AdaptiveAvgPool2d(output_size)(twin)
    torch.testing.assert_close(ours, theirs)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    torch.testing.assert_close(maps.grad, twin.grad)


def test_average_pool_is_exact_in_bfloat16_autocast() -> None:
    maps = torch.arange(9.0).reshape(1, 1, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = AveragePool((3, 3), (2, 2))(maps)
    assert pooled.tolist() == [[[[2.0, 3.0], [5.0, 6.0]]]]


def test_pools_are_replaced_only_where_they_have_to_be() -> None:
    torch.manual_seed(0)
    fits = build(SMALL, 3)  # 64 pixels: the map is 3 x 3 already
    assert isinstance(fits.avgpool, nn.Identity)
    larger = build(config.Network(backbone="small", weights="none", image_size=100), 3)
    assert isinstance(larger.avgpool, AveragePool)
    mean = build(config.Network(backbone="resnet18", weights="none", image_size=64), 3)
    assert isinstance(mean.avgpool, nn.AdaptiveAvgPool2d)


@pytest.mark.parametrize(
    ("backbone", "size", "message"),
    [
        ("resnet-18", 64, "network.backbone: there is no 'resnet-18'; did you mean resnet18"),
        ("AlexNet", 64, "did you mean alexnet"),
        ("qqqq", 64, "did you mean alexnet or resnet18 or small"),
        ("inception_v3", 64, "network.image_size: inception_v3 cannot take pictures of 64 x 64 pixels"),
        ("alexnet", 32, "network.image_size: alexnet cannot take pictures of 32 x 32 pixels"),
        ("small", 7, "network.image_size: small cannot take pictures of 7 x 7 pixels"),
    ],
)
def test_networks_that_are_refused(backbone: str, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build(config.Network(backbone=backbone, weights="none", image_size=size), 3)


def test_random_weights_come_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = starting_weights(SMALL, 4, [7, 0])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second, other = starting_weights(SMALL, 4, [7, 0]), starting_weights(SMALL, 4, [7, 1])
    for name, array in first.weights.items():
        assert array.dtype == np.float32
        assert_array_equal(second.weights[name], array)
    assert not np.array_equal(other.weights["features.0.weight"], first.weights["features.0.weight"])
    assert first.weights["classifier.6.weight"].shape == (4, 400)
    assert first.random_layers == (
        *(f"features.{i}" for i in (0, 3, 6, 8, 10)),
        *("classifier.1", "classifier.4"),
    )


def test_small_starts_with_a_signal_that_lives_to_the_end() -> None:
    torch.manual_seed(0)
    model = build(SMALL, 3).eval()
    with torch.no_grad():
        spread = model.classifier[:6](model.features(torch.randn(64, 3, 64, 64)).flatten(1)).std(0).mean()
    assert spread > 0.05  # PyTorch's default leaves 0.001


def test_a_file_with_a_part_of_the_network_names_what_starts_random(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in small_state().items() if name.startswith("features")}
    torch.save(state, tmp_path / "part.pt")
    start, random = starting_weights(from_file(tmp_path / "part.pt"), 4, [7]), starting_weights(SMALL, 4, [7])
    assert start.random_layers == ("classifier.1", "classifier.4")
    assert_array_equal(start.weights["features.3.weight"], state["features.3.weight"].numpy())
    for name in ("classifier.1.weight", "classifier.4.bias", "classifier.6.weight"):
        assert_array_equal(start.weights[name], random.weights[name])


@pytest.mark.parametrize("form", ["plain", "nested", "module", "half", "same head", "safetensors"])
def test_whole_files_of_several_forms(tmp_path: Path, form: str) -> None:
    state = small_state(classes=4 if form == "same head" else 1000)
    path = tmp_path / f"whole.{'safetensors' if form == 'safetensors' else 'pth'}"
    match form:
        case "nested":
            torch.save({"epoch": 3, "state_dict": state}, path)
        case "module":
            torch.save({f"module.{name}": tensor for name, tensor in state.items()}, path)
        case "half":
            torch.save({name: tensor.half() for name, tensor in state.items()}, path)
        case "safetensors":
            save_file(state, path)
        case _:
            torch.save(state, path)
    start = starting_weights(from_file(path), 4, [7])
    assert start.random_layers == ()
    wanted = state["features.0.weight"].half().float() if form == "half" else state["features.0.weight"]
    assert_array_equal(start.weights["features.0.weight"], wanted.numpy())
    # the old head is never used, even if it fits
    assert_array_equal(start.weights["classifier.6.bias"], starting_weights(SMALL, 4, [7]).weights["classifier.6.bias"])


def test_counters_that_a_file_lacks_are_no_random_layers(tmp_path: Path) -> None:
    network = config.Network(backbone="mobilenet_v3_small", weights="none", image_size=32)
    torch.manual_seed(0)
    state = build(network, 3).state_dict()
    torch.save({n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}, tmp_path / "a.pt")
    start = starting_weights(from_file(tmp_path / "a.pt", "mobilenet_v3_small", 32), 3, [0])
    assert start.random_layers == ()
    assert start.weights["features.0.1.num_batches_tracked"].dtype == np.int64
    assert start.weights["features.0.1.num_batches_tracked"].shape == ()


class Burglar:
    def __reduce__(self) -> Any:
        return (exec, ("import pathlib; pathlib.Path('burgled').touch()",))


def truncated() -> Any:
    buffer = io.BytesIO()
    torch.save(small_state(), buffer)
    return buffer.getvalue()[:20000]


BAD_FILES = {
    "pickle.pt": (Burglar(), "or holds more than tensors. Such a file could run code, so it is not opened"),
    "raw.pt": (pickle.dumps(Burglar(), protocol=2), "is damaged, or holds more than tensors"),
    "cut.pt": (truncated(), "; it may be damaged, get it again"),
    "empty.pth": (b"", "cannot be read (EOFError); it may be damaged, get it again"),
    "cut.safetensors": (b"\x10\0\0\0\0\0\0\0{", "cannot be read (Error while deserializing header"),
    "list.pt": ([torch.zeros(2)], "holds no state dict (names and tensors); save the network's state_dict()"),
    "tensor.pt": (torch.zeros(2), "holds no state dict"),
    "nothing.pt": ({}, "holds no state dict"),
    "epoch.pt": ({"epoch": 3}, "holds no state dict"),
    "weights.bin": (b"abc", "is neither imagenet nor a file of weights; give a file (.pt, .pth, .safetensors)"),
    "other.pt": (
        {"conv1.weight": torch.zeros(64, 3, 7, 7)},
        "does not fit small: no common name: it has conv1.weight, the network features.0.weight",
    ),
    "head.pt": ({"classifier.6.bias": torch.zeros(1000)}, "it holds no layer except the head; give another file"),
    "more.pt": (
        {**small_state(), **{f"features.{i}.weight": torch.zeros(1) for i in range(20, 25)}},
        "the network has no features.20.weight, features.21.weight, features.22.weight and 2 more",
    ),
    "shape.pt": (
        small_state() | {"features.0.weight": torch.zeros(6, 3, 11, 11)},
        "features.0.weight should be [8, 3, 7, 7] and is [6, 3, 11, 11]; set network.backbone and image_size to",
    ),
    "nan.pt": (
        small_state() | {"features.3.bias": torch.full((20,), torch.nan)},
        "features.3.bias hold numbers that are not finite",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    content, message = BAD_FILES[name]
    monkeypatch.chdir(tmp_path)
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        torch.save(content, tmp_path / name)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        starting_weights(from_file(tmp_path / name), 3, [0])
    assert str(caught.value).startswith("network.weights: ")
    assert name in str(caught.value)
    assert not (tmp_path / "burgled").exists()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"network\.weights: there is no file .*gone\.pt; give a file"):
        starting_weights(from_file(tmp_path / "gone.pt"), 3, [0])


def test_a_misspelt_imagenet() -> None:
    with pytest.raises(ValueError, match="'imagnet' is neither imagenet nor a file of weights"):
        starting_weights(from_file("imagnet"), 3, [0])


def download(monkeypatch: pytest.MonkeyPatch, result: Any) -> Any:
    """Torchvision's download gives or raises ``result``. Returns the arguments of its calls."""
    calls = []

    def load(url: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append((url, args, kwargs))
        if isinstance(result, Exception):
            raise result
        return copy.copy(result)

    monkeypatch.setattr(models._api, "load_state_dict_from_url", load)
    return calls


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("no route to host"), RuntimeError("invalid hash value"), TimeoutError("slow")]
)
def test_a_download_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    download(monkeypatch, error)
    with pytest.raises(ValueError, match="the imagenet weights of squeezenet1_1") as caught:
        starting_weights(config.Network(backbone="squeezenet1_1", image_size=32), 3, [0])
    assert "needs network access; without it, give a file (.pt, .pth, .safetensors)" in str(caught.value)
    assert "squeezenet1_1-b8a52dc0.pth" in str(caught.value)


def test_the_download_is_checked_and_never_unpickled_unsafely(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    state = models.squeezenet1_1().state_dict()
    calls = download(monkeypatch, state)
    start = starting_weights(config.Network(backbone="squeezenet1_1", image_size=32), 3, [0])
    assert start.random_layers == ()
    assert_array_equal(start.weights["features.0.weight"], state["features.0.weight"].numpy())
    assert start.weights["classifier.1.weight"].shape == (3, 512, 1, 1)
    [(url, _, options)] = calls
    assert url.endswith("squeezenet1_1-b8a52dc0.pth")
    assert options == {"progress": False, "check_hash": True, "weights_only": True}


def test_the_old_names_in_densenets_download(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    state = models.densenet121().state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", name): t for name, t in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    download(monkeypatch, old)
    start = starting_weights(config.Network(backbone="densenet121", image_size=32), 3, [0])
    assert start.random_layers == ()
    name = "features.denseblock1.denselayer2.conv1.weight"
    assert_array_equal(start.weights[name], state[name].numpy())


def test_small_has_no_imagenet_weights() -> None:
    with pytest.raises(ValueError, match="small has no imagenet weights, it is trained from scratch; give none"):
        starting_weights(config.Network(backbone="small", image_size=64), 3, [0])


def test_a_new_head_is_drawn_from_its_seed_alone() -> None:
    torch.manual_seed(0)
    model = build(config.Network(backbone="squeezenet1_1", weights="none", image_size=32), 3)
    before, old = torch.get_rng_state(), weights_of(model)
    head, again, other = new_head(model, [1, 2]), new_head(model, [1, 2]), new_head(model, [1, 3])
    assert head.keys() == {"classifier.1.weight", "classifier.1.bias"}
    assert torch.equal(torch.get_rng_state(), before)
    for name, array in head.items():
        assert array.shape == old[name].shape
        assert_array_equal(again[name], array)
        assert not np.array_equal(other[name], array)
        assert_array_equal(weights_of(model)[name], old[name])  # the model itself is left alone
    assert 0.9 < np.abs(head["classifier.1.weight"]).max() * np.sqrt(512) <= 1.0001


def test_weights_come_out_as_copies_and_go_back_in() -> None:
    torch.manual_seed(0)
    network = config.Network(backbone="mnasnet0_5", weights="none", image_size=32)
    model, other = build(network, 3).to(memory_format=torch.channels_last), build(network, 3)
    weights = weights_of(model)
    assert all(array.flags.c_contiguous for array in weights.values())
    for array in weights.values():
        array.flags.writeable = False  # as an archive may hand them out
    networks.load_weights(other, weights)
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)
    nn.init.zeros_(model.get_submodule("layers.0").weight)
    assert weights["layers.0.weight"].any()
    assert {array.dtype.name for array in weights.values()} == {"float32", "int64"}


def test_conv1_with_and_without_a_bias() -> None:
    torch.manual_seed(0)
    small = build(SMALL, 3)
    weights = weights_of(small)
    weights["features.0.bias"][2] = 5
    conv1 = conv1_of(small, weights)
    assert conv1.bias.tolist() == [0, 0, 5, 0, 0, 0, 0, 0]
    assert (conv1.stride, conv1.padding) == ((2, 2), (3, 3))
    assert_array_equal(conv1.weight, weights["features.0.weight"])

    resnet = build(config.Network(backbone="resnet18", weights="none", image_size=32), 3)
    conv1 = conv1_of(resnet, weights_of(resnet))
    assert (conv1.bias.shape, conv1.bias.any(), conv1.bias.dtype) == ((64,), False, np.float32)
    assert (conv1.weight.shape, conv1.stride, conv1.padding) == ((64, 3, 7, 7), (2, 2), (3, 3))
