"""Last layers of several methods that train in lockstep: each step is one batched matrix product for all of them.

With ``trainable: head`` and ``steps: weighted`` the methods of a fold see the same batches of the same features, so
only their weights differ. `torch.bmm` multiplies the matrices of each method by themselves: a method has the same bits
alone and among others (`tests/vision/test_heads.py`), and a method alone is trained in this way too.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rsrl_ray import config
from rsrl_ray.vision.layers import LinearHead
from rsrl_ray.vision.lesson import LossOf
from rsrl_ray.vision.losses import NEARLY_0
from rsrl_ray.vision.optimizer import optimizer_settings
from rsrl_ray.vision.slopes import Slopes

_ROW = 64  # numbers: whole vectors of any CPU


@dataclass(frozen=True)
class HeadRound:
    """A round of one method.

    weight : [C, D], bias : [C] or None, with which the layer begins. weights : [N], of the photos.
    loss : of a batch, or its slopes; None for the cross-entropy. training : how it learns.
    """

    weight: Tensor
    bias: Tensor | None
    loss: LossOf | Slopes | None
    weights: NDArray[np.float32]
    training: config.Training


class StackedHeads:
    """T last layers and their optimizer: weight [T, D, C], bias [T, 1, C] or None.

    All numbers of a layer lie in one row, whose length is a multiple of `_ROW`. The optimizer takes vectors of numbers
    at a time, and those that are left over one by one, with other last bits: so a layer is never left over. Layers
    beside each other with the same settings are one group of the optimizer.
    """

    def __init__(self, rounds: Sequence[HeadRound]) -> None:
        self._losses = [each.loss for each in rounds]
        classes, width = rounds[0].weight.shape
        biased = rounds[0].bias is not None
        used = (width + biased) * classes
        rows = torch.zeros(len(rounds), -(-used // _ROW) * _ROW, device=rounds[0].weight.device)
        grads = torch.zeros_like(rows)
        (self.weight, self.bias), (self._weight_grad, self._bias_grad) = (
            (
                of[:, : width * classes].view(-1, width, classes),
                of[:, width * classes : used].view(-1, 1, classes) if biased else None,
            )
            for of in (rows, grads)
        )
        for place, each in enumerate(rounds):
            self.weight[place] = each.weight.T
            if self.bias is not None and each.bias is not None:
                self.bias[place] = each.bias
        self._optimizer = torch.optim.SGD(_groups(rows, grads, rounds), fused=True)
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


def _groups(rows: Tensor, grads: Tensor, rounds: Sequence[HeadRound]) -> list[dict[str, Any]]:
    """The groups of an optimizer: rows beside each other whose settings are the same. Rows, grads : [T, ...]."""
    found, begin = [], 0
    for settings, group in itertools.groupby(rounds, lambda each: optimizer_settings(each.training)):
        end = begin + len(list(group))
        part = rows[begin:end]
        part.grad = grads[begin:end]
        found.append({"params": [part], **settings})
        begin = end
    return found


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
