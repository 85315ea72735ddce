"""A sweep of many trials whose rounds are toys, on a simulated cluster: what the driver costs, and where it breaks.

Everything is real but the rounds: Ray with several nodes (``ray.cluster_utils``), Tune, scheduler, log, MLflow,
archive, weights kept as needed. A round takes milliseconds and gives logits drawn from a generator seeded by what a
real round depends on. Needs ``pip install -e '.[test]'``; for example::

    python experiments/scale.py --trials 1000 --rounds 30 --nodes 8

Prints one row for every tenth of the results, and what the parts of the driver took. ``--server`` tracks in a
``mlflow server`` of its own in place of SQLite; ``--unshared`` gives every schedule thresholds of its own.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import ray
from meters import Clock, Meter
from ray.cluster_utils import Cluster
from ray.tune.execution.tune_controller import TuneController
from rich.console import Console
from toys import OPERATIONS, counted_storage, schedules, toys, write_photos

from rsrl_ray import config
from rsrl_ray.analysis.numbers.frames import summarise
from rsrl_ray.analysis.sweep.read import read_sweep
from rsrl_ray.analysis.tables.build import write_tables
from rsrl_ray.sweep.driver import launch
from rsrl_ray.sweep.driver.attempts import Attempts
from rsrl_ray.sweep.driver.log import Log
from rsrl_ray.sweep.driver.progress import SweepProgress
from rsrl_ray.sweep.driver.retention import WeightRetention
from rsrl_ray.sweep.driver.running import Running
from rsrl_ray.sweep.driver.scheduler import SharingScheduler
from rsrl_ray.sweep.driver.watchdog import Watchdog
from rsrl_ray.sweep.driver.weights import KeptWeights
from rsrl_ray.terminal import Terminal

FOLDS = 5
OBJECT_STORE = 100 << 20  # bytes a node


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """An MLflow server on this machine; yields its URI."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/served"]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(120):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{uri}/health", timeout=2).close()
                break
            time.sleep(1)
        yield uri
    finally:
        os.killpg(server.pid, 15)
        server.wait()


@contextlib.contextmanager
def simulated_cluster(nodes: int, cpus: int) -> Iterator[None]:
    """Ray with a head that runs no trial and ``nodes`` nodes of ``cpus`` logical CPUs."""
    os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="rsrl-", dir="/tmp")  # apart from this machine's own Rays
    head = {"num_cpus": 0, "object_store_memory": OBJECT_STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head, connect=False)
    for _ in range(nodes):
        cluster.add_node(num_cpus=cpus, object_store_memory=OBJECT_STORE)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()
        shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)


def sweep(experiment: config.Experiment, clock: Clock, notes: Path) -> tuple[Meter, dict[str, float]]:
    """Run the sweep with toy rounds, measured."""
    meters: list[Meter] = []
    times: dict[str, float] = {}
    run, close = Running.run, Log.close

    def measured_run(running: Running, task: Any, scratch: str) -> None:
        meters.append(Meter(running._log, len(running._trials) * experiment.rounds))
        running.listeners.append(meters[0])
        began = time.perf_counter()
        run(running, task, scratch)
        times["trials_s"] = time.perf_counter() - began

    def measured_close(log: Log, status: str) -> None:
        times["backlog"] = sum(map(len, log._writer._jobs.values()))
        began = time.perf_counter()
        try:
            close(log, status)
        finally:
            times["backlog_s"] = time.perf_counter() - began

    Running.run, Log.close = measured_run, measured_close  # type: ignore[method-assign,assignment]
    clock.watch(TuneController, "step", "_process_trial_result", "checkpoint", "_maybe_add_actors", "_cleanup_trials")
    clock.watch(SharingScheduler, "choose_trial_to_run", "on_trial_result")
    clock.watch(WeightRetention, "finished")
    clock.watch(Attempts, "on_round")
    clock.watch(Log, "on_round", "_log")
    clock.watch(KeptWeights, "on_round")
    clock.watch(SweepProgress, "on_trial_result", "on_step_end")
    clock.watch(Watchdog, "on_step_end")
    began = time.perf_counter()
    outcome = launch.run_sweep(experiment, Terminal(Console(file=io.StringIO(), width=200)), trainers=toys(notes))
    times["all_s"] = time.perf_counter() - began
    assert not outcome.failed, outcome.failed
    assert not outcome.stopped, outcome.stopped
    return meters[0], times | {"finished": len(outcome.finished), "unlogged": outcome.unlogged}


def analysis(experiment: config.Experiment, folder: Path) -> dict[str, float]:
    """Read the sweep and write its tables: seconds, and MiB more than before."""
    before, began = psutil.Process().memory_info().rss / 2**20, time.perf_counter()
    found = read_sweep(experiment)
    read = time.perf_counter()
    write_tables(found, summarise(found), folder)
    memory = psutil.Process().memory_info().rss / 2**20
    return {"read_s": read - began, "tables_s": time.perf_counter() - read, "MiB": memory - before}


def rows(database: Path) -> dict[str, int]:
    """Rows of MLflow's tables."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        tables = ("runs", "metrics", "latest_metrics", "params", "tags")
        return {table: connection.execute(f"select count(*) from {table}").fetchone()[0] for table in tables}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help=f"a multiple of {FOLDS}")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--cpus", type=int, default=2, help="trials at a time on a node (each 0.3 GB)")
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--server", action="store_true", help="track in an `mlflow server`, not in SQLite")
    parser.add_argument("--unshared", action="store_true", help="no two schedules share more than round 1")
    return parser.parse_args()


def main() -> None:
    """Run and print."""
    given = arguments()
    folder = Path(tempfile.mkdtemp(prefix="rsrl-scale-"))
    print(json.dumps(vars(given)), folder, flush=True)
    with contextlib.ExitStack() as stack:
        uri = stack.enter_context(mlflow_server(folder)) if given.server else None
        stack.enter_context(simulated_cluster(given.nodes, given.cpus))
        operations, clock = counted_storage(), Clock()
        experiment = config.Experiment(
            name="scale",
            photos=str(write_photos(folder, given.photos)),
            storage=str(folder),
            schedules=schedules(given.trials // FOLDS, given.rounds, given.unshared),
            folds=config.Folds(count=FOLDS, validation=0.2),
            network=config.Network(backbone="small", weights="none", image_size=32),
            rounds=given.rounds,
            archive=config.Retention(weights="needed"),
            mlflow=uri,
        )
        before = psutil.Process().memory_info().rss / 2**20
        notes = folder / "operations"
        notes.mkdir()
        meter, times = sweep(experiment, clock, notes)
        after = psutil.Process().memory_info().rss / 2**20
        results = len(meter.samples)
        print(f"{'calls of':40s} {'number':>8s} {'wall s':>8s} {'CPU s':>8s} {'CPU ms each':>12s}")
        for name, (number, wall, thread) in sorted(clock.spent.items(), key=lambda item: -item[1][2]):
            print(f"{name:40s} {number:8.0f} {wall:8.1f} {thread:8.1f} {1e3 * thread / number:12.3f}")
        print({name: round(value, 1) for name, value in times.items()})
        print(f"results {results}, reused {meter.reused:.0f}, threads {threading.active_count()}")
        print(f"driver MiB: {before:.0f} before, {after:.0f} after")
        in_trials = [json.loads(file.read_text()) for file in notes.iterdir()]
        counts = {name: sum(process.get(name, 0) for process in in_trials) for name in OPERATIONS}
        print("storage, in the trials a round:", {name: count / results for name, count in counts.items()})
        print("storage, in the driver a round:", {name: operations[name] / results for name in OPERATIONS})
        print("analysis:", {name: round(value, 1) for name, value in analysis(experiment, folder / "analysis").items()})
        found = rows(folder / "mlflow.db")
        print("MLflow:", found, f"{sum(found.values()) / (times['trials_s'] + times['backlog_s']):.0f} rows a second")


if __name__ == "__main__":
    main()
