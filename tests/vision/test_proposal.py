"""Which network `rsrl init` proposes to freeze."""

from pathlib import Path

import pytest
import timm
import torch

from rsrl_ray.config import Network
from rsrl_ray.vision import proposal
from rsrl_ray.vision.network import build
from rsrl_ray.vision.proposal import LITE0, network_here


def save(folder: Path, name: str, network: torch.nn.Module) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(network.state_dict(), folder / name)
    return folder / name


def test_a_whole_file_of_weights_that_is_named_as_its_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert network_here([tmp_path]) == LITE0
    (tmp_path / "resnet18_damaged.pth").write_bytes(b"no weights")
    save(tmp_path, "resnet18_of_another.pt", timm.create_model("test_vit"))
    save(tmp_path, "mine.pt", timm.create_model("test_resnet"))
    assert network_here([tmp_path, tmp_path / "nowhere"]) == LITE0
    monkeypatch.setattr(proposal, "find_spec", lambda name: None)
    assert network_here([tmp_path]) is None
    file = save(tmp_path, "squeezenet1_1-b8a52dc0.pth", build(Network("squeezenet1_1", "none", 64), 1000))
    found = Network("squeezenet1_1", str(file), 224, head="linear", standardise=True)
    assert network_here([tmp_path]) == found
    monkeypatch.undo()
    file = save(tmp_path / "more", "test_resnet.r160_in1k.pt", timm.create_model("test_resnet"))
    assert network_here([tmp_path / "more"]) == Network("timm/test_resnet", str(file), 160, standardise=True)


def test_a_part_of_a_network_is_not_proposed(tmp_path: Path) -> None:
    whole = build(Network("squeezenet1_1", "none", 64), 1000).state_dict()
    torch.save({name: tensor for name, tensor in whole.items() if "features.1" in name}, tmp_path / "squeezenet1_1.pt")
    assert network_here([tmp_path]) == LITE0
