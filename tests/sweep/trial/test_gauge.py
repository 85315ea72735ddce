"""What nodes are busy with: measured where trials train, told by the driver, under MLflow's own names."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
from numpy.typing import NDArray
from sweep.reports import six_photos
from sweep.trial.test_trainable import FOLD, trial_of

from rsrl_ray.config import Experiment, Revision
from rsrl_ray.core.trial import Device
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.identity import recipe
from rsrl_ray.sweep.report import Report, told_in
from rsrl_ray.sweep.task import Task
from rsrl_ray.sweep.trial import gauge
from rsrl_ray.sweep.trial.gauge import Gauge, Readings
from rsrl_ray.sweep.trial.trainable import RSRLTrial
from rsrl_ray.tracking.entries import Reading
from rsrl_ray.vision.network import Conv1, Weights


def test_a_gauge_reads_what_mlflow_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauge, "EVERY_S", 0.05)
    names = set()
    for monitor in (CPUMonitor(), DiskMonitor(), NetworkMonitor()):
        monitor.collect_metrics()
        names |= set(monitor.aggregate_metrics())
    reader = Gauge("10.0.0.1", gpus=False)
    deadline, found = time.monotonic() + 60, []
    while len(found) < 2 and time.monotonic() < deadline:
        found += reader.take()
    reader.close()
    first, second = found[:2]
    assert first.node == "10.0.0.1" and set(first.values) == set(second.values) == names
    assert 0 < first.values["system_memory_usage_percentage"] < 100
    assert first.values["cpu_utilization_percentage"] > 0  # this process was busy asking
    assert first.time < second.time <= time.time()


def test_gpus_are_read_as_far_as_they_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    class NVMLError(Exception):
        pass

    def power(gpu: int) -> int:
        if gpu == 1:
            raise NVMLError("not supported")
        return 250_000

    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(used=20e9, total=80e9),
        nvmlDeviceGetUtilizationRates=lambda gpu: SimpleNamespace(gpu=70),
        nvmlDeviceGetPowerUsage=power,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert gauge._gpu_values(gauge._gpus()) == {
        "gpu_0_utilization_percentage": 70.0,
        "gpu_0_memory_usage_megabytes": 20e3,
        "gpu_0_memory_usage_percentage": 25.0,
        "gpu_0_power_usage_watts": 250.0,
    }


def test_without_a_driver_of_nvidia_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    class NVMLError(Exception):
        pass

    def fails() -> None:
        raise NVMLError("Driver Not Loaded")

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(NVMLError=NVMLError, nvmlInit=fails))
    assert gauge._gpus() == []


def reading(node: str, at: float, cpu: float, received: float = 0.0) -> Reading:
    network = {"network_receive_megabytes": received, "network_transmit_megabytes": 7.0}
    return Reading(node, at, {"cpu_utilization_percentage": cpu, **network})


def test_the_processes_of_a_node_give_one_reading_at_a_time() -> None:
    readings = Readings()
    readings.add([reading("a", 100.01, 10, 1000), reading("a", 110.02, 20, 1003)])
    readings.add([reading("a", 100.03, 11, 999), reading("a", 120.0, 30, 1010), reading("b", 100.0, 40, 5)])
    told = readings.pending()
    assert [(one.node, one.time, one.values["cpu_utilization_percentage"]) for one in told] == [
        ("a", 100.01, 10),
        ("a", 110.02, 20),
        ("a", 120.0, 30),
        ("b", 100.0, 40),
    ]
    assert [one.values["network_receive_megabytes"] for one in told] == [0, 3, 10, 0]
    readings.told(3)
    assert [one.node for one in readings.pending()] == ["b"]


@pytest.mark.parametrize("knob", [["--system_metrics", "false"], ["--measure", "mae"]])
def test_the_knob_makes_no_other_trials(experiment_file: Callable[..., Path], knob: list[str]) -> None:
    file = experiment_file()
    assert recipe(read_experiment(file)) == recipe(read_experiment(file, knob))


@dataclass
class Toy:
    """A trainer whose round takes until the node was read, where it is read."""

    trials: list[RSRLTrial]
    device: Device = field(default_factory=lambda: Device("cpu"))

    def fit(self, parent: Weights, kept: NDArray[np.bool_], number: int) -> Weights:
        deadline = time.monotonic() + 60
        while not self.trials and time.monotonic() < deadline:
            time.sleep(0.01)
        reader = self.trials[0]._gauge
        while reader is not None and not reader._readings and time.monotonic() < deadline:
            time.sleep(0.01)
        return {"w": np.ones(1, np.float32)}

    def logits(self, weights: Weights) -> NDArray[np.float32]:
        return np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 0, 1]]

    def conv1(self, weights: Weights) -> Conv1 | None:
        return None


@pytest.mark.parametrize("asked", [True, False])
def test_a_trial_reports_what_its_node_was_busy_with_unless_that_is_turned_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    monkeypatch.setattr(gauge, "EVERY_S", 0.05)
    experiment = Experiment(
        "a", "photos.csv", {"firm": {1: 0.9}}, storage=str(tmp_path), rounds=1, system_metrics=asked
    )
    experiment = replace(experiment, revision=Revision(majority_classes=1))
    photos = six_photos(tmp_path)
    trials: list[RSRLTrial] = []
    task = Task(experiment, photos, [FOLD], {"w": np.zeros(1)}, "07", lambda task: lambda *fold: Toy(trials))
    trial = trial_of(task)
    trials.append(trial)
    (report,) = told_in(trial.step())
    assert isinstance(report, Report)
    trial.stop()
    assert bool(report.system) == asked
    assert {one.node for one in report.system} <= {""}
    assert all("cpu_utilization_percentage" in one.values for one in report.system)
