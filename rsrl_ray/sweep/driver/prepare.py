"""What a sweep needs before its trials begin: checked photos, folds, starting weights and features."""

from collections.abc import Callable
from dataclasses import replace

import ray

from rsrl_ray.config import Experiment
from rsrl_ray.core.digest import array_digest
from rsrl_ray.display import Display
from rsrl_ray.method import largest_training
from rsrl_ray.photos.folds import describe_folds, folds_of
from rsrl_ray.store.archive import Archive
from rsrl_ray.store.holders import data_holder, hold_file
from rsrl_ray.sweep.nodes.features import with_features
from rsrl_ray.sweep.nodes.gpus import gpu_share
from rsrl_ray.sweep.nodes.photos import load, row_source
from rsrl_ray.sweep.task import Task, Trainers
from rsrl_ray.vision.frozen import frozen_weights
from rsrl_ray.vision.memory import trial_memory
from rsrl_ray.vision.network import Weights, starting_weights
from rsrl_ray.vision.reproducible import lacks_bf16

SMALL_NETWORK = 50e6  # bytes of trained weights; if there are fewer, `archive: {weights: auto}` keeps every round's


def prepare(
    experiment: Experiment, display: Display, skip_bad: bool, joined: bool, trainers: Callable[[Task], Trainers]
) -> Task:
    """Everything that needs no Ray; see `rsrl_ray.sweep.driver.launch.run_sweep`."""
    photos = load(experiment, display, skip_bad, joined)
    classes = photos.classes
    all_folds = folds_of(experiment, photos)
    for line in describe_folds(photos, experiment.draw(), all_folds):
        display.said(line, "note")
    start = starting_weights(experiment.network, len(classes), [experiment.seed, 0])
    if start.random_layers and experiment.network.weights != "none":
        display.said(f"{experiment.network.weights} lacks {', '.join(start.random_layers)}: these layers start random")
    if experiment.training.precision == "bf16" and not experiment.resources.gpus and lacks_bf16():
        slow = "this machine's CPU has no units for bfloat16, so training.precision bf16 is many times slower than fp32"
        display.said(slow, "note")
    trainable = experiment.training.trainable
    frozen = {} if trainable == "all" else frozen_weights(start.weights, start.head, trainable)
    return Task(
        experiment,
        photos,
        [fold for fold in all_folds if fold.number in experiment.fold_numbers()],
        start.weights,
        array_digest(start.weights),
        trainers,
        _kept(experiment, frozen),
        sum(array.nbytes for name, array in start.weights.items() if name not in frozen),
    )


def _kept(experiment: Experiment, frozen: Weights) -> str:
    """Write the weights that are not trained into the archive, for whoever needs the whole network; their digest."""
    if not frozen:
        return ""
    name = array_digest(frozen)
    Archive(experiment.storage).write_frozen(name, frozen)
    return name


def keeps_all(task: Task) -> bool:
    """Whether every round's weights are kept."""
    kept = task.experiment.archive.weights
    return kept == "all" or (kept == "auto" and task.trained_bytes < SMALL_NETWORK)


def complete(task: Task, display: Display, joined: bool) -> Task:
    """Everything that needs Ray: a trial's share of a GPU, where nodes copy photos from, features of frozen layers."""
    hold_file(task.photos.pixels_path, data_holder(task.experiment, task.sweep_id()))
    source = row_source(task.photos.pixels) if joined else None
    here = ray.get_runtime_context().get_node_id()
    task = replace(_with_gpu_share(task, display), source=source, driver_node=here)
    return with_features(task, display, joined) if task.frozen else task


def _with_gpu_share(task: Task, display: Display) -> Task:
    """The task with a number in place of ``resources: {gpus: auto}``."""
    experiment = task.experiment
    if experiment.resources.gpus != "auto":
        return task
    need = trial_memory(experiment.network, largest_training(experiment), len(task.photos.classes))
    resources = replace(experiment.resources, gpus=gpu_share(need, display))
    return replace(task, experiment=replace(experiment, resources=resources))
