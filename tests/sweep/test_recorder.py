import io
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ray
from mlflow import MlflowClient
from ray.core.generated.common_pb2 import NodeDeathInfo
from rich.console import Console

from rsrl_ray.config import recipe
from rsrl_ray.core.trial import Origin, TrialKey
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.store.archive import Archive, Record
from rsrl_ray.sweep import tracked
from rsrl_ray.sweep.cluster import IN_ORDER, lost_nodes
from rsrl_ray.sweep.prepare import prepare
from rsrl_ray.sweep.recorder import ROUNDS_AT_ONCE, Recorder
from rsrl_ray.sweep.report import Report
from rsrl_ray.sweep.retention import Retention
from rsrl_ray.sweep.trainers import NetworkTrainers
from rsrl_ray.sweep.writer import Writer
from rsrl_ray.tracking.entries import Reading
from rsrl_ray.tracking.find import find_results

BEGAN = time.time() + 86_400  # after the run of the sweep has begun, however long the tests before take
ORIGIN = Origin("00", "cpu", ("2",))


def test_jobs_of_a_trial_keep_their_order_and_another_trial_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsrl_ray.sweep.writer.RETRY_S", 0.05)
    done: list[str] = []
    away = threading.Event()

    def fails_until_back() -> None:
        if not away.is_set():
            raise ConnectionError("the store is away\nwith details")
        done.append("a1")

    writer = Writer()
    writer.put("a", fails_until_back)
    writer.put("a", lambda: done.append("a2"))
    writer.put("b", lambda: done.append("b1"))
    deadline = time.monotonic() + 5
    while done != ["b1"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert done == ["b1"]
    away.set()
    assert writer.close() == 0
    assert done == ["b1", "a1", "a2"]
    assert writer.error == "ConnectionError: the store is away"


def test_what_could_not_be_logged_is_counted_and_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsrl_ray.sweep.writer.RETRY_S", 0.05)
    monkeypatch.setattr("rsrl_ray.sweep.writer.PATIENCE_S", 0.3)

    def fails() -> None:
        raise ConnectionError("away")

    writer = Writer()
    for _ in range(3):
        writer.put("a", fails)
    assert writer.close() == 3


def result(archive: Archive, photos: int, number: int) -> dict[str, Any]:
    """Put a made-up round into the archive; what a trial reports of it."""
    generator = np.random.default_rng(number)
    logits, kept = generator.normal(size=(photos, 5)).astype(np.float32), np.ones(photos, bool)
    record = Record(number, logits, kept, {"weight": np.zeros(1, np.float32)}, "maker", 1000.0 + number, 1.0)
    archive.write(f"{number:02d}", record, {"w": np.zeros(1, np.float32)})
    numbers = {"seconds": 1.0, "reused": 0.0, "epochs_so_far": 1.0, "guarded": 0.0, "test_macro_f1": 0.5}
    network = {"network_receive_megabytes": number, "network_transmit_megabytes": 0.0}
    reading = Reading("", BEGAN + 10.0 * number, {"cpu_utilization_percentage": 50.0, **network})
    key, before = f"{number:02d}", f"{number - 1:02d}"
    made = record.created, True
    return Report(
        number, key, before, f"w{number}", ORIGIN, *made, numbers, 0.5, "", number == 12, system=(reading,)
    ).as_result()


@pytest.mark.slow
def test_where_logging_falls_behind_every_round_is_logged_once_and_in_order(
    experiment_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is held up while ten rounds come in, the trial crashes, replays them and goes on."""
    file = experiment_file(folds={"count": 2, "use": [0]}, schedules={"firm": {1: 0.5}}, rounds=12)
    experiment, console = read_experiment(file, []), Console(file=io.StringIO())
    task = prepare(experiment, console, False, False, NetworkTrainers)
    trials = tracked.trials_of(task)
    tracker, open_sweep = tracked.open_tracker(task, "sweep", recipe(experiment), print)
    logged: list[list[int]] = []
    log_rounds = tracker.log_rounds

    def watched(trial: Any, rounds: Any) -> None:
        logged.append([done.number for done in rounds])
        log_rounds(trial, rounds)

    monkeypatch.setattr(tracker, "log_rounds", watched)
    held = threading.Event()
    writing = Recorder(task, tracker, open_sweep, trials, Retention("sweep", {}, keep_all=True))
    writing._writer.put("", lambda: bool(held.wait(30)))
    archive, photos = Archive(experiment.storage), len(task.photos.scores)
    trial = SimpleNamespace(config={"trial": {"fold": 0, "method": "firm"}}, max_failures=-1)
    for number in [*range(1, 11), *range(1, 13)]:
        reported = result(archive, photos, number)
        writing.on_trial_result(0, [], trial, reported)  # type: ignore[arg-type]
    held.set()
    assert writing.close("FINISHED") == (0, "")
    assert [number for numbers in logged for number in numbers] == list(range(1, 13))
    assert max(map(len, logged)) == ROUNDS_AT_ONCE
    found = find_results(experiment)
    (run,) = found.trials.values()
    tables = found.results.predictions(run)
    for number, table in enumerate(tables, start=1):
        logits = np.random.default_rng(number).normal(size=(photos, 5)).astype(np.float32)
        np.testing.assert_array_equal(table.filter(like="logit_"), logits)
    client = MlflowClient(f"sqlite:///{experiment.storage}/mlflow.db")
    points = client.get_metric_history(found.sweep.id, "system/network_receive_megabytes")
    assert [point.value for point in points] == list(range(12))
    assert (np.diff([point.step for point in points]) >= 9).all()  # seconds
    assert [point.step for point in client.get_metric_history(run.id, "chosen/round")] == [1]  # all are as good
    assert find_results(experiment).sweep.tags["mlflow.source.type"] == "LOCAL"
    points = client.get_metric_history(run.id, "test_macro_f1")
    assert [(point.step, point.timestamp) for point in points] == [(n, 1000 * (1000 + n)) for n in range(1, 13)]


def node(name: str, reason: int | None) -> dict[str, Any]:
    """As Ray 2.60 tells of a node: these are entries of a real one, of nodes that came, went and were killed."""
    said = {0: "", 1: "received SIGTERM", 2: "health check failed due to missing too many heartbeats"}
    message = said.get(reason or 0, "drained")
    return {"NodeID": name, "Alive": reason is None, "DeathReason": reason or 0, "DeathReasonMessage": message}


def test_nodes_that_ended_in_good_order_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = NodeDeathInfo.Reason
    assert [reasons.Name(number) for number in IN_ORDER] == ["EXPECTED_TERMINATION", "AUTOSCALER_DRAIN_IDLE"]
    nodes = [node("here", None), *(node(reasons.Name(number), number) for number in reasons.values())]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert lost_nodes() == {"UNSPECIFIED", "UNEXPECTED_TERMINATION", "AUTOSCALER_DRAIN_PREEMPTED"}


def test_a_trial_that_crashes_each_time_runs_three_times_whatever_nodes_ended_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = [node("here", None), node("killed long ago", 2), node("scaled down", 4), node("stopped", 1)]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    recorder = Recorder.__new__(Recorder)
    task: Any = SimpleNamespace(claims=None)
    trials: Any = {TrialKey(0, "firm"): SimpleNamespace(id="firm")}
    vars(recorder).update(_task=task, _trials=trials, _failures=Counter(), _furthest={}, _lost_before=None)
    recorder.setup()
    nodes.append(node("scaled down meanwhile", 4))

    def crash() -> bool:
        """Whether the trial is started again."""
        trial = SimpleNamespace(config={"trial": {"fold": 0, "method": "firm"}}, max_failures=-1)
        recorder.on_trial_recover(0, [], trial)  # type: ignore[arg-type]
        return trial.max_failures != 0

    assert [crash(), crash()] == [True, False]  # the next failure is its last: it has run three times then
    nodes.append(node("killed now", 2))
    recorder._failures.clear()
    recorder.setup()  # again, where trials are run again
    assert [crash(), crash(), crash()] == [True, True, False]
