"""What a trial says when it cannot go on."""

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sweep.reports import carried, six_photos

from rsrl_ray import config
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.trial import Device, Origin
from rsrl_ray.rounds.loop import RoundResult
from rsrl_ray.store.archive import Record
from rsrl_ray.store.storage import StorageError
from rsrl_ray.sweep.report import Failure, Report, SetUpFailed, told_in
from rsrl_ray.sweep.task import Task, Trainer
from rsrl_ray.sweep.trial.block_trial import BlockTrial
from rsrl_ray.sweep.trial.trainable import RSRLTrial
from rsrl_ray.vision.memory import OutOfMemory
from rsrl_ray.vision.network import Conv1, Weights
from rsrl_ray.vision.reproducible import versions


class Large:
    """What a round makes."""


LARGE: list[weakref.ref[Large]] = []
FOLD = Fold(0, np.arange(4), np.arange(4, 5), np.arange(5, 6))


@dataclass
class Broken:
    """A trainer whose rounds raise an error, while something large lies on the GPU."""

    error: Exception
    device: Device = field(default_factory=lambda: Device("cpu-AVX2"))

    def fit(self, parent: Weights, kept: NDArray[np.bool_], number: int) -> Weights:
        large = Large()
        LARGE.append(weakref.ref(large))
        raise type(self.error)(str(self.error))  # a new one, whose frames nobody else holds

    def logits(self, weights: Weights) -> NDArray[np.float32]:
        raise AssertionError

    def conv1(self, weights: Weights) -> Conv1 | None:
        raise AssertionError


class Sound:
    """A trainer whose rounds are all alike."""

    device = Device("cpu-AVX2")

    def fit(self, parent: Weights, kept: NDArray[np.bool_], number: int) -> Weights:
        return {"w": np.ones(1)}

    def logits(self, weights: Weights) -> NDArray[np.float32]:
        return np.eye(6, 2, dtype=np.float32)

    def conv1(self, weights: Weights) -> Conv1 | None:
        return None


def trial_of(task: Task, *identities: str, methods: Sequence[str] = ("firm",)) -> RSRLTrial:
    class Trial(RSRLTrial):
        def setup(self, config: dict[str, Any], *given: Any) -> None:
            super().setup(config, task)

    return Trial({"trial": {"fold": 0, "methods": list(methods), "ids": list(identities or ["one"])}})


def task_of(folder: Path, trainer: Trainer, gpus: float = 0.0, batch_size: int = 32) -> Task:
    experiment = config.Experiment(
        name="a",
        photos="photos.csv",
        schedules={"firm": {1: 0.9}},
        storage=str(folder),
        training=config.Training(batch_size=batch_size),
        revision=config.Revision(majority_classes=1),
        resources=config.Resources(gpus=gpus),
        system_metrics=False,
    )
    photos = six_photos(folder)
    return Task(experiment, photos, [FOLD], {"w": np.zeros(1)}, "07", lambda task: lambda *fold: trainer)


@pytest.fixture
def failure(tmp_path: Path) -> Callable[..., Failure]:
    """The report of a trial whose next round raises ``error``."""

    def of(error: Exception, gpus: float = 0.0, batch_size: int = 32) -> Failure:
        trial = trial_of(task_of(tmp_path, Broken(error), gpus, batch_size))
        (found,) = told_in(trial.step())
        assert isinstance(found, Failure)
        assert LARGE.pop()() is None  # nothing holds it any more
        assert trial.reset_config(carried(0, "firm"))
        assert told_in(trial.step()) == [found]
        assert found.origin == Origin(found.origin.start_key, "cpu-AVX2", tuple(versions("small")))
        assert len(found.origin.start_key) == 32
        return found

    return of


@pytest.mark.parametrize(
    ("gpus", "batch_size", "ways"),
    [
        (
            0.25,
            32,
            "resources.gpus 0.5 (a larger share of a GPU; the results stay the same) or training.batch_size 16 "
            "(another recipe)",
        ),
        (1, 32, "training.batch_size 16 (another recipe)"),
        (0.75, 1, "resources.gpus 1 (a larger share of a GPU; the results stay the same)"),
    ],
)
def test_a_full_gpu_says_what_to_change(
    failure: Callable[..., Failure], gpus: float, batch_size: int, ways: str
) -> None:
    error = OutOfMemory("CUDA out of memory. Tried to allocate 2 GiB.")
    said = f"the GPU's memory is full (CUDA out of memory. Tried to allocate 2 GiB.); try {ways}"
    assert failure(error, gpus, batch_size).reason == said


def test_a_node_that_cannot_train_says_why(tmp_path: Path) -> None:
    """As where the GPU has no bfloat16, or is full while it is tried what it computes."""
    errors: list[Exception] = [OutOfMemory("CUDA out of memory."), ValueError("training.precision: bf16, but")]
    said = ["the GPU's memory is full (CUDA out of memory.); try", "training.precision: bf16, but"]

    def trainers(task: Task) -> Callable[..., Broken]:
        def of(*fold: Any) -> Broken:
            raise errors.pop(0)

        return of

    experiment = config.Experiment(
        "a", "photos.csv", {"firm": {1: 0.9}}, storage=str(tmp_path), revision=config.Revision(majority_classes=1)
    )
    photos = six_photos(tmp_path)
    trial = trial_of(Task(experiment, photos, [FOLD], {"w": np.zeros(1)}, "07", trainers))
    for number, words in enumerate(said):
        with pytest.raises(SetUpFailed) as failed:
            trial.step()
        assert failed.value.reason.startswith(words)
        if number == 0:
            assert trial.reset_config(carried(0, "firm"))


def test_storage_that_refuses_ends_the_trial_with_its_words(failure: Callable[..., Failure]) -> None:
    assert failure(StorageError("storage: cannot write")).reason == "storage: cannot write"


def test_a_trial_has_reused_what_another_one_made_not_its_own_rounds(tmp_path: Path) -> None:
    task = task_of(tmp_path, Sound())
    steps = [trial_of(task, identity).step() for identity in ("one", "one", "two")]
    reports = [report for step in steps for report in told_in(step) if isinstance(report, Report)]
    assert [report.made for report in reports] == [True, False, False]
    assert [report.metrics["reused"] for report in reports] == [0, 0, 1]


def test_a_trial_that_fails_while_it_is_reported_leaves_its_next_round_to_those_that_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was chosen to make that round for both, and has ended when the round is there."""
    made = threading.Event()

    class Told(Sound):
        def fit(self, parent: Weights, kept: NDArray[np.bool_], number: int) -> Weights:
            if number == 2:
                made.set()
            return super().fit(parent, kept, number)

    def own_metrics(
        trial: BlockTrial, result: RoundResult, record: Record, inner: Any = BlockTrial._own_metrics
    ) -> Any:
        if trial.key.method == "firm" and result.number == 1:
            assert made.wait(30)
            raise StorageError("no space")
        return inner(trial, result, record)

    monkeypatch.setattr(BlockTrial, "_own_metrics", own_metrics)
    task = task_of(tmp_path, Told())
    task = replace(task, experiment=replace(task.experiment, rounds=3, schedules={"firm": {1: 0.0}, "none": {1: 0.0}}))
    trial = trial_of(task, "one", "two", methods=("firm", "none"))
    told: list[Any] = []
    stepping = threading.Thread(target=lambda: told.extend(told_in(trial.step()) for _ in range(3)), daemon=True)
    stepping.start()
    stepping.join(60)
    assert [[(each.trial.method, getattr(each, "reason", "")) for each in step] for step in told] == [
        [("firm", "no space"), ("none", "")],
        [("none", "")],
        [("none", "")],
    ]
