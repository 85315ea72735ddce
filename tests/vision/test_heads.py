"""Last layers that train in lockstep: a method has the same bits alone and among others."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from vision.test_trainer import NO_GPU, same

from rsrl_ray.config import Network, Training
from rsrl_ray.core.ridge import Ridge
from rsrl_ray.vision import lockstep, trainer
from rsrl_ray.vision.heads import HeadRound, StackedHeads
from rsrl_ray.vision.lesson import Lesson, NotFinite
from rsrl_ray.vision.lockstep import fit_in_lockstep, has_stacked_head
from rsrl_ray.vision.losses import CROSS_ENTROPY, Balanced, EffectiveNumber, Focal, Ldam, Loss
from rsrl_ray.vision.network import Weights, starting_weights, trains_in_lockstep
from rsrl_ray.vision.on_device import NetworkOnDevice, Place
from rsrl_ray.vision.solving import solved
from rsrl_ray.vision.trainer import NetworkTrainer, fit_together, judge_together

COUNT = 200
LABELS = np.repeat(np.arange(7), [90, 40, 20, 20, 10, 10, 10])  # so many that no layer fills whole vectors
TRAIN = np.flatnonzero(np.arange(COUNT) % 5)


class Doubled:
    """A loss of a user."""

    def __call__(self, logits: Tensor, labels: Tensor, counts: Tensor, number: int = 1) -> Tensor:
        return 2 * torch.nn.functional.cross_entropy(logits, labels)


LOSSES: list[Loss] = [
    *(CROSS_ENTROPY, Balanced(0.5, 1.0), Focal(2.0), Focal(0.5), Balanced(1.0), EffectiveNumber(0.99)),
    *(Ldam(0.5, 2), Ldam(0.5), Doubled(), Balanced(1.0, smooth=1.0)),
]
TRAINING = Training(trainable="head", steps="weighted", epochs=2, learning_rate=0.01)
OWN = [  # what methods train with of their own; the last four do not train in lockstep with the first ones
    *(TRAINING, replace(TRAINING, weight_decay=0.3), TRAINING, replace(TRAINING, learning_rate=0.001, momentum=0.5)),
    *(replace(TRAINING, head_factor=1.0), replace(TRAINING, epochs=1), replace(TRAINING, batch_size=16)),
    replace(TRAINING, steps="kept"),
]
# a dropout before the last layer; a last layer that standardises; neither
NETWORKS = {
    "mobilenet_v3_small": (Network("mobilenet_v3_small", "none", 64), 1024),
    "standardised": (Network("small", "none", 64, standardise=True), 400),
    "small": (Network("small", "none", 64), 400),
}


def on_device(name: str, device: str = "cpu", threads: int = 1) -> tuple[NetworkOnDevice, Weights]:
    network, width = NETWORKS[name]
    features = np.random.default_rng(0).normal(1, 2, (COUNT, width)).astype(np.float32)
    there = NetworkOnDevice(network, replace(TRAINING, threads=threads), 7, lambda: features, Place(device))
    return there, starting_weights(network, 7, [0]).weights


def methods(network: NetworkOnDevice, start: Weights, count: int) -> list[NetworkTrainer]:
    """So many, each with a loss, a sampling, a warm start and a training of its own; one is solved."""
    return [
        NetworkTrainer(
            Lesson(
                *(LABELS, start, TRAIN, 3, 1),
                warm_start=("all", "head", "cold")[place % 3],
                loss=LOSSES[place % len(LOSSES)],
                sampling=("shuffled", "class_balanced")[place % 2],
                training=OWN[place % len(OWN)],
                ridge=Ridge(targets="soft", judged="left_out") if place == 11 else None,
                balanced_from=1 + place % 4 // 2,  # for every other place it is of no effect
            ),
            network,
        )
        for place in range(count)
    ]


def kept(count: int) -> list[Any]:
    """What each trains on; some have weights, the one that is solved too."""
    draw = np.random.default_rng(1)
    masks = [np.isin(np.arange(COUNT), TRAIN) & (draw.random(COUNT) < 0.9 - place / 30) for place in range(count)]
    shares = [draw.random(COUNT, dtype=np.float32) for _ in range(count)]
    return [masks[place] * shares[place] if place % 5 in (1, 4) else masks[place] for place in range(count)]


def together(trainers: Sequence[NetworkTrainer], parents: Sequence[Weights], masks: Sequence[Any]) -> list[Any]:
    return fit_together(trainers, parents, masks, 2)


@pytest.mark.parametrize(("device", "threads"), [("cpu", 1), ("cpu", 2), pytest.param("cuda", 1, marks=NO_GPU)])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_method_has_the_same_bits_alone_in_a_block_of_two_and_of_sixteen(
    name: str, device: str, threads: int
) -> None:
    network, start = on_device(name, device, threads)
    trainers, masks = methods(network, start, 16), kept(16)
    assert has_stacked_head(network, TRAINING) and trains_in_lockstep(NETWORKS[name][0], TRAINING)
    alone = [trainer.fit(start, mask, 1) for trainer, mask in zip(trainers, masks, strict=True)]
    second = [trainer.fit(parent, mask, 2) for trainer, parent, mask in zip(trainers, alone, masks, strict=True)]
    assert len({weights[next(iter(weights))].tobytes() for weights in second}) == 16
    for first, last in ((0, 16), (3, 5), (9, 16)):
        block = slice(first, last)
        for found, expected in zip(together(trainers[block], alone[block], masks[block]), second[block], strict=True):
            assert same(found, expected)
        judged = judge_together(trainers[block], second[block])
        for one, weights, logits in zip(trainers[block], second[block], judged, strict=True):
            assert_array_equal(one.logits(weights), logits)


def test_a_layer_before_it_is_balanced_has_the_bits_of_a_shuffled_one() -> None:
    network, start = on_device("small")
    ways: list[dict[str, Any]] = [
        {},
        {"sampling": "class_balanced"},
        {"sampling": "class_balanced", "balanced_from": 2},
    ]
    trainers = [NetworkTrainer(Lesson(LABELS, start, TRAIN, **way), network) for way in ways]
    mask = kept(1)[0]
    (shuffled, balanced, late), (again, all_balanced, now) = (
        fit_together(trainers, [start] * 3, [mask] * 3, number) for number in (1, 2)
    )
    assert same(late, shuffled) and same(now, all_balanced)
    assert not same(late, balanced) and not same(now, again)


def test_a_device_that_gives_a_layer_other_bits_among_others_trains_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, start = on_device("mobilenet_v3_small")  # it has a dropout before its last layer
    trainers, masks = methods(network, start, 3), kept(3)
    counts: list[int] = []

    def counted(trainers: Any, *given: Any) -> Any:
        counts.append(len(trainers))
        return fit_in_lockstep(trainers, *given)

    monkeypatch.setattr(trainer, "fit_in_lockstep", counted)
    monkeypatch.setattr(lockstep, "_same_bits", lambda *layer: False)
    apart = fit_together(trainers, [start] * 3, masks, 1)
    monkeypatch.undo()
    assert counts == [1, 1, 1]
    for found, expected in zip(fit_together(trainers, [start] * 3, masks, 1), apart, strict=True):
        assert same(found, expected)


def test_a_layer_is_solved_with_what_photos_weigh() -> None:
    network, start = on_device("small")
    ridge, weights = Ridge(100.0, "soft"), kept(2)[1]
    trainer, photos = NetworkTrainer(Lesson(LABELS, start, TRAIN, ridge=ridge), network), np.flatnonzero(weights)
    features = torch.from_numpy(np.asarray(network.features)[photos])
    layer = solved(ridge, features, LABELS[photos], 7, weights[photos])
    found = trainer.fit(start, weights, 1)
    assert_allclose(found["classifier.6.weight"], layer.weight, rtol=1e-4, atol=1e-7)
    assert not same(trainer.fit(start, weights > 0, 2), found)
    assert same(trainer.fit(start, weights, 3), found)


class Indices(TorchDispatchMode):
    """Where the index tensors lie that a computation uses. All are held, so that no place is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put_):
            self.held.extend(args[1])
        return func(*args, **(kwargs or {}))


def test_no_step_brings_an_index_from_the_host() -> None:
    """On a GPU each of them would be waited for."""
    losses = [None, None, lambda logits, labels: torch.nn.functional.cross_entropy(logits, labels)]
    rounds = [HeadRound(torch.zeros(3, 8), torch.zeros(3), loss, np.ones(5, np.float32), TRAINING) for loss in losses]
    heads = StackedHeads(rounds)
    with Indices() as used:
        for _ in range(2):
            heads.step(torch.ones(4, 8), torch.tensor([0, 1, 2, 0]), torch.ones(4, 3))
    assert len(used.held) > 1 and len({index.data_ptr() for index in used.held}) == 1


def test_photos_that_were_left_out_are_judged_by_the_others() -> None:
    network, start = on_device("standardised")
    kept_photos = kept(1)[0]
    every = []
    for judged in ("in_sample", "left_out"):
        one = NetworkTrainer(Lesson(LABELS, start, TRAIN, ridge=Ridge(100.0, "hard", judged=judged)), network)
        every.append(one.logits(one.fit(start, kept_photos, 1)))
    inside, outside = every
    assert_array_equal(inside[~kept_photos], outside[~kept_photos])
    hits = [(logits.argmax(axis=1) == LABELS)[kept_photos].mean() for logits in every]
    assert hits[0] == 1 and hits[1] < 0.6  # the features are noise, more of them than photos


def test_features_that_are_not_finite_are_said_of_a_layer_that_is_solved() -> None:
    network, width = NETWORKS["small"]
    features = np.full((COUNT, width), np.nan, np.float32)
    start = starting_weights(network, 7, [0]).weights
    one = NetworkTrainer(
        Lesson(LABELS, start, TRAIN, ridge=Ridge()), NetworkOnDevice(network, TRAINING, 7, lambda: features)
    )
    with pytest.raises(NotFinite, match="a feature is not finite"):
        one.fit(start, kept(1)[0], 1)


def test_one_that_diverges_does_not_harm_the_others() -> None:
    network, start = on_device("small")
    trainers, masks = [NetworkTrainer(Lesson(LABELS, start, TRAIN), network) for _ in range(3)], kept(3)
    huge = start | {name: np.full_like(start[name], 3e38) for name in start if name.startswith("classifier.6")}
    parents = [start, huge, start]
    expected = [trainers[place].fit(start, masks[place], 2) for place in (0, 2)]
    found = together(trainers, parents, masks)
    assert isinstance(found[1], NotFinite) and "round 2: the loss is not finite" in str(found[1])
    assert same(found[0], expected[0]) and same(found[2], expected[1])
    with pytest.raises(NotFinite, match="round 2: the loss is not finite"):
        NetworkTrainer(Lesson(LABELS, huge, TRAIN), network).fit(huge, masks[0], 2)


@pytest.mark.parametrize(
    ("network", "training"),
    [
        (Network("small", "none", 64), Training(trainable="head", steps="all")),
        (Network("small", "none", 64), Training(trainable="classifier", steps="weighted")),
        (Network("squeezenet1_1", "none", 64), Training(trainable="head", steps="weighted")),
    ],
)
def test_other_rounds_are_trained_as_ever(network: Network, training: Training) -> None:
    assert not has_stacked_head(NetworkOnDevice(network, training, 4, lambda: np.zeros(())), training)
    assert not trains_in_lockstep(network, training)
