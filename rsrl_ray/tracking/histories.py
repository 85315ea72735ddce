"""A metric's values by round, of many runs in as few questions as MLflow's store takes."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.service_pb2 import GetMetricHistoryBulkInterval
from mlflow.store.tracking.rest_store import RestStore

THREADS = 8  # that ask at once: a tracking server answers several, a disk is as fast with few
_RUNS = 500  # in one question to a database
_RUNS_OF_SERVER = 100  # in one question to a tracking server, which takes no more
_STEPS = 1000  # in one question to a tracking server: of more than 2500 values of a run it sends a choice
_MOST = 10**9  # values in a database's answer: all of them
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
        return _together(client._tracking_client.store, rounds, metric)
    except _CannotTell:
        with ThreadPoolExecutor(THREADS) as threads:
            return dict(threads.map(lambda run: (run, history(client, run, metric, rounds[run])), rounds))


class _CannotTell(Exception):
    """The store tells of one run at a time only."""


def _together(store: Any, rounds: Rounds, metric: str) -> Histories:
    found: Histories = {run: {} for run in rounds}
    runs, last = list(rounds), max(rounds.values(), default=0)
    is_database = hasattr(store, "get_metric_history_bulk")
    at_once = _RUNS if is_database else _RUNS_OF_SERVER
    for first in range(0, len(runs), at_once):
        part = runs[first : first + at_once]
        points = (
            store.get_metric_history_bulk(part, metric, _MOST) if is_database else _served(store, part, metric, last)
        )
        for point in points:
            if point.step <= rounds[point.run_id]:
                found[point.run_id][point.step] = point.value
    return found


def _served(store: Any, runs: list[str], metric: str, last: int) -> Iterator[Any]:
    """What MLflow's UI asks a tracking server for its charts; its client has no method for it."""
    if not isinstance(store, RestStore):
        raise _CannotTell
    for first in range(1, last + 1, _STEPS):
        question = {"run_ids": runs, "metric_key": metric, "start_step": first, "end_step": first + _STEPS - 1}
        try:
            answer: Any = store._call_endpoint(GetMetricHistoryBulkInterval, json.dumps(question))  # type: ignore[no-untyped-call]
        except MlflowException as error:
            raise (_CannotTell if error.get_http_status_code() == 404 else error) from error  # type: ignore[no-untyped-call]
        yield from answer.metrics
