"""A metric's values by round, of many runs, with as few questions to MLflow's store as possible."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from mlflow import MlflowClient

from rsrl_ray.tracking.mlflow_insides import OneAtATime, points_of_many

THREADS = 8  # that ask at once: a tracking server answers several, and a disk does not get faster by more


def history(client: MlflowClient, run: str, metric: str, rounds: int) -> dict[int, float]:
    """A metric of one run by round, of its first ``rounds``."""
    return {point.step: point.value for point in client.get_metric_history(run, metric) if point.step <= rounds}


def histories(client: MlflowClient, rounds: Mapping[str, int], metric: str) -> dict[str, dict[int, float]]:
    """`history` of several runs that have the metric, by run id. rounds : by run id, how many.

    A database is asked once for 500 runs, a tracking server once for 100. A folder, or a service that does not know the
    server's question, is asked for each run, several at a time.
    """
    found: dict[str, dict[int, float]] = {run: {} for run in rounds}
    try:
        for point in points_of_many(client, list(rounds), metric, max(rounds.values(), default=0)):
            if point.step <= rounds[point.run_id]:
                found[point.run_id][point.step] = point.value
    except OneAtATime:
        with ThreadPoolExecutor(THREADS) as threads:
            return dict(threads.map(lambda run: (run, history(client, run, metric, rounds[run])), rounds))
    return found
