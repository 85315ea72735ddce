from dataclasses import replace

import pytest
import torch
from vision.test_trainer import NO_GPU

from rsrl_ray.config import Network, Training
from rsrl_ray.vision.evaluation import EVALUATION_BATCH
from rsrl_ray.vision.memory import PROCESS, gpu_room, gpus, refusals, trial_memory

SMALL = Network("small", "none", 64)


def test_the_memory_of_the_small_network_number_by_number() -> None:
    # Bytes that the forward pass keeps for one photo: the inputs of each layer, and the places of the maxima.
    kept = [3 * 64 * 64 * 4]
    kept += [8 * 32 * 32 * 4, 8 * 15 * 15 * 8, 8 * 15 * 15 * 4]  # convolution, places of the maxima, pooled maps
    kept += [20 * 15 * 15 * 4, 20 * 7 * 7 * 8, 20 * 7 * 7 * 4]
    kept += [40 * 7 * 7 * 4, 26 * 7 * 7 * 4, 26 * 7 * 7 * 4, 26 * 3 * 3 * 8]
    kept += [26 * 9 * 4, 26 * 9 * 4]  # the mask of dropout, and its output
    kept += [400 * 4, 400 * 4, 400 * 4, 400 * 4]
    convolutions = (
        8 * (3 * 7 * 7 + 1) + 20 * (8 * 5 * 5 + 1) + 40 * (20 * 9 + 1) + 26 * (40 * 9 + 1) + 26 * (26 * 9 + 1)
    )
    weights = 4 * (convolutions + 400 * (26 * 9 + 1) + 400 * (400 + 1) + 5 * (400 + 1))
    step = 100 * (sum(kept) + 3 * max(kept))
    assert step > EVALUATION_BATCH * 3 * max(kept)
    assert trial_memory(SMALL, Training(batch_size=100), classes=5) == PROCESS + 4 * weights + step


def test_a_frozen_network_takes_what_the_larger_of_its_parts_takes() -> None:
    network, frozen = Network("alexnet", "none", 224), Training(trainable="head")
    head = 4 * (4096 * 5 + 5) * 4 + 32 * 4 * 4096 * 4  # weights, gradients and so on; the inputs of the head
    passing = 4 * (57_003_840 + 0) + EVALUATION_BATCH * 3 * 64 * 55 * 55 * 4  # weights; conv1's maps
    assert passing > head
    assert trial_memory(network, frozen, classes=5) == PROCESS + passing
    whole = trial_memory(network, Training(), classes=5)
    assert trial_memory(network, frozen, 5) < trial_memory(network, Training(trainable="classifier"), 5) < whole


def test_judging_takes_the_most_where_batches_are_tiny() -> None:
    one, two = (trial_memory(SMALL, Training(batch_size=size), classes=5) for size in (1, 2))
    assert one == two < trial_memory(SMALL, Training(batch_size=64), classes=5)


@pytest.mark.parametrize("backbone", ["alexnet", "squeezenet1_1", "resnet18"])
def test_more_photos_and_larger_ones_take_more(backbone: str) -> None:
    network = Network(backbone, "none", 96)
    of_32, of_64 = (trial_memory(network, Training(batch_size=size), 8) for size in (32, 64))
    larger = trial_memory(replace(network, image_size=192), Training(batch_size=64), 8)
    assert PROCESS < of_32 < of_64 < larger


def test_photos_have_what_a_share_or_what_is_free_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (20_000, 80_000))
    assert gpu_room(0.2, 6_000) == 9_000  # 9 tenths of what the share leaves
    assert gpu_room(0.5, 10_000) == 9_000  # its share would be 40,000, but others use a part of it
    assert gpu_room(0.1, 10_000) < 0


@NO_GPU
def test_a_gpu_counts_what_it_refuses() -> None:
    before = refusals()
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(2**50, dtype=torch.uint8, device="cuda")
    assert refusals() == before + 1


@NO_GPU
def test_a_gpu_tells_how_much_it_has_and_how_much_is_free() -> None:
    (first, *_) = gpus()
    assert first.name == torch.cuda.get_device_name(0)
    assert 0 < first.free < first.memory
    assert 0 < gpu_room(1.0, 0) <= first.free < first.memory
    assert gpu_room(0.5, first.memory) < 0
