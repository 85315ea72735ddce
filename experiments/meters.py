"""How `scale.py` measures the driver: what calls of its methods take, and a sample for each result."""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
from ray.tune import Callback

from rsrl_ray.sweep.driver.log import Log
from rsrl_ray.sweep.report import Report, told_in


class Clock:
    """Calls, wall time and CPU time of the calling thread, by name."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])

    def watch(self, owner: type, *names: str) -> None:
        """Time methods of a class from now on."""
        for name in names:
            setattr(owner, name, self._timed(f"{owner.__name__}.{name}", getattr(owner, name)))

    def _timed(self, label: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            wall, thread = time.perf_counter(), time.thread_time()
            try:
                return method(*arguments, **named)
            finally:
                spent = self.spent[label]
                spent[0] += 1
                spent[1] += time.perf_counter() - wall
                spent[2] += time.thread_time() - thread

        return call


class Meter(Callback):
    """One sample a result: wall time, CPU time of the driver's main thread, memory, what the log lacks."""

    def __init__(self, log: Log, results: int) -> None:
        self._log, self._process = log, psutil.Process()
        self._tenth = max(1, results // 10)
        self.samples: list[tuple[float, float, float, int]] = []
        self.reused = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        """Sample."""
        queued = sum(map(len, list(self._log._writer._jobs.values())))
        memory = self._process.memory_info().rss / 2**20
        self.samples.append((time.perf_counter(), time.thread_time(), memory, queued))
        self.reused += sum(told.metrics["reused"] for told in told_in(result) if isinstance(told, Report))
        if len(self.samples) % self._tenth == 0:
            self._print_tenth()

    def _print_tenth(self) -> None:
        if len(self.samples) == self._tenth:
            print("results  ms a result: mean    p50    p99  CPU of the main thread  RSS MiB  queued")
        gaps = 1e3 * np.diff(np.array(self.samples[-self._tenth :])[:, :2], axis=0)
        wall, (_, _, memory, queued) = gaps[:, 0], self.samples[-1]
        spread = f"{wall.mean():12.1f} {np.percentile(wall, 50):6.1f} {np.percentile(wall, 99):6.1f}"
        print(f"{len(self.samples):7d} {spread} {gaps[:, 1].mean():23.2f} {memory:8.0f} {queued:7d}", flush=True)
