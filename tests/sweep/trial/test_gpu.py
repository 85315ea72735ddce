"""The laws on a GPU, where there is one: two trials share it, and each round has the bits that it has alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sweep.sweeping import assert_same_bits, swept, tables
from sweep.test_laws import alone
from vision.test_trainer import NO_GPU

from rsrl_ray.display import Silent
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.sweep.driver.prepare import prepare
from rsrl_ray.sweep.trial.trainers import NetworkTrainers

pytestmark = [pytest.mark.slow, NO_GPU]


@pytest.mark.parametrize("trainable", ["all", "classifier"])
def test_trials_that_share_a_gpu_leave_the_same_bits(experiment_file: Callable[..., Path], trainable: str) -> None:
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 0.01, "head_factor": 1, "trainable": trainable}
    file = experiment_file(training=training, resources={"cpus": 1, "gpus": 0.5})
    outcome, _ = swept(file)
    assert (len(outcome.finished), outcome.failed) == (6, {})
    experiment = read_experiment(file)
    task = prepare(experiment, Silent(), False, False, NetworkTrainers)
    rounds = {
        (fold.number, name): list(alone(task, fold, name)) for fold in task.folds for name in experiment.method_names()
    }
    assert_same_bits(tables(file), rounds)
