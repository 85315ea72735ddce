"""What all trials of a sweep share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from ray.actor import ActorHandle

from rsrl_ray import identity
from rsrl_ray.config import Experiment
from rsrl_ray.core.arrays import MaskOrWeights
from rsrl_ray.core.draw import DEALING
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.noise import flipped
from rsrl_ray.core.selection import TEST, VALIDATION, Split, choosing_split
from rsrl_ray.core.trial import Device
from rsrl_ray.learning import Learning
from rsrl_ray.photos.photo_set import PhotoSet
from rsrl_ray.photos.row_file import RowFile
from rsrl_ray.rounds.loop import RoundResult
from rsrl_ray.rounds.table import RoundTables
from rsrl_ray.vision.lesson import NotFinite
from rsrl_ray.vision.network import Conv1, Weights
from rsrl_ray.vision.reproducible import versions


class Trainer(Protocol):
    """How a trial trains a network: pure functions, which return the same bits on one kind of device."""

    @property
    def device(self) -> Device:
        """The device for which the bits are the same."""
        ...

    def fit(self, parent: Weights, kept: MaskOrWeights, number: int) -> Weights:
        """Train round ``number`` on the ``kept`` photos [N], from the weights of the round before; its weights."""
        ...

    def logits(self, weights: Weights) -> NDArray[np.float32]:
        """Logits [N, C] of all photos."""
        ...

    def conv1(self, weights: Weights) -> Conv1 | None:
        """The first convolution; None if it is the same in all rounds."""
        ...

    def features(self) -> NDArray[np.float32] | None:
        """What the frozen layers make of all photos, [N, D]; None if no layer is frozen."""
        ...


class Trained(NamedTuple):
    """A network: its weights, and the logits [N, C] of all photos."""

    weights: Weights
    logits: NDArray[np.float32]


FitAll = Callable[[Sequence[Trainer], Sequence[Weights], Sequence[MaskOrWeights], int], "list[Trained | NotFinite]"]
"""`Trainer.fit` and ``logits`` for several trainers of one fold, whose parents and kept photos are given."""

Trainers = Callable[[Fold, Learning], Trainer]
"""Makes the trainers of one process, which trains one trial after the other.

They raise `NotFinite`, `OutOfMemory` or ValueError if this process cannot train.
"""


class RowSource:
    """An actor on the node of the driver. The other nodes copy decoded photos or features from it."""

    def __init__(self, opened: Callable[[], NDArray[Any] | None]) -> None:
        self._rows = opened()

    def rows(self, rows: range) -> NDArray[Any]:
        """These rows, [K, ...]."""
        assert self._rows is not None
        return self._rows[rows.start : rows.stop]


@dataclass(frozen=True)
class FeatureSource:
    """Where nodes copy the features from. ``file`` is that of the driver; its name has the kind of device."""

    file: RowFile
    fingerprint: str
    rows: "ActorHandle[RowSource]"


@dataclass(frozen=True)
class Task:
    """What all trials of a sweep share; Ray keeps one copy on each node.

    trainers : makes a process's `Trainers`. frozen : digest of the weights that are not trained, or empty.
    trained_bytes : size of the trained weights of a round.
    source, features : where nodes get the decoded photos and the features, in a cluster.
    driver_node : id of the driver's node, which must see what others write to storage.
    """

    experiment: Experiment
    photos: PhotoSet
    folds: list[Fold]
    start: Weights
    start_digest: str
    trainers: "Callable[[Task], Trainers]"
    frozen: str = ""
    trained_bytes: int = 0
    source: "ActorHandle[RowSource] | None" = None
    features: FeatureSource | None = None
    driver_node: str = ""

    @cached_property
    def noisy_scores(self) -> NDArray[np.int64]:
        """The photos' scores with `config.Noise`, [N]."""
        noise, photos = self.experiment.noise, self.photos
        if not noise.share:
            return photos.scores
        majority = self.experiment.revision.majority_classes
        return photos.classes[flipped(photos.labels, noise.share, noise.kind, majority, noise.seed)]

    def scores_in(self, fold: Fold) -> NDArray[np.int64]:
        """The photos' scores in a fold, [N]: noisy, but true for test photos."""
        scores = self.noisy_scores.copy()
        scores[fold.test] = self.photos.scores[fold.test]
        return scores

    def labels_in(self, fold: Fold) -> NDArray[np.int64]:
        """The same as class indices [N]; every class occurs."""
        return np.searchsorted(self.photos.classes, self.scores_in(fold)).astype(np.int64)

    def start_key(self, fold: Fold, learning: Learning, device: str) -> str:
        """key(0) of a fold's rounds, on a device with this name."""
        given = identity.Given(self.photos.fingerprint, self.start_digest, fold.number, device, self.versions)
        rounds = identity.round_identity(self.experiment, learning, given)
        return identity.start_key(rounds, self.labels_in(fold), fold.train)

    @property
    def versions(self) -> list[str]:
        """Of the libraries that the bits of its rounds depend on."""
        return versions(self.experiment.network.backbone)

    def sweep_id(self, dealing: int = DEALING) -> str:
        """See `rsrl_ray.identity.sweep_id`."""
        return identity.sweep_id(self.experiment, self.photos, self.start_digest, dealing)

    def table(self, fold: Fold, done: RoundResult) -> pd.DataFrame:
        """A round's table of photos, see `rsrl_ray.rounds.table.RoundTables`; with noise, ``true_score`` beside it."""
        if fold.number not in self._tables:
            membership = self.experiment.revision.membership
            tables = RoundTables(self.photos.images, self.scores_in(fold), fold, membership)
            self._tables.clear()  # a process has trials of one fold at a time, mostly
            self._tables[fold.number] = tables
        table = self._tables[fold.number].table(done)
        return table.assign(true_score=self.photos.scores) if self.experiment.noise.share else table

    @cached_property
    def _tables(self) -> dict[int, RoundTables]:
        """Of the last fold that was asked for, by its number."""
        return {}

    @property
    def chooses(self) -> Split:
        """The photos on which rounds are chosen, in all trials."""
        return choosing_split(self.experiment.folds.validation)

    @property
    def chosen_by(self) -> str:
        """The metric that rounds are chosen by."""
        return VALIDATION if self.chooses == "validation" else TEST

    @property
    def device(self) -> str:
        """What trials train on: ``cpu`` or ``cuda``."""
        return "cuda" if self.experiment.resources.gpus else "cpu"

    @property
    def gpu_share(self) -> float:
        """The share of one GPU that a trial has, 0 to 1."""
        gpus = self.experiment.resources.gpus
        assert gpus != "auto"  # the driver has replaced it by a number
        return gpus
