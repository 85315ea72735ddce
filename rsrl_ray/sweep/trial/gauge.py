"""How busy the nodes are that train: the trials' processes measure it, the driver tells MLflow.

The names are those of MLflow's own monitor (`mlflow.system_metrics`). That monitor is not used: it needs the tracking
store on every node and MLflow in the process of every trial. Its process on an idle node would also keep a cluster from
ending that node.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import psutil

from rsrl_ray.tracking.entries import Reading

EVERY_S = 10.0
_NETWORK = ("network_receive_megabytes", "network_transmit_megabytes")
_MOST_READINGS = 10_000  # that wait


class Gauge:
    """Measures in a thread, at the same times in all processes."""

    def __init__(self, node: str, gpus: bool) -> None:
        """``node`` : its address, "" if there is only one. gpus : whether to measure GPUs too."""
        self._node, self._gpus = node, _gpus() if gpus else []
        self._readings: deque[Reading] = deque(maxlen=_MOST_READINGS)
        self._closed = threading.Event()
        threading.Thread(target=self._read, name="gauge", daemon=True).start()

    def take(self) -> tuple[Reading, ...]:
        """The readings since the last call."""
        return tuple(self._readings.popleft() for _ in range(len(self._readings)))

    def close(self) -> None:
        """Stop measuring."""
        self._closed.set()

    def _read(self) -> None:
        psutil.cpu_percent()  # each call measures the time since the call before, in this thread
        while not self._closed.wait(EVERY_S - time.time() % EVERY_S):
            self._readings.append(Reading(self._node, time.time(), {**_node_values(), **_gpu_values(self._gpus)}))


class Readings:
    """The readings of all processes as MLflow gets them: one for each node and time; the network's begin at 0."""

    def __init__(self) -> None:
        self._pending: deque[Reading] = deque(maxlen=_MOST_READINGS)
        self._seen: set[tuple[str, int]] = set()
        self._first: dict[str, Reading] = {}

    def add(self, readings: Iterable[Reading]) -> None:
        """Add the readings of one process."""
        for reading in readings:
            slot = reading.node, round(reading.time / EVERY_S)
            if slot not in self._seen:
                self._seen.add(slot)
                first = self._first.setdefault(reading.node, reading).values
                since = {name: reading.values[name] - first[name] for name in _NETWORK}
                self._pending.append(Reading(reading.node, reading.time, {**reading.values, **since}))

    def pending(self) -> list[Reading]:
        """The readings that MLflow has not got yet."""
        return list(self._pending)

    def told(self, number: int) -> None:
        """MLflow has got the first ``number`` of `pending`."""
        for _ in range(number):
            self._pending.popleft()


def _node_values() -> dict[str, float]:
    memory, disk, network = psutil.virtual_memory(), psutil.disk_usage(os.sep), psutil.net_io_counters()
    return {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": memory.used / 1e6,
        "system_memory_usage_percentage": 100 * memory.used / memory.total,
        "disk_usage_percentage": disk.percent,
        "disk_usage_megabytes": disk.used / 1e6,
        "disk_available_megabytes": disk.free / 1e6,
        _NETWORK[0]: network.bytes_recv / 1e6 if network else 0.0,
        _NETWORK[1]: network.bytes_sent / 1e6 if network else 0.0,
    }


def _gpus() -> list[Any]:
    """NVIDIA's handles of the node's GPUs."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:  # no NVIDIA driver
        return []


def _gpu_values(gpus: list[Any]) -> dict[str, float]:
    if not gpus:
        return {}
    import pynvml

    values: dict[str, float] = {}
    for number, gpu in enumerate(gpus):
        try:
            memory, busy = pynvml.nvmlDeviceGetMemoryInfo(gpu), pynvml.nvmlDeviceGetUtilizationRates(gpu)
            watts = pynvml.nvmlDeviceGetPowerUsage(gpu) / 1000
        except pynvml.NVMLError:  # some cards do not report everything
            continue
        values |= {
            f"gpu_{number}_utilization_percentage": float(busy.gpu),
            f"gpu_{number}_memory_usage_megabytes": memory.used / 1e6,
            f"gpu_{number}_memory_usage_percentage": 100 * memory.used / memory.total,
            f"gpu_{number}_power_usage_watts": watts,
        }
    return values
