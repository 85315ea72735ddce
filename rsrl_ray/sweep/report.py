"""What a trial tells the driver, made once, in the worker."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.tune.result import DONE

from rsrl_ray.core.trial import Link, Origin
from rsrl_ray.tracking.entries import Reading

_FAILED, _METRICS = "failed", "metrics"


@dataclass(frozen=True)
class Report:
    """A finished round.

    key, parent_key : its key in the archive and that of the round before, which for round 1 is the chain's start.
    weights : checksum of its weights.
    created : Unix time at which it was made. made : whether that was just now, and not found in the archive.
    metrics : all that MLflow is told, by name. value : what rounds are chosen by.
    note : what a reader should know of it, or empty.
    last : whether it is the trial's last.
    predicted : [N] class indices; None where they are those of the largest logits.
    system : what the node was busy with since the report before.
    """

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
        """What tells it from all other rounds."""
        return Link(self.key, self.weights)

    @property
    def seconds(self) -> float:
        """Of the training and the judging of this round, whenever that was."""
        return self.metrics["seconds"]

    def as_result(self) -> dict[str, Any]:
        """As a result of Ray Tune: flat, since Tune keeps statistics of every number in it."""
        return {
            **self.metrics,
            _METRICS: tuple(self.metrics),
            "round": self.number,
            "key": self.key,
            "parent_key": self.parent_key,
            "weights": self.weights,
            **asdict(self.origin),
            "created": self.created,
            "made": self.made,
            "value": self.value,
            "note": self.note,
            "predicted": self.predicted,
            "system": self.system,
            DONE: self.last,
        }

    @classmethod
    def from_result(cls, result: Mapping[str, Any]) -> "Report":
        """Back from the result, to which Tune has added entries of its own."""
        return cls(
            number=result["round"],
            key=result["key"],
            parent_key=result["parent_key"],
            weights=result["weights"],
            origin=_origin(result),
            created=result["created"],
            made=result["made"],
            metrics={name: result[name] for name in result[_METRICS]},
            value=result["value"],
            note=result["note"],
            last=result[DONE],
            predicted=result["predicted"],
            system=result["system"],
        )


@dataclass(frozen=True)
class Failure:
    """A trial that cannot go on: why, and where its chain starts."""

    reason: str
    origin: Origin

    def as_result(self) -> dict[str, Any]:
        """As a result of Ray Tune."""
        return {_FAILED: self.reason, **asdict(self.origin), DONE: True}

    @classmethod
    def from_result(cls, result: Mapping[str, Any]) -> "Failure | None":
        """Back from the result; None where it is a round."""
        return cls(result[_FAILED], _origin(result)) if _FAILED in result else None


def _origin(result: Mapping[str, Any]) -> Origin:
    return Origin(result["start_key"], result["device"], tuple(result["versions"]))
