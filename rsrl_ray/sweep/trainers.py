"""The networks that the trials of a process train."""

from typing import Any

from numpy.typing import NDArray

from rsrl_ray.core.folds import Fold
from rsrl_ray.method import Learning
from rsrl_ray.sweep.features import features_here
from rsrl_ray.sweep.photos import pixels_here
from rsrl_ray.sweep.task import Task
from rsrl_ray.vision.on_device import NetworkOnDevice
from rsrl_ray.vision.trainer import Lesson, NetworkTrainer


class NetworkTrainers:
    """Makes the trainers of folds, which share one network on its device, since a process has one trial at a time."""

    def __init__(self, task: Task) -> None:
        """Raises ValueError where this machine cannot have photos or features, which another one may."""
        experiment, classes = task.experiment, len(task.photos.classes)

        def rows() -> NDArray[Any]:
            return features_here(task) if task.frozen else pixels_here(task.photos, task.source)

        self._task = task
        self._network = NetworkOnDevice(
            experiment.network, experiment.training, classes, rows, task.device, task.gpu_share
        )
        self._network.make()

    def __call__(self, fold: Fold, learning: Learning) -> NetworkTrainer:
        """The trainer of this fold."""
        task = self._task
        return NetworkTrainer(
            Lesson(
                labels=task.labels_in(fold),
                start=task.start,
                warm_start=learning.warm_start,
                seed=task.experiment.seed,
                fold=fold.number,
                loss=learning.loss,
                sampling=learning.sampling,
                size=len(fold.train),
            ),
            self._network,
        )
