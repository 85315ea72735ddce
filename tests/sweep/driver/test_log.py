import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from sweep.reports import carried, report
from sweep.sweeping import round_tables

from rsrl_ray.core.trial import TrialKey
from rsrl_ray.display import Silent
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.store.archive import Archive, Record
from rsrl_ray.store.storage import StorageError
from rsrl_ray.sweep.driver import tracked
from rsrl_ray.sweep.driver.attempts import Attempts
from rsrl_ray.sweep.driver.board import MLFLOW, STORAGE, Board
from rsrl_ray.sweep.driver.log import Log
from rsrl_ray.sweep.driver.prepare import prepare
from rsrl_ray.sweep.driver.retention import WeightRetention
from rsrl_ray.sweep.driver.weights import KeptWeights
from rsrl_ray.sweep.driver.writer import Writer
from rsrl_ray.sweep.nodes.claims import Claims
from rsrl_ray.sweep.report import as_result
from rsrl_ray.sweep.trial.trainers import NetworkTrainers
from rsrl_ray.tracking.entries import Reading
from rsrl_ray.tracking.entries import Trial as TrackedTrial
from rsrl_ray.tracking.find import find_results

BEGAN = time.time() + 86_400  # after the run of the sweep has begun, however long the tests before take


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
    told = {"key": key, "parent_key": before, "weights": f"w{number}", "created": record.created, "metrics": numbers}
    return as_result([report(number, trial=TrialKey(0, chain or "firm"), **told, last=number == 12, system=(reading,))])


@pytest.mark.slow
def test_where_logging_falls_behind_every_round_is_logged_once_and_in_order(
    experiment_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is held up while ten rounds come in, the trial crashes, replays them and goes on."""
    file = experiment_file(folds={"count": 2, "validation": 0.0, "use": [0]}, schedules={"firm": {1: 0.5}}, rounds=12)
    experiment = read_experiment(file, [])
    task = prepare(experiment, Silent(), False, False, NetworkTrainers)
    trials = tracked.trials_of(task)
    sweep = tracked.sweep_run(task)
    tracker = tracked.open_tracker(task, sweep, print)
    logged: list[list[int]] = []
    log_rounds = tracker.log_rounds

    def watched(trial: Any, rounds: Any) -> None:
        logged.append([done.number for done in rounds])
        log_rounds(trial, rounds)

    monkeypatch.setattr(tracker, "log_rounds", watched)
    monkeypatch.setattr("rsrl_ray.sweep.driver.log.ROUNDS_AT_ONCE", 8)
    held = threading.Event()
    board = Board()
    writing = Log(task, tracker, sweep, trials, board)
    writing._writer.put("", lambda: bool(held.wait(30)))
    archive, photos = Archive(experiment.storage), len(task.photos.scores)
    trial = SimpleNamespace(config=carried(0, "firm"), max_failures=-1)
    for number in [*range(1, 11), *range(1, 13)]:
        reported = result(archive, photos, number)
        writing.on_trial_result(0, [], trial, reported)  # type: ignore[arg-type]
    held.set()
    writing.close("FINISHED")
    assert board.closing() == []
    assert [number for numbers in logged for number in numbers] == list(range(1, 13))
    assert max(map(len, logged)) == 8
    found = find_results(experiment)
    (run,) = found.trials.values()
    tables = round_tables(run)
    for number, table in enumerate(tables, start=1):
        logits = np.random.default_rng(number).normal(size=(photos, 5)).astype(np.float32)
        np.testing.assert_array_equal(table.filter(like="logit_"), logits)
    client = MlflowClient(f"sqlite:///{experiment.storage}/mlflow.db")
    points = client.get_metric_history(found.sweep.id, "system/network_receive_megabytes")
    assert [point.value for point in points] == list(range(12))
    assert (np.diff([point.step for point in points]) >= 9).all()  # seconds
    assert [point.step for point in client.get_metric_history(run.id, "chosen/round")] == [1]  # all are as good
    assert find_results(experiment).sweep.tags["mlflow.source.type"] == "LOCAL"
    assert found.sweep.tags["rsrl.chooses"] == "test"  # as nothing is held out
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

    def open_sweep(self, sweep: Any) -> None:
        pass

    def take_up(self, trial: Any, rounds: Any, origin: Any) -> int:
        return sum(call == ("round", trial.key.method) for call in self.calls)

    def log_rounds(self, trial: Any, rounds: Any) -> None:
        for _ in rounds:
            self._tell("round", trial.key.method)

    def log_choices(self, trial: Any, choices: Any, rounds: int) -> None:
        pass

    def log_pictures(self, trial: Any, numbers: Any, draw: Any) -> None:
        pass

    def log_system(self, readings: Any) -> None:
        self._tell("system")

    def end_trial(self, trial: Any, status: str, reason: str = "") -> None:
        self._tell(status, trial.key.method)

    def end_sweep(self, status: str) -> None:
        self._tell(status, "sweep")


@dataclass
class Recorded:
    """Two trials of three rounds each, told to this tracker, and to an archive, in the background."""

    folder: Path
    told: Any

    def __post_init__(self) -> None:
        experiment, photos = SimpleNamespace(storage=str(self.folder), name="tiny"), SimpleNamespace(scores=np.zeros(6))
        task: Any = SimpleNamespace(
            experiment=experiment, folds=[SimpleNamespace(number=0)], photos=photos, chooses="test"
        )
        sweep: Any = None
        keys, self.board = [TrialKey(0, method) for method in ("firm", "none")], Board()
        trials = {key: TrackedTrial(key.method, key, {}) for key in keys}
        retention = WeightRetention("sweep", {key: tuple((key, number) for number in range(3)) for key in keys})
        self.log = Log(task, self.told, sweep, trials, self.board)
        self.weights = KeptWeights(task, retention, trials, Writer(STORAGE, self.board))
        attempts, archive = Attempts(self.log.end, Claims()), Archive(str(self.folder))
        for key in keys:
            trial: Any = SimpleNamespace(config=carried(0, key.method), max_failures=-1)
            for number in (1, 2, 3):
                reported = result(archive, 6, number, key.method)
                for display in (attempts, self.log, self.weights):
                    display.on_trial_result(0, [], trial, reported)
            attempts.on_trial_complete(0, [], trial)

    def close(self, status: str) -> None:
        self.weights.close()
        self.log.close(status)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsrl_ray.sweep.driver.writer.RETRY_S", 0.05)
    monkeypatch.setattr("rsrl_ray.sweep.driver.writer.STORE_PATIENCE_S", 0.2)


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
    recorded = Recorded(tmp_path, told)
    recorded.close("FINISHED")
    expected = [call for method in ("firm", "none") for call in [("round", method)] * 3 + [("FINISHED", method)]]
    expected = [call for call in expected if call != refused and refused != ("round", call[1])]
    assert sorted(call for call in told.calls if call in expected or call == refused) == sorted(expected)
    assert ("KILLED", "firm") in told.calls or refused[1] != "firm"
    assert told.calls[-1] == ("KILLED", "sweep")
    assert recorded.board.lacks(MLFLOW) == lacks
    assert f"(OSError: {refused[0]} is refused)" in "".join(recorded.board.closing())


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
    recorded = Recorded(tmp_path, told)
    recorded.close("FINISHED")
    left = sorted(path.parent.name for path in tmp_path.glob("rounds/*/*/weights.safetensors"))
    assert left == ["firm01", "firm02", "firm03", "none01", "none03"]  # the best, and the newest
    assert told.calls[-1] == ("KILLED", "sweep")
    (said,) = recorded.board.closing()
    assert said.startswith("storage lacks 1 notes on who needs which weights (StorageError: storage: cannot delete")
    monkeypatch.setattr(Archive, "release", release)
    again = Recorded(tmp_path, told)
    again.close("FINISHED")
    assert told.calls[-1] == ("FINISHED", "sweep")
    assert not (tmp_path / "rounds/fi/firm02/weights.safetensors").exists()
