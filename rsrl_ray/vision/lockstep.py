"""Rounds of several methods whose last layers train in lockstep: whether they can, and how they do."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rsrl_ray import config
from rsrl_ray.core.arrays import MaskOrWeights
from rsrl_ray.vision import network as networks
from rsrl_ray.vision.evaluation import EVALUATION_BATCH, autocast
from rsrl_ray.vision.heads import HeadRound, StackedHeads
from rsrl_ray.vision.inputs import DeviceRows, Indices, batches
from rsrl_ray.vision.layers import LinearHead
from rsrl_ray.vision.lesson import NotFinite, diverged
from rsrl_ray.vision.losses import CROSS_ENTROPY, Balanced, EffectiveNumber
from rsrl_ray.vision.network import LAYERS_AT_ONCE, Weights
from rsrl_ray.vision.on_device import NetworkOnDevice
from rsrl_ray.vision.reproducible import reproducible

if TYPE_CHECKING:
    from rsrl_ray.vision.trainer import NetworkTrainer


def has_stacked_head(network: NetworkOnDevice, training: config.Training) -> bool:
    """Whether the rounds of this network are trained here."""
    if training.trainable != "head" or training.steps != "weighted":
        return False
    return isinstance(network.model.get_submodule(networks.head_name(network.model)), LinearHead)


def most_in_lockstep(network: NetworkOnDevice, photos: int, batch_size: int) -> int:
    """How many layers may train at once: one if this device gives a layer other bits among others.

    photos : how many pass in an epoch.
    """
    sizes = {len(batch) for batch in batches(np.arange(photos), batch_size)}
    layer = head_of(network.model)
    same = _same_bits(network.device, tuple(sorted(sizes)), layer.in_features, layer.out_features)
    return LAYERS_AT_ONCE if same else 1


@functools.cache  # it belongs to the device
def _same_bits(device: torch.device, sizes: tuple[int, ...], width: int, classes: int) -> bool:
    """Whether a layer has the same bits alone and among others, after two steps with batches of each size."""
    draw = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw).to(device)

    counts = 10.0 * torch.arange(1, classes + 1, dtype=torch.float64, device=device)
    kinds = [None, Balanced(1.0).slopes(counts, 1), EffectiveNumber(0.99).slopes(counts, 1)]  # each way of slopes
    settings = [config.Training(learning_rate=0.01), config.Training(learning_rate=0.02, momentum=0.0, weight_decay=0)]
    layers = [
        HeadRound(
            drawn(classes, width),
            drawn(classes),
            kinds[place % len(kinds)],
            np.ones(0, np.float32),
            settings[place >= LAYERS_AT_ONCE // 2],
        )
        for place in range(LAYERS_AT_ONCE)
    ]
    steps = [
        (drawn(size, width), torch.arange(size, device=device) % classes, drawn(size, LAYERS_AT_ONCE).abs())
        for size in sizes * 2
    ]

    def trained(first: int, end: int) -> Tensor:
        heads = StackedHeads(layers[first:end])
        for features, labels, weights in steps:
            heads.step(features, labels, weights[:, first:end])
        return heads.weight

    everyone = trained(0, LAYERS_AT_ONCE)
    parts = [(0, 1), (1, 2), (3, 5), (LAYERS_AT_ONCE // 2, LAYERS_AT_ONCE), (LAYERS_AT_ONCE - 1, LAYERS_AT_ONCE)]
    return all(torch.equal(trained(*part), everyone[slice(*part)]) for part in parts)


def fit_in_lockstep(
    trainers: Sequence["NetworkTrainer"], parents: Sequence[Weights], kept: Sequence[MaskOrWeights], number: int
) -> list[Weights | NotFinite]:
    """Round ``number`` of several methods of one fold, on one network: their weights, or why there are none.

    They have one number of epochs and one batch size.

    parents, kept : for each method, see `NetworkTrainer.fit`, which sets the switches of the process before this.
    """
    network, first = trainers[0].network, trainers[0]
    device = network.device
    rounds = []
    for trainer, parent, mask in zip(trainers, parents, kept, strict=True):
        layer = head_of(trainer.begin(parent, number))
        taken = trainer.lesson.taken(mask, trainer.training.steps, number)
        assert taken.weights is not None
        lesson = trainer.lesson
        plain, tables = lesson.loss == CROSS_ENTROPY, lesson.slopes_of(taken, number, device)
        loss = None if plain else tables or lesson.loss_of(taken, number, device)
        bias = None if layer.bias is None else layer.bias.detach().clone()
        rounds.append(HeadRound(layer.weight.detach().clone(), bias, loss, taken.weights, trainer.training))
    heads, weights = StackedHeads(rounds), np.stack([each.weights for each in rounds], axis=1)
    model = first.network.change().train()
    for order in first.passes(first.lesson.train, number):
        _pass(model, heads, order, first, weights)
        if not bool(heads.totals.isfinite().any()):
            break
    return [_ended(heads, place, trainer, number) for place, trainer in enumerate(trainers)]


def judge_in_lockstep(network: NetworkOnDevice, weights: Sequence[Weights], photos: int) -> list[Tensor]:
    """The logits [N, C] of all photos for each of these weights, which differ in the last layer's matrix and bias only.

    They are those of `rsrl_ray.vision.evaluation.evaluate`; the features are read and prepared once.
    """
    network.load(weights[0])
    model, training = network.model.eval(), network.training
    head, name = head_of(model), networks.head_name(model)
    layers = [
        [torch.from_numpy(each[f"{name}.{part}"]).to(network.device) for part, _ in head.named_parameters()]
        for each in weights
    ]
    found: list[list[Tensor]] = [[] for _ in weights]
    with (
        _without(head, model) as before,
        reproducible(training.threads),
        torch.inference_mode(),
        autocast(network.device, training.precision),
    ):
        for rows in network.inputs.batches(batches(np.arange(photos), EVALUATION_BATCH)):
            features = head.prepared(before(rows))
            with torch.autocast(network.device.type, enabled=False):
                for layer, logits in zip(layers, found, strict=True):
                    logits.append(nn.functional.linear(features, *layer))
    return [torch.cat(logits) for logits in found]


def _pass(
    model: nn.Module, heads: StackedHeads, order: Indices, trainer: "NetworkTrainer", weights: NDArray[np.float32]
) -> None:
    """Train all layers on the photos in this order. weights : [N, T]."""
    network = trainer.network
    parts = [np.sort(batch) for batch in batches(order, trainer.training.batch_size)]
    labelled = DeviceRows(trainer.lesson.labels, network.device).batches(parts)
    weighed = DeviceRows(weights, network.device).batches(parts)
    head = head_of(model)
    with _without(head, model) as before, torch.no_grad():
        for rows, labels, weight in zip(network.inputs.batches(parts), labelled, weighed, strict=True):
            features = head.prepared(before(rows))
            with torch.enable_grad():
                heads.step(features, labels, weight)


def _ended(heads: StackedHeads, place: int, trainer: "NetworkTrainer", number: int) -> Weights | NotFinite:
    """The weights of one of the layers, with their names in the network."""
    network, training = trainer.network, trainer.training
    if not bool(heads.totals[place].isfinite()):
        return diverged(f"round {number}: the loss", training)
    heads.put(place, head_of(network.change()))
    weights = network.weights()
    return diverged(f"round {number}: a weight", training) if weights is None else weights


def head_of(model: nn.Module) -> LinearHead:
    """The last layer."""
    layer = model.get_submodule(networks.head_name(model))
    assert isinstance(layer, LinearHead), layer
    return layer


def prepared(network: NetworkOnDevice, photos: Indices) -> Tensor:
    """What the last layer multiplies by its weight, of these photos, [n, D]; the model is in evaluation mode."""
    model = network.model
    head = head_of(model)
    with _without(head, model) as before, torch.inference_mode(), autocast(network.device, network.training.precision):
        return torch.cat(
            [head.prepared(before(rows)) for rows in network.inputs.batches(batches(photos, EVALUATION_BATCH))]
        )


@contextmanager
def _without(head: LinearHead, model: nn.Module) -> Iterator[nn.Module]:
    """The model with its last layer replaced by nothing, such as a dropout alone."""
    name = networks.head_name(model)
    model.set_submodule(name, nn.Identity())
    try:
        yield model
    finally:
        model.set_submodule(name, head)
