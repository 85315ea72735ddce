"""A metric's values by round, of many runs in as few questions as MLflow's store takes."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from mlflow import MlflowClient

from rsrl_ray.tracking.mlflow_insides import OneAtATime, history_of_many, runs_at_once

THREADS = 8  # that ask at once: a tracking server answers several, a disk is as fast with few
Rounds = Mapping[str, int]  # by run id, how many
Histories = dict[str, dict[int, float]]  # by run id and round


def history(client: MlflowClient, run: str, metric: str, rounds: int) -> dict[int, float]:
    """A metric of one run by round, of its first ``rounds``."""
    return {point.step: point.value for point in client.get_metric_history(run, metric) if point.step <= rounds}


def histories(client: MlflowClient, rounds: Rounds, metric: str) -> Histories:
    """`history` of several runs that have the metric.

    A database is asked once for 500 of them, a tracking server once for 100. A folder, and a service that does not know
    the server's question, are asked for each run, several at a time.
    """
    try:
        return _together(client, rounds, metric)
    except OneAtATime:
        with ThreadPoolExecutor(THREADS) as threads:
            return dict(threads.map(lambda run: (run, history(client, run, metric, rounds[run])), rounds))


def _together(client: MlflowClient, rounds: Rounds, metric: str) -> Histories:
    found: Histories = {run: {} for run in rounds}
    runs, last, at_once = list(rounds), max(rounds.values(), default=0), runs_at_once(client)
    for first in range(0, len(runs), at_once):
        for point in history_of_many(client, runs[first : first + at_once], metric, last):
            if point.step <= rounds[point.run_id]:
                found[point.run_id][point.step] = point.value
    return found
