"""A probe tells devices apart by what they compute."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from vision.test_trainer import NO_GPU

from rsrl_ray.config import Network, Training
from rsrl_ray.identity import probed
from rsrl_ray.vision import features, on_device
from rsrl_ray.vision import probe as module
from rsrl_ray.vision.evaluation import Normaliser
from rsrl_ray.vision.memory import OutOfMemory
from rsrl_ray.vision.network import starting_weights
from rsrl_ray.vision.probe import probe

NETWORK = Network("small", "none", 32)
START = starting_weights(NETWORK, 3, [0]).weights
WHOLE, FROZEN = Training(precision="fp32"), Training(precision="fp32", trainable="classifier")


def made_here(training: Training = WHOLE, network: Network = NETWORK) -> str:
    return probe(network, training, 3, START, "cpu")


class Other(Normaliser):
    """The probe of a machine whose last bit differs."""

    def __call__(self, photos: Tensor) -> Tensor:
        return super().__call__(photos) * (1 + 2**-23)


@pytest.mark.parametrize(("training", "room"), [(WHOLE, on_device), (FROZEN, features)])
def test_another_last_bit_is_another_probe_also_of_what_is_frozen(
    training: Training, room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = made_here(training)
    assert here == made_here(training) and len(here) == 32
    monkeypatch.setattr(room, "Normaliser", Other)
    assert made_here(training) != here


def test_weighted_steps_are_probed_as_they_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    training = probed(Training("head", precision="fp32", steps="weighted"))
    here, bmm = made_here(training), torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda one, other: bmm(one, other) * (1 + 2**-23))
    assert made_here(training) != here


def test_it_is_of_the_very_network_and_of_how_a_device_computes_it() -> None:
    others = [Training(), replace(WHOLE, batch_size=7), replace(WHOLE, batch_size=70), FROZEN]
    assert len({made_here(), *map(made_here, others)}) == 5


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[float]]:
    """A GPU that is full this many times. Returns the pauses of those who wait."""

    def times(count: int) -> list[float]:
        pauses: list[float] = []
        monkeypatch.setattr(module.time, "sleep", pauses.append)
        left, inner = [None] * count, torch.nn.functional.cross_entropy

        def cross_entropy(*arguments: Any) -> Tensor:
            if left:
                left.pop()
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return inner(*arguments)

        monkeypatch.setattr(torch.nn.functional, "cross_entropy", cross_entropy)
        return pauses

    return times


def test_it_is_tried_again_where_the_memory_is_full_and_then_an_error(full: Callable[[int], list[float]]) -> None:
    here = made_here()
    pauses = full(2)
    assert made_here() == here
    assert pauses == [5.0, 5.0]
    full(3)
    with pytest.raises(OutOfMemory):
        made_here()


def test_nor_is_it_known_by_what_cudnn_computes_without_room(
    full: Callable[[int], list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, pauses, stats = made_here(), full(0), {"num_ooms": 3}
    inner, refusals = torch.nn.functional.cross_entropy, [2]

    def short_of_room(*arguments: Any) -> Tensor:
        if refusals[0]:
            refusals[0] -= 1
            stats["num_ooms"] += 1
        return inner(*arguments)

    monkeypatch.setattr(torch.cuda, "memory_stats", lambda: stats)
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", short_of_room)
    assert (made_here(), pauses) == (here, [5.0])  # two steps a try
    refusals[0] = 99
    with pytest.raises(OutOfMemory, match="other bits"):
        made_here()


@NO_GPU
@pytest.mark.parametrize("training", [WHOLE, FROZEN, Training()])
def test_a_gpu_has_its_own_probe_each_time(training: Training) -> None:
    found = {probe(NETWORK, training, 3, START, "cuda") for _ in range(3)}
    assert len(found) == 1 and made_here(training) not in found
