"""What a trial tells the driver: a round, or why it cannot go on. It is made in the worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.trial import Link, Origin, TrialKey
from rsrl_ray.tracking.entries import Reading

_TOLD = "told"


@dataclass(frozen=True)
class Report:
    """A finished round of a trial.

    key, parent_key : its key in the archive, and the key of the round before; for round 1 that is the chain's start.
    weights : checksum of its weights.
    created : Unix time at which it was made. made : whether it was made just now, and not found in the archive.
    metrics : all metrics for MLflow, by name. value : the metric that rounds are chosen by.
    note : what a reader should know of it, or empty.
    last : whether it is the trial's last round.
    predicted : [N] class indices; None if they are those of the largest logits.
    system : how busy the node was since the report before.
    """

    trial: TrialKey
    number: int
    key: str
    parent_key: str
    weights: str
    origin: Origin
    created: float
    made: bool
    metrics: Mapping[str, float]
    value: float
    note: str
    last: bool
    predicted: NDArray[np.int16] | None = None
    system: tuple[Reading, ...] = ()

    @property
    def link(self) -> Link:
        """What distinguishes it from all other rounds."""
        return Link(self.key, self.weights)

    @property
    def seconds(self) -> float:
        """How long this round took to train and to judge, also if that was earlier."""
        return self.metrics["seconds"]


@dataclass(frozen=True)
class Failure:
    """A trial that cannot go on: why, and where its chain starts."""

    trial: TrialKey
    reason: str
    origin: Origin


@dataclass(frozen=True)
class AllTold:
    """What the trials of a block tell at once."""

    all: Sequence[Report | Failure]


def as_result(told: Sequence[Report | Failure]) -> dict[str, Any]:
    """The result for Ray Tune, which keeps statistics of every number in it, but not of an object.

    told : of all trials of a block that went on until now.
    """
    return {_TOLD: AllTold(told), "done": all(isinstance(each, Failure) or each.last for each in told)}


def told_in(result: Mapping[str, Any]) -> Sequence[Report | Failure]:
    """The reports in a result of Ray Tune, which has added entries of its own."""
    told: AllTold = result[_TOLD]
    return told.all


class SetUpFailed(RuntimeError):
    """A trial could not be set up in its process: on which node, and why."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(node, reason)
        self.node, self.reason = node, reason
