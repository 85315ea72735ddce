"""Histories of a metric of many runs, from a real MLflow server whose questions are counted."""

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.server import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR, app, handlers
from werkzeug.serving import WSGIRequestHandler, make_server

from rsrl_ray.tracking import mlflow_insides as module
from rsrl_ray.tracking.histories import histories, history

BULK, SINGLE = "get-history-bulk-interval", "get-history"


@dataclass
class Counted:
    """MLflow's server; asked : the last parts of the paths of what it was asked; lacks : one that it does not know."""

    uri: str = ""
    asked: list[str] = field(default_factory=list)
    lacks: str = ""

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.asked.append(environ["PATH_INFO"].rpartition("/")[2])
        if self.asked[-1] == self.lacks:
            start("404 Not Found", [("Content-Type", "text/html")])
            return [b"<title>404 Not Found</title>"]
        return app(environ, start)


class Quiet(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    monkeypatch.setenv(BACKEND_STORE_URI_ENV_VAR, f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv(ARTIFACT_ROOT_ENV_VAR, (tmp_path / "artifacts").as_uri())
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(handlers, "_tracking_store", None)  # that of the process, made when it is asked for
    counted = Counted()
    serving = make_server("127.0.0.1", 0, counted, threaded=True, request_handler=Quiet)
    counted.uri = f"http://127.0.0.1:{serving.port}"
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield counted
    serving.shutdown()
    thread.join()
    serving.server_close()


def test_a_server_is_asked_for_many_runs_at_once(server: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (module._RUNS_OF_SERVER, module._STEPS) <= (
        handlers.MAX_RUNS_GET_METRIC_HISTORY_BULK,
        handlers.MAX_RESULTS_PER_RUN,
    )
    monkeypatch.setattr(module, "_RUNS_OF_SERVER", 3)
    client = MlflowClient(server.uri)
    experiment = client.create_experiment("sweeps")
    rounds = {client.create_run(experiment).info.run_id: 4 + place % 2 for place in range(7)}
    for place, run in enumerate(rounds):
        values = [0.1 + place, math.nan, 1 / 3, 1e-9 * place, 7.0]
        client.log_batch(run, [Metric("f", value, 1000, step) for step, value in enumerate(values, 1)])
    expected = {run: history(client, run, "f", count) for run, count in rounds.items()}
    assert [list(each) for each in expected.values()][:2] == [[1, 2, 3, 4], [1, 2, 3, 4, 5]]

    def asked() -> list[str]:
        server.asked.clear()
        assert repr(histories(client, rounds, "f")) == repr(expected)  # nan is not equal to itself
        return [path for path in server.asked if path in (BULK, SINGLE)]

    assert asked() == [BULK] * 3
    monkeypatch.setattr(module, "_STEPS", 2)
    assert asked() == [BULK] * 9
    server.lacks = BULK
    assert asked() == [BULK] + [SINGLE] * 7
