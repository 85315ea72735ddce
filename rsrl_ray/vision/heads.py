"""Last layers of several methods that train in lockstep: each step is one batched matrix product for all of them.

With ``trainable: head`` and ``steps: weighted`` the methods of a fold see the same batches of the same features, so
only their weights differ. `torch.bmm` multiplies the matrices of each method by themselves: a method has the same bits
alone and among others (`tests/vision/test_heads.py`), and a method alone is trained in this way too.
"""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rsrl_ray import config
from rsrl_ray.vision import network as networks
from rsrl_ray.vision.evaluation import EVALUATION_BATCH, autocast
from rsrl_ray.vision.inputs import DeviceRows, Indices, batches
from rsrl_ray.vision.layers import LinearHead
from rsrl_ray.vision.lesson import LossOf, NotFinite, diverged
from rsrl_ray.vision.losses import CROSS_ENTROPY, NEARLY_0, Slopes
from rsrl_ray.vision.network import Weights
from rsrl_ray.vision.on_device import NetworkOnDevice
from rsrl_ray.vision.reproducible import reproducible

if TYPE_CHECKING:
    from rsrl_ray.vision.trainer import NetworkTrainer


_ROW = 64  # numbers: whole vectors of any CPU
AT_ONCE = 32  # layers: twice as many at once are no faster


@dataclass(frozen=True)
class HeadRound:
    """A round of one method.

    weight : [C, D], bias : [C] or None, with which the layer begins. weights : [N], of the photos.
    loss : of a batch, or its slopes; None for the cross-entropy.
    """

    weight: Tensor
    bias: Tensor | None
    loss: LossOf | Slopes | None
    weights: NDArray[np.float32]


class StackedHeads:
    """T last layers and their optimizer: weight [T, D, C], bias [T, 1, C] or None.

    All numbers of a layer lie in one row, whose length is a multiple of `_ROW`. The optimizer takes vectors of numbers
    at a time, and those that are left over one by one, with other last bits: so a layer is never left over.
    """

    def __init__(self, rounds: Sequence[HeadRound], training: config.Training) -> None:
        self._losses = [each.loss for each in rounds]
        classes, width = rounds[0].weight.shape
        biased = rounds[0].bias is not None
        used = (width + biased) * classes
        rows = torch.zeros(len(rounds), -(-used // _ROW) * _ROW, device=rounds[0].weight.device)
        rows.grad = torch.zeros_like(rows)
        (self.weight, self.bias), (self._weight_grad, self._bias_grad) = (
            (
                of[:, : width * classes].view(-1, width, classes),
                of[:, width * classes : used].view(-1, 1, classes) if biased else None,
            )
            for of in (rows, rows.grad)
        )
        for place, each in enumerate(rounds):
            self.weight[place] = each.weight.T
            if self.bias is not None and each.bias is not None:
                self.bias[place] = each.bias
        self._optimizer = torch.optim.SGD(
            [rows],
            lr=training.learning_rate * training.head_factor,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
            fused=True,
        )
        self.totals = torch.zeros(len(rounds), device=rows.device)
        plain = [place for place, loss in enumerate(self._losses) if loss is None]
        self._plain = torch.tensor(plain, dtype=torch.int64, device=rows.device)  # a GPU would wait for a list
        tables = {place: loss for place, loss in enumerate(self._losses) if isinstance(loss, Slopes)}
        self._tabled = torch.tensor(list(tables), dtype=torch.int64, device=rows.device)
        self._tables = _stacked(list(tables.values())) if tables else None

    def step(self, features: Tensor, labels: Tensor, weights: Tensor) -> None:
        """One step of every layer.

        features : [B, D], float32. labels : [B]. weights : [B, T], by which the gradients of the photos' logits are
        multiplied. The losses, without weights, are added to ``totals`` [T].
        """
        inputs = features.expand(len(self._losses), *features.shape)
        logits = torch.bmm(inputs, self.weight)
        if self.bias is not None:
            logits = logits + self.bias
        slopes = self._slopes(logits, labels) * weights.T[:, :, None]
        self._weight_grad.copy_(torch.bmm(inputs.transpose(1, 2), slopes))
        if self._bias_grad is not None:
            self._bias_grad.copy_(torch.bmm(torch.ones_like(inputs[:, :, :1]).transpose(1, 2), slopes))
        self._optimizer.step()

    def put(self, place: int, layer: LinearHead) -> None:
        """Copy the weights of one of the layers into ``layer``."""
        with torch.no_grad():
            layer.weight.copy_(self.weight[place].T)
            if self.bias is not None:
                layer.bias.copy_(self.bias[place, 0])

    def _slopes(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The gradients of the losses by the logits, [T, B, C]."""
        slopes = torch.empty_like(logits)
        if len(self._plain):
            slopes[self._plain] = self._plain_slopes(logits[self._plain], labels)
        if self._tables is not None:
            slopes[self._tabled] = self._tabled_slopes(logits[self._tabled], labels, self._tables)
        for place, loss_of in enumerate(self._losses):
            if loss_of is not None and not isinstance(loss_of, Slopes):
                leaf = logits[place].detach().requires_grad_()
                loss = loss_of(leaf, labels)
                self.totals[place] += loss.detach()
                slopes[place] = torch.autograd.grad(loss, leaf)[0]
        return slopes

    def _plain_slopes(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Those of the cross-entropy, for several layers at once: (softmax - 1 at the label) / B."""
        count, own = len(labels), labels.expand(len(logits), -1)[..., None]
        logs = logits.log_softmax(dim=2)
        self.totals[self._plain] -= logs.gather(2, own).mean(dim=(1, 2))
        return logs.exp().scatter_add_(2, own, -torch.ones_like(logs[..., :1])) / count

    def _tabled_slopes(self, logits: Tensor, labels: Tensor, tables: "_Tables") -> Tensor:
        """Those of losses with tables, for several layers at once."""
        logs = (logits + tables.shift.index_select(1, labels)).log_softmax(dim=2)
        target, weights = tables.target.index_select(1, labels), tables.weights.index_select(1, labels)
        self.totals[self._tabled] -= (target * logs).mean(dim=(1, 2))
        slopes = logs.exp() * target.sum(dim=2, keepdim=True) - target
        for place, gamma in tables.focal:
            slopes[place] *= _focal(logs[place].gather(1, labels[:, None]), gamma)
        return slopes / weights.sum(dim=1)[:, None, None]


class _Tables(NamedTuple):
    """The slopes of several losses: shift and target [T, C, C], weights [T, C], and those that have a gamma."""

    shift: Tensor
    target: Tensor
    weights: Tensor
    focal: list[tuple[int, float]]


def _stacked(losses: Sequence[Slopes]) -> _Tables:
    shift, target, weights = (torch.stack(parts) for parts in list(zip(*losses, strict=True))[:3])
    return _Tables(shift, target, weights, [(place, loss.focal) for place, loss in enumerate(losses) if loss.focal])


def _focal(own: Tensor, gamma: float) -> Tensor:
    """The factor of `Slopes`, of the log-probabilities at the labels; both [B, 1]."""
    wrong = -own.expm1()
    missed = wrong.clamp(min=NEARLY_0)
    turned = gamma * missed ** (gamma - 1) * own.exp() * own  # where it is clamped, it does not change
    return missed**gamma - torch.where(wrong > NEARLY_0, turned, 0.0)


def trains_in_lockstep(network: config.Network, training: config.Training) -> bool:
    """Whether the methods of a fold are trained here, together."""
    linear = network.head == "linear" or networks.head_is_linear(network)
    return training.trainable == "head" and training.steps == "weighted" and linear


def has_stacked_head(network: NetworkOnDevice) -> bool:
    """Whether the rounds of this network are trained here."""
    training = network.training
    if training.trainable != "head" or training.steps != "weighted":
        return False
    return isinstance(network.model.get_submodule(networks.head_name(network.model)), LinearHead)


def fitting_threads(network: NetworkOnDevice) -> int:
    """How many CPU threads train a round of this network.

    It is one for layers in lockstep: several threads share the products in a way that depends on how many layers there
    are, and a layer has other last bits alone.
    """
    return 1 if has_stacked_head(network) else network.training.threads


def most_in_lockstep(network: NetworkOnDevice, photos: int) -> int:
    """How many layers may train at once on ``photos``: `AT_ONCE`, or 1 if this device gives a layer other bits then."""
    size = network.training.batch_size
    sizes = {len(batch) for batch in batches(np.arange(photos), size)}
    layer = _head(network.model)
    return AT_ONCE if _same_bits(network.device, tuple(sorted(sizes)), layer.in_features, layer.out_features) else 1


@functools.cache  # it belongs to the device
def _same_bits(device: torch.device, sizes: tuple[int, ...], width: int, classes: int) -> bool:
    """Whether a layer has the same bits alone and among others, after two steps with batches of each size."""
    draw = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw).to(device)

    layers = [HeadRound(drawn(classes, width), drawn(classes), None, np.ones(0, np.float32)) for _ in range(AT_ONCE)]
    steps = [
        (drawn(size, width), torch.arange(size, device=device) % classes, drawn(size, AT_ONCE).abs())
        for size in sizes * 2
    ]

    def trained(first: int, end: int) -> Tensor:
        heads = StackedHeads(layers[first:end], config.Training(learning_rate=0.01))
        for features, labels, weights in steps:
            heads.step(features, labels, weights[:, first:end])
        return heads.weight

    everyone = trained(0, AT_ONCE)
    parts = [(0, 1), (AT_ONCE - 1, AT_ONCE), (3, 5), (AT_ONCE // 2, AT_ONCE)]
    return all(torch.equal(trained(*part), everyone[slice(*part)]) for part in parts)


def fit_in_lockstep(
    trainers: Sequence["NetworkTrainer"], parents: Sequence[Weights], kept: Sequence[NDArray[np.bool_]], number: int
) -> list[Weights | NotFinite]:
    """Round ``number`` of several methods of one fold, on one network: their weights, or why there are none.

    parents, kept : for each method, see `NetworkTrainer.fit`, which sets the switches of the process before this.
    """
    network, first = trainers[0].network, trainers[0]
    training, device = network.training, network.device
    rounds = []
    for trainer, parent, mask in zip(trainers, parents, kept, strict=True):
        layer = _head(trainer.begin(parent, number))
        taken = trainer.lesson.taken(mask, training.steps)
        assert taken.weights is not None
        plain = trainer.lesson.loss == CROSS_ENTROPY
        lesson = trainer.lesson
        tables = lesson.slopes_of(taken, number, device)
        loss = None if plain else tables or lesson.loss_of(taken, number, device)
        bias = None if layer.bias is None else layer.bias.detach().clone()
        rounds.append(HeadRound(layer.weight.detach().clone(), bias, loss, taken.weights))
    heads, weights = StackedHeads(rounds, training), np.stack([each.weights for each in rounds], axis=1)
    model = first.network.change().train()
    for order in first.passes(first.lesson.train, number):
        _pass(model, heads, order, first, weights)
        if not bool(heads.totals.isfinite().any()):
            break
    return [_ended(heads, place, network, number) for place in range(len(rounds))]


def judge_in_lockstep(network: NetworkOnDevice, weights: Sequence[Weights], photos: int) -> list[Tensor]:
    """The logits [N, C] of all photos for each of these weights, which differ in the last layer's matrix and bias only.

    They are those of `rsrl_ray.vision.evaluation.evaluate`; the features are read and prepared once.
    """
    network.load(weights[0])
    model, training = network.model.eval(), network.training
    head, name = _head(model), networks.head_name(model)
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
    parts = [np.sort(batch) for batch in batches(order, network.training.batch_size)]
    labelled = DeviceRows(trainer.lesson.labels, network.device).batches(parts)
    weighed = DeviceRows(weights, network.device).batches(parts)
    head = _head(model)
    with _without(head, model) as before, torch.no_grad():
        for rows, labels, weight in zip(network.inputs.batches(parts), labelled, weighed, strict=True):
            features = head.prepared(before(rows))
            with torch.enable_grad():
                heads.step(features, labels, weight)


def _ended(heads: StackedHeads, place: int, network: NetworkOnDevice, number: int) -> Weights | NotFinite:
    """The weights of one of the layers, with their names in the network."""
    if not bool(heads.totals[place].isfinite()):
        return diverged(f"round {number}: the loss", network.training)
    heads.put(place, _head(network.change()))
    weights = network.weights()
    return diverged(f"round {number}: a weight", network.training) if weights is None else weights


def _head(model: nn.Module) -> LinearHead:
    layer = model.get_submodule(networks.head_name(model))
    assert isinstance(layer, LinearHead), layer
    return layer


@contextmanager
def _without(head: LinearHead, model: nn.Module) -> Iterator[nn.Module]:
    """The model with its last layer replaced by nothing, such as a dropout alone."""
    name = networks.head_name(model)
    model.set_submodule(name, nn.Identity())
    try:
        yield model
    finally:
        model.set_submodule(name, head)
