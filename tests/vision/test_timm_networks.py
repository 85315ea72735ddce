"""timm's networks: built, cut before their last layer, with their own preprocessing and weights."""

import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from numpy.testing import assert_array_equal
from safetensors.torch import save_file
from vision.test_frozen import trainer
from vision.test_trainer import COUNT, EVEN, LABELS

from rsrl_ray.config import Network, Training
from rsrl_ray.vision.encoders import TORCHVISION, Preprocessing, preprocessing_of, usual_size
from rsrl_ray.vision.frozen import cut
from rsrl_ray.vision.lesson import Lesson
from rsrl_ray.vision.network import build, conv1_name, has_conv1, head_name, starting_weights
from rsrl_ray.vision.on_device import NetworkOnDevice
from rsrl_ray.vision.trainer import NetworkTrainer

NAMES = {  # the last layer, its features, the first convolution
    "test_resnet": ("fc", 96, "conv1.0"),
    "test_efficientnet": ("classifier", 256, "conv_stem"),
    "test_convnext": ("head.fc", 64, None),
    "test_nfnet": ("head.fc", 192, None),
    "test_vit": ("head", 64, None),
    "test_vit3": ("head", 96, None),
    "test_maxvit": ("head.fc", 128, "stem.conv1"),
    "regnetx_002": ("head.fc", 368, "stem.conv"),
}
SIZE = 160


def pictures(count: int = 2, size: int = SIZE) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_what_comes_before_its_last_layer_and_that_layer(name: str) -> None:
    head, width, conv1 = NAMES[name]
    network = Network(f"timm/{name}", "none", usual_size(f"timm/{name}"))
    model = build(network, 5).eval()
    assert (head_name(model), conv1_name(model)) == (head, conv1)
    parts = cut(model, "head")
    with torch.inference_mode():
        features = parts.frozen(pictures(size=network.image_size))
        assert features.shape == (2, width)
        assert torch.equal(parts.trained(features), model(pictures(size=network.image_size)))
    assert list(parts.trained.state_dict()) == [f"{head}.weight", f"{head}.bias"]
    assert parts.trained.get_parameter(f"{head}.weight").shape == (5, width)


@pytest.mark.parametrize("name", ["naflexvit_base_patch16_gap", "tresnet_m", "tf_efficientnet_lite0"])
def test_networks_without_a_plain_convolution_of_the_picture(name: str) -> None:
    """The first has no convolution, the second takes the picture apart first, the third pads in TensorFlow's way."""
    with torch.device("meta"):
        assert conv1_name(timm.create_model(name)) is None


@pytest.mark.parametrize(("name", "standardise"), [("test_efficientnet", False), ("test_vit", True)])
def test_the_whole_network_has_the_logits_of_its_last_layer_bit_by_bit(name: str, standardise: bool) -> None:
    network = Network(f"timm/{name}", "none", SIZE, standardise=standardise)
    photos = np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), dtype=np.uint8)
    start = starting_weights(network, 3, [0]).weights
    one = trainer(Training(epochs=1, trainable="head"), network, start, photos)
    weights = one.fit(start, EVEN, 1)
    whole = NetworkOnDevice(network, Training(), 3, lambda: photos)
    lesson = Lesson(LABELS, start, np.arange(len(LABELS)))
    assert_array_equal(NetworkTrainer(lesson, whole).logits(start | weights), one.logits(weights))


def test_photos_are_prepared_as_timm_says_also_with_a_file_of_weights() -> None:
    lite0 = Network("timm/tf_efficientnet_lite0", "mine.pt")
    assert preprocessing_of(lite0) == Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    clip = preprocessing_of(Network("timm/vit_base_patch32_clip_224.openai"))
    assert clip.mean == (0.48145466, 0.4578275, 0.40821073)
    assert preprocessing_of(Network("squeezenet1_1")) == TORCHVISION
    sizes = {"timm/tf_efficientnet_lite0": 224, "timm/vit_small_patch14_dinov2": 518, "small": 64, "inception_v3": 299}
    assert {name: usual_size(name) for name in sizes} == sizes


def test_a_vision_transformer_takes_the_size_that_is_asked_for() -> None:
    network = Network("timm/test_vit", "none", 64)
    assert build(network, 3).eval()(pictures(size=64)).shape == (2, 3)
    assert not has_conv1(network)


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        ("timm/resnet18x", r"timm has no 'resnet18x'; did you mean timm/resnet18"),
        ("timm/resnet18.of_mine", r"timm's resnet18 has no weights 'of_mine'; it has a1_in1k"),
        ("timm/resnet18.", r"timm's resnet18 has no weights ''; it has a1_in1k"),
        ("timm/deit_tiny_distilled_patch16_224", "does not end in one linear layer"),
        ("timm/dla34", "does not end in one linear layer"),
        ("timm/efficientvit_m0", "does not end in one linear layer"),  # a batch normalisation stands before it
        ("timm/vit_base_patch16_sapiens2", "takes pictures of 768 x 1024, not square ones"),
    ],
)
def test_what_cannot_be_had_is_said(backbone: str, words: str) -> None:
    with pytest.raises(ValueError, match=rf"^network\.backbone: .*{words}"):
        build(Network(backbone, "none", 224), 3)


def test_without_timm_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"needs the package timm .*pip install 'rsrl_ray\[timm\]'"):
        build(Network("timm/test_resnet", "none", SIZE), 3)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_gives_all_but_the_last_layer(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(1)
    state: dict[str, Any] = timm.create_model("test_resnet").state_dict()
    file = tmp_path / f"mine{suffix}"
    save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
    start = starting_weights(Network("timm/test_resnet", str(file), SIZE), 3, [0])
    assert start.random_layers == () and start.head == "fc"
    given = {name for name in state if not name.startswith("fc.")}
    assert all(np.array_equal(start.weights[name], state[name].numpy()) for name in given)
    assert start.weights["fc.weight"].shape == (3, 96)
    with pytest.raises(ValueError, match=r"does not fit timm/test_vit"):
        starting_weights(Network("timm/test_vit", str(file), SIZE), 3, [0])


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"weights of timm/test_resnet cannot be downloaded .*give a file"):
        starting_weights(Network("timm/test_resnet", "imagenet", SIZE), 3, [0])
    with pytest.raises(ValueError, match=r"timm has no pretrained weights of timm/ghostnet_050; use none"):
        starting_weights(Network("timm/ghostnet_050", "imagenet", 64), 3, [0])


def test_pretrained_weights_are_fitted_to_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The download is played by a network of another size, as `timm` itself gets it."""
    torch.manual_seed(1)
    state = timm.create_model("test_vit").state_dict()
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_, **__: dict(state))
    start = starting_weights(Network("timm/test_vit", "imagenet", 64), 3, [0])
    assert_array_equal(start.weights["patch_embed.proj.weight"], state["patch_embed.proj.weight"].numpy())
    assert start.weights["pos_embed"].shape == (1, 1 + 16, 64) != tuple(state["pos_embed"].shape)
    assert start.weights["head.weight"].shape == (3, 64)
