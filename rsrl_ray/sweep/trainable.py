"""A trial as Ray Tune sees it: look the round up in the archive, else train it; report."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from ray import tune
from ray.tune.result import DONE

from rsrl_ray.archive import Archive, Damaged, Record, array_digest, round_key, start_key
from rsrl_ray.config import Experiment
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.revision import majority_classes
from rsrl_ray.predictions import predictions, revision_notes, round_metrics
from rsrl_ray.rounds import RoundResult, run_rounds
from rsrl_ray.storage import StorageError
from rsrl_ray.vision.learner import Learner, NotFinite
from rsrl_ray.vision.network import Weights
from rsrl_ray.vision.photos import PhotoSet


@dataclass(frozen=True)
class Task:
    """What all trials of a sweep share; Ray keeps one copy a node."""

    experiment: Experiment
    photos: PhotoSet
    folds: list[Fold]
    start: Weights
    start_digest: str


class ArchivedLearner:
    """A learner that trains only what the archive does not hold.

    Rounds are addressed by what they train on. Weights are read only where the next round has to be
    trained; those that were not kept are made again from the nearest ancestor that has them.
    """

    def __init__(self, learner: Learner, archive: Archive, first: str, start: Weights, cold: bool, maker: str):
        self.keys = [first]
        self.notes: list[str] = []
        self.record: Record | None = None
        self._learner, self._archive, self._start, self._cold, self._maker = (
            learner,
            archive,
            start,
            cold,
            maker,
        )
        self._kept: list[NDArray[np.bool_]] = []
        self._weights: Weights | None = start

    def learn(self, number: int, kept: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Network ``number``'s logits [N, C] for all photos, from the archive or by training on ``kept`` [N]."""
        key = round_key(self.keys[-1], kept, number)
        self.record = self._read(key)
        if self.record is None:
            self.record = self._train(key, number, kept)
        else:
            self._weights = None
        self.keys.append(key)
        self._kept.append(kept)
        return self.record.logits

    def _train(self, key: str, number: int, kept: NDArray[np.bool_]) -> Record:
        began = time.monotonic()
        weights = self._learner.fit(self._parent(), kept, number)
        logits = self._learner.logits(weights)
        record = Record(
            number=number,
            logits=logits,
            kept=kept,
            conv1={name: np.asarray(value) for name, value in asdict(self._learner.conv1(weights)).items()},
            maker=self._maker,
            created=time.time(),
            seconds=time.monotonic() - began,
        )
        self._archive.write(key, record, weights)
        self._weights = weights
        return record

    def _read(self, key: str) -> Record | None:
        try:
            return self._archive.read(key)
        except Damaged as damage:
            self.notes.append(f"damaged in the archive, trained again: {damage}")
            return None

    def _parent(self) -> Weights:
        """The last round's weights: in memory, in the archive, or made again."""
        if self._weights is not None:
            return self._weights
        if self._cold:
            return self._start
        done = len(self._kept)
        weights, number = self._start, 0
        for candidate in range(done, 0, -1):
            found = self._read_weights(self.keys[candidate])
            if found is not None:
                weights, number = found, candidate
                break
        if number < done:
            again = f"round {done}" if number + 1 == done else f"rounds {number + 1} to {done}"
            self.notes.append(f"{again} made again, whose weights were not kept")
        for missing in range(number + 1, done + 1):
            weights = self._learner.fit(weights, self._kept[missing - 1], missing)
            self._verify(missing, self._learner.logits(weights))
        return weights

    def _read_weights(self, key: str) -> Weights | None:
        try:
            return self._archive.read_weights(key)
        except Damaged as damage:
            self.notes.append(f"damaged in the archive: {damage}")
            return None

    def _verify(self, number: int, logits: NDArray[np.float32]) -> None:
        record = self._read(self.keys[number])
        if record is not None and not np.array_equal(record.logits, logits):
            raise ValueError(
                f"round {number}, made again because its weights were not kept, came out with other bits than the "
                "archive holds: the machine computes differently from the one that made it. Go on where it was made, "
                "or delete the folder `rounds` in storage to train everything anew here"
            )


class RSRLTrial(tune.Trainable):
    """One fold x schedule; every step is a round.

    It keeps no checkpoints: a trial that starts again, anywhere, replays its finished rounds from the
    archive in milliseconds and trains on from there.
    """

    def setup(self, config: dict[str, Any], task: Task | None = None) -> None:
        """Called by Ray once an actor; ``config["trial"]`` names fold, schedule and the trial's id."""
        assert task is not None, "made by tune.with_parameters"
        self._task = task
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another trial in this actor."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The next round's metrics; a trial that cannot go on ends with ``failed``, the reason."""
        try:
            result = next(self._rounds)
        except (NotFinite, ValueError, StorageError) as error:
            return {"failed": str(error), DONE: True}
        except torch.OutOfMemoryError as error:
            return {"failed": self._out_of_memory(error), DONE: True}
        return self._report(result)

    def _out_of_memory(self, error: torch.OutOfMemoryError) -> str:
        share, batch = self._task.experiment.resources.gpus, self._task.experiment.training.batch_size
        assert share != "auto"  # the sweep has made a number of it
        larger = f"resources.gpus {min(1.0, 2 * share):g} (a larger share of a GPU; the results stay the same)"
        smaller = f"training.batch_size {max(1, batch // 2)} (another recipe)"
        ways = [larger] * (share < 1) + [smaller] * (batch > 1)
        return f"the GPU's memory is full ({str(error).splitlines()[0]}); try {' or '.join(ways)}"

    def _begin(self, config: dict[str, Any]) -> None:
        experiment, trial = self._task.experiment, config["trial"]
        fold = next(fold for fold in self._task.folds if fold.number == trial["fold"])
        labels = self._task.photos.labels
        learner = Learner(
            experiment.network,
            experiment.training,
            experiment.revision.warm_start,
            self._task.start,
            self._task.photos.pixels(),
            labels,
            classes=len(self._task.photos.classes),
            seed=experiment.seed,
            fold=fold.number,
            device="cuda" if experiment.resources.gpus else "cpu",
        )
        self._fold = fold
        self._archived = ArchivedLearner(
            learner,
            Archive(experiment.storage),
            start_key(_identity(self._task, fold, learner.device_kind), labels, fold.train),
            self._task.start,
            experiment.revision.warm_start == "cold",
            trial["id"],
        )
        self._rounds: Iterator[RoundResult] = run_rounds(
            self._archived,
            labels,
            fold,
            experiment.schedule(trial["schedule"]),
            experiment.rounds,
            experiment.revision,
        )

    def _report(self, result: RoundResult) -> dict[str, Any]:
        experiment, photos, record = self._task.experiment, self._task.photos, self._archived.record
        assert record is not None
        settings = experiment.revision
        table = predictions(
            photos.images,
            photos.scores,
            self._fold,
            result.kept,
            result.returned,
            result.logits,
            settings.membership,
        )
        notes, self._archived.notes = self._archived.notes, []
        if result.revision is not None and result.thresholds is not None:
            majority = majority_classes(photos.labels[self._fold.train], settings.majority_classes)
            notes += revision_notes(result.revision, result.thresholds, photos.classes[majority].tolist())
        maker = self.config["trial"]["id"]
        return {
            **round_metrics(table, settings.majority_classes),
            "round": result.number,
            "key": self._archived.keys[-1],
            "parent_key": self._archived.keys[-2],
            "created": record.created,
            "seconds": record.seconds,
            "reused": float(record.maker != maker),
            "epochs_so_far": float(result.number * experiment.training.epochs),
            "guarded": float(result.revision is not None and bool(result.revision.guarded)),
            "note": "; ".join(notes),
            DONE: result.number == experiment.rounds,
        }


def _identity(task: Task, fold: Fold, device_kind: str) -> dict[str, Any]:
    """All that the bits of a fold's rounds depend on, besides labels and indices (design, section 2)."""
    experiment = task.experiment
    return {
        "photos": task.photos.fingerprint,
        "start": task.start_digest,
        "backbone": experiment.network.backbone,
        "image_size": experiment.network.image_size,
        "training": asdict(experiment.training),
        "warm_start": experiment.revision.warm_start,
        "seed": experiment.seed,
        "fold": fold.number,
        "device": device_kind,
        "versions": [torch.__version__, torchvision.__version__],
    }


def start_digest(start: Weights) -> str:
    """Digest of the starting weights, taken once for all trials."""
    return array_digest(start)
