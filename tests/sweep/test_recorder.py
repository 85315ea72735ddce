import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ray
from mlflow import MlflowClient
from ray.tune import PlacementGroupFactory

from rsrl_ray.config import recipe
from rsrl_ray.core.trial import Origin, TrialKey
from rsrl_ray.display import Silent
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.store.archive import Archive, Record
from rsrl_ray.store.storage import StorageError
from rsrl_ray.sweep import tracked
from rsrl_ray.sweep.blame import Blame
from rsrl_ray.sweep.board import MLFLOW
from rsrl_ray.sweep.crashes import Crash
from rsrl_ray.sweep.prepare import prepare
from rsrl_ray.sweep.recorder import ROUNDS_AT_ONCE, Recorder
from rsrl_ray.sweep.report import Report
from rsrl_ray.sweep.retention import Retention
from rsrl_ray.sweep.trainers import NetworkTrainers
from rsrl_ray.tracking.entries import Reading
from rsrl_ray.tracking.entries import Trial as TrackedTrial
from rsrl_ray.tracking.find import find_results

BEGAN = time.time() + 86_400  # after the run of the sweep has begun, however long the tests before take
ORIGIN = Origin("00", "cpu", ("2",))


def result(archive: Archive, photos: int, number: int, chain: str = "") -> dict[str, Any]:
    """Put a made-up round into the archive, under keys that begin with ``chain``; what a trial reports of it."""
    generator = np.random.default_rng(number)
    logits, kept = generator.normal(size=(photos, 5)).astype(np.float32), np.ones(photos, bool)
    record = Record(number, logits, kept, {"weight": np.zeros(1, np.float32)}, "maker", 1000.0 + number, 1.0, "")
    key, before = f"{chain}{number:02d}", f"{chain}{number - 1:02d}"
    archive.write(key, record, {"w": np.zeros(1, np.float32)})
    numbers = {"seconds": 1.0, "reused": 0.0, "epochs_so_far": 1.0, "guarded": 0.0, "test_macro_f1": 0.5}
    network = {"network_receive_megabytes": number, "network_transmit_megabytes": 0.0}
    reading = Reading("", BEGAN + 10.0 * number, {"cpu_utilization_percentage": 50.0, **network})
    made = record.created, True
    return Report(
        number, key, before, f"w{number}", ORIGIN, *made, numbers, 0.5, "", number == 12, system=(reading,)
    ).as_result()


@pytest.mark.slow
def test_where_logging_falls_behind_every_round_is_logged_once_and_in_order(
    experiment_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is held up while ten rounds come in, the trial crashes, replays them and goes on."""
    file = experiment_file(folds={"count": 2, "validation": 0.0, "use": [0]}, schedules={"firm": {1: 0.5}}, rounds=12)
    experiment = read_experiment(file, [])
    task = prepare(experiment, Silent(), False, False, NetworkTrainers)
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
    writing.close("FINISHED")
    assert writing.board.closing() == []
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


class Told:
    """A tracker that remembers what it was told, and refuses some of it."""

    def __init__(self, refuses: Callable[[str, str], bool]) -> None:
        self.calls, self._refuses = list[tuple[str, str]](), refuses
        self.summary = SimpleNamespace(log=lambda methods: self._tell("sum up", *methods), methods=lambda: {"none"})

    def _tell(self, what: str, of: str = "") -> None:
        if self._refuses(what, of):
            raise OSError(f"{what} is refused")
        self.calls.append((what, of))

    def take_up(self, trial: Any, rounds: Any, origin: Any) -> int:
        return sum(call == ("round", trial.key.method) for call in self.calls)

    def log_rounds(self, trial: Any, rounds: Any) -> None:
        for _ in rounds:
            self._tell("round", trial.key.method)

    def log_choices(self, trial: Any, choices: Any, rounds: int) -> None:
        pass

    def log_system(self, readings: Any) -> None:
        self._tell("system")

    def end_trial(self, trial: Any, status: str, reason: str = "") -> None:
        self._tell(status, trial.key.method)

    def end_sweep(self, status: str) -> None:
        self._tell(status, "sweep")


def recorded(tmp_path: Path, told: Told) -> Recorder:
    """Two trials of three rounds each, told to this tracker, and to an archive, in the background."""
    experiment = SimpleNamespace(storage=str(tmp_path), name="tiny")
    fold = SimpleNamespace(number=0)
    photos = SimpleNamespace(scores=np.zeros(6))
    task: Any = SimpleNamespace(experiment=experiment, claims=None, folds=[fold], photos=photos, chooses="test")
    keys = [TrialKey(0, method) for method in ("firm", "none")]
    trials = {key: TrackedTrial(key.method, key, {}) for key in keys}
    retention = Retention("sweep", {key: tuple((key, number) for number in range(3)) for key in keys})
    tracker: Any = told
    recorder = Recorder(task, tracker, lambda: None, trials, retention)
    for key in keys:
        trial: Any = SimpleNamespace(config={"trial": {"fold": 0, "method": key.method}}, max_failures=-1)
        for number in (1, 2, 3):
            reported = result(recorder._archive, 6, number, key.method)
            recorder.on_trial_result(0, [], trial, reported)
        recorder.on_trial_complete(0, [], trial)
    return recorder


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsrl_ray.sweep.writer.RETRY_S", 0.05)
    monkeypatch.setattr("rsrl_ray.sweep.writer.PATIENCE_S", 0.2)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("refused", "lacks"),
    [
        (("round", "firm"), 4),  # three rounds and the end of the trial
        (("FINISHED", "firm"), 1),
        (("system", ""), 1),
        (("sum up", "none"), 2),  # once its trials have ended, and at the end
    ],
)
def test_what_mlflow_refuses_lastingly_stops_nothing_else_and_the_sweep_has_not_finished(
    tmp_path: Path, refused: tuple[str, str], lacks: int
) -> None:
    told = Told(lambda *call: call == refused)
    recorder = recorded(tmp_path, told)
    recorder.close("FINISHED")
    expected = [call for method in ("firm", "none") for call in [("round", method)] * 3 + [("FINISHED", method)]]
    expected = [call for call in expected if call != refused and refused != ("round", call[1])]
    assert sorted(call for call in told.calls if call in expected or call == refused) == sorted(expected)
    assert ("KILLED", "firm") in told.calls or refused[1] != "firm"
    assert told.calls[-1] == ("KILLED", "sweep")
    assert recorder.board.lacks(MLFLOW) == lacks
    assert f"(OSError: {refused[0]} is refused)" in "".join(recorder.board.closing())


@pytest.mark.usefixtures("impatient")
def test_a_note_that_storage_refuses_holds_up_no_other_and_the_sweep_has_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Archive.release

    def refuses(archive: Archive, key: str, *holders: str) -> None:
        if key == "firm02":
            raise StorageError("storage: cannot delete (Permission denied)")
        release(archive, key, *holders)

    monkeypatch.setattr(Archive, "release", refuses)
    told = Told(lambda *_: False)
    recorder = recorded(tmp_path, told)
    recorder.close("FINISHED")
    left = sorted(path.parent.name for path in tmp_path.glob("rounds/*/*/weights.safetensors"))
    assert left == ["firm01", "firm02", "firm03", "none01", "none03"]  # the best, and the newest
    assert told.calls[-1] == ("KILLED", "sweep")
    (said,) = recorder.board.closing()
    assert said.startswith("storage lacks 1 notes on who needs which weights (StorageError: storage: cannot delete")
    monkeypatch.setattr(Archive, "release", release)
    again = recorded(tmp_path, told)
    again.close("FINISHED")
    assert told.calls[-1] == ("FINISHED", "sweep")
    assert not (tmp_path / "rounds/fi/firm02/weights.safetensors").exists()


@dataclass
class Ray:
    """Nodes, of which some are lost, and a trial that crashes on them."""

    recorder: Recorder
    nodes: dict[str, bool]
    trial: Any = field(
        default_factory=lambda: SimpleNamespace(
            config={"trial": {"fold": 0, "method": "firm"}},
            max_failures=-1,
            temporary_state=SimpleNamespace(ray_actor=None),
            placement_group_factory=PlacementGroupFactory([{"CPU": 1}]),
        )
    )

    def crash(self, node: str, last: bool = False) -> None:
        """The trial is started on the node and crashes there; ``last``: Ray starts it no more."""
        actor = SimpleNamespace(_actor_id=SimpleNamespace(hex=lambda: node))
        self.trial.temporary_state.ray_actor = actor
        self.recorder.on_trial_start(0, [], self.trial)
        (self.recorder.on_trial_error if last else self.recorder.on_trial_recover)(0, [], self.trial)


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> Ray:
    recorder = Recorder.__new__(Recorder)
    task: Any = SimpleNamespace(claims=None)
    trials: Any = {TrialKey(0, "firm"): SimpleNamespace(id="firm")}
    vars(recorder).update(_task=task, _trials=trials, blame=Blame(), _furthest={}, _running=set(), _dropped=[])
    crashing = Ray(recorder, {"here": True} | {f"lost {number}": False for number in range(20)})
    monkeypatch.setattr("rsrl_ray.sweep.recorder.node_of", lambda actor: actor)
    monkeypatch.setattr("rsrl_ray.sweep.recorder.crash_of", lambda trial: Crash("it has died"))
    monkeypatch.setattr(
        ray, "nodes", lambda: [{"NodeID": node, "Alive": alive} for node, alive in crashing.nodes.items()]
    )
    return crashing


def test_a_trial_that_crashes_by_itself_runs_three_times_however_many_nodes_are_lost(crashing: Ray) -> None:
    crashing.crash("here")
    assert crashing.trial.max_failures == -1
    crashing.crash("here")
    assert crashing.trial.max_failures == 0  # the next failure is its last: it has run three times then


def test_a_crash_on_a_node_that_is_lost_is_no_try(crashing: Ray) -> None:
    for number in range(5):
        crashing.crash(f"lost {number}")
    crashing.crash("here")
    assert crashing.trial.max_failures == -1
    crashing.crash("here")
    assert crashing.trial.max_failures == 0
    crashing.nodes["here"] = False
    crashing.crash("here", last=True)
    assert crashing.recorder.take_dropped() == [TrialKey(0, "firm")]  # to run again


def test_the_third_crash_in_a_round_is_the_last(crashing: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[object] = []
    monkeypatch.setattr(Recorder, "_end", lambda recorder, *told: ended.append(told))
    for last in (False, False, True):
        crashing.crash("here", last)
    assert ended == [(TrialKey(0, "firm"), "FAILED", "round 1 failed 3 times: it has died")]
    assert (crashing.trial.max_failures, crashing.recorder.take_dropped()) == (0, [])
