"""The laws of a sweep, with real Ray, real MLflow and real files: same bits, nothing twice, nothing lost."""

import io
import itertools
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import write_experiment
from numpy.typing import NDArray
from rich.console import Console
from rounds.replayed import next_kept
from sweep.sweeping import (
    Gate,
    Tables,
    Write,
    assert_same_bits,
    at_terminal,
    bits,
    children,
    entries,
    in_round,
    lives,
    start_driver,
    states,
    statuses,
    swept,
    tables,
    wait_for,
)

from rsrl_ray.core.folds import Fold
from rsrl_ray.core.prediction import Predictor
from rsrl_ray.core.rules.thresholds import Thresholds
from rsrl_ray.core.schedule import make_schedule
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.display import Silent
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.method import method_of
from rsrl_ray.rounds.loop import Plan, run_rounds
from rsrl_ray.rounds.table import round_metrics
from rsrl_ray.sweep.driver.launch import run_sweep
from rsrl_ray.sweep.driver.prepare import prepare
from rsrl_ray.sweep.task import Task, Trainer
from rsrl_ray.sweep.trial.trainers import NetworkTrainers
from rsrl_ray.terminal import Terminal
from rsrl_ray.vision.network import Weights

pytestmark = pytest.mark.usefixtures("ray_session")

FOLDS = {"count": 2, "validation": 0.2}
ONE_FOLD = {**FOLDS, "use": [0]}
PARALLEL = {"cpus": 1}  # two trials at a time


def of_fold_0(tables: Tables) -> Tables:
    return {key: rounds for key, rounds in tables.items() if key[0] == 0}


def weights(file: Path) -> set[str]:
    folder = Path(read_experiment(file).storage, "rounds")
    return {path.parent.name for path in folder.glob("*/*/weights.safetensors")}


@pytest.fixture(scope="module")
def reference(photos_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """Every trial alone, in this process: no Ray, no archive, no MLflow, nothing is shared."""
    return each_alone(write_experiment(tmp_path_factory.mktemp("alone"), photos_csv))


def each_alone(file: Path) -> Tables:
    """Every round of every trial, each trial by itself in this process; features are those that there are."""
    experiment = read_experiment(file)
    task = prepare(experiment, Silent(), False, False, NetworkTrainers)
    return {
        (fold.number, name): list(alone(task, fold, name)) for fold in task.folds for name in experiment.method_names()
    }


def alone(task: Task, fold: Fold, name: str) -> Iterator[pd.DataFrame]:
    """``predictions.parquet`` of every round."""
    experiment, method = task.experiment, method_of(task.experiment, name)
    learner = Onwards(task.trainers(task)(fold, method.learning), task.start)
    labels = task.labels_in(fold)
    predictor = Predictor(method.prediction, labels, fold)
    for done in run_rounds(learner, labels, fold, method.rule, Plan.of(experiment)):
        yield task.table(fold, replace(done, predicted=predictor(done.logits)))


@dataclass
class Onwards:
    """Trains every round from the weights of the last one."""

    trainer: Trainer
    weights: Weights

    def learn(self, number: int, kept: NDArray[np.bool_]) -> NDArray[np.float32]:
        self.weights = self.trainer.fit(self.weights, kept, number)
        return self.trainer.logits(self.weights)

    def features(self) -> NDArray[np.float32] | None:
        return self.trainer.features()


def test_sharing_leaves_the_same_bits_and_trains_each_distinct_round_once(
    experiment_file: Write, reference: Tables
) -> None:
    file = experiment_file(resources=PARALLEL)
    outcome, _ = swept(file)
    assert (len(outcome.finished), outcome.failed, outcome.stopped, outcome.unlogged) == (6, {}, [], 0)
    assert_same_bits(tables(file), reference)
    log = children(read_experiment(file))
    trained = log[(log.metric == "reused") & (log.value == 0)]
    assert len(trained) == len(entries(file)) < 6 * 4
    # firm and later share rounds 1 to 3; all three schedules of a fold share round 1.
    assert (log.metric == "reused").sum() == 6 * 4
    assert set(log.status) == {"FINISHED"}
    assert not log.duplicated(["run", "metric", "step"]).any()


def test_a_round_that_two_schedules_turn_out_to_share_is_trained_once(experiment_file: Write, tmp_path: Path) -> None:
    """Their thresholds differ, so the scheduler lets both go; the photos that they keep do not."""
    knobs: dict[str, Any] = {"schedules": {"none": {1: 0.0}, "hair": {1: 0.000001}}, "folds": ONE_FOLD}
    file = experiment_file(resources=PARALLEL, rounds=3, **knobs)
    waits = f"pause = lambda seconds: (open({str(tmp_path / 'waits')!r}, 'w').close(), time.sleep(seconds))"
    at_round_2 = "fit_together = gate(fit_together, lambda *learn: learn[-1] == 2)"
    gate = Gate(tmp_path, {"rsrl_ray.vision.trainer": at_round_2, "rsrl_ray.sweep.trial.together": waits})
    driver = start_driver(file, **gate.environment)
    wait_for(driver, lambda: len(gate.waiting()) == 2 or (gate.waiting() and (tmp_path / "waits").exists()))
    assert len(gate.waiting()) == 1
    gate.open()
    printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, printed
    log = children(read_experiment(file))
    assert len(entries(file)) == 3 == ((log.metric == "reused") & (log.value == 0)).sum()
    assert printed.count("from the archive") == 3


def test_a_second_run_trains_and_logs_nothing_new(experiment_file: Write) -> None:
    file = experiment_file(schedules={"firm": {1: 0.5}}, rounds=2, folds=ONE_FOLD)
    swept(file)
    before, log = entries(file), children(read_experiment(file))
    _, printed = swept(file)
    assert printed.count("from the archive") == 2
    assert entries(file) == before
    pd.testing.assert_frame_equal(children(read_experiment(file)), log)


def test_a_schedule_or_rounds_added_train_only_what_is_new(experiment_file: Write, reference: Tables) -> None:
    file = experiment_file(schedules={"firm": {1: 0.5}}, rounds=3, folds=ONE_FOLD)
    swept(file)
    before = entries(file)
    assert len(before) == 3
    schedules = {"firm": {1: 0.5}, "later": {1: 0.5, 3: 0.6}, "none": {1: 0.0}}
    file = experiment_file(schedules=schedules, rounds=4, folds=ONE_FOLD)
    _, printed = swept(file)
    after = entries(file)
    assert {key: after[key] for key in before} == before
    assert_same_bits(tables(file), of_fold_0(reference))
    assert "made again" not in printed
    assert "new trials" not in printed


def test_needed_weights_only_and_those_dropped_are_made_again_with_the_same_bits(
    experiment_file: Write, reference: Tables
) -> None:
    knobs: dict[str, Any] = {"archive": {"weights": "needed"}, "folds": ONE_FOLD}
    file = experiment_file(schedules={"firm": {1: 0.5}}, **knobs)
    swept(file)
    assert 1 <= len(weights(file)) <= 2 < len(entries(file))  # the newest and the best
    kept = weights(file)
    rounds = reference[0, "firm"]
    best = max(range(4), key=lambda number: (macro(rounds[number]), -number))
    assert len(kept) == (1 if best == 3 else 2)
    file = experiment_file(schedules={"firm": {1: 0.5}, "none": {1: 0.0}}, **knobs)
    _, printed = swept(file)
    assert ("round 1 made again" in printed) == (best != 0)
    assert_same_bits(tables(file), {key: value for key, value in reference.items() if key in tables(file)})


def macro(table: pd.DataFrame) -> float:
    return round_metrics(table, 3)["validation_macro_f1"]


def test_an_archive_deleted_or_damaged_gives_the_same_results(experiment_file: Write, reference: Tables) -> None:
    file = experiment_file(folds=ONE_FOLD)
    swept(file)
    storage = Path(read_experiment(file).storage)
    whole = bits(storage)
    record = sorted(storage.glob("rounds/*/*/record.safetensors"))[3]
    content = bytearray(record.read_bytes())
    content[-1] ^= 1
    record.write_bytes(content)
    before = entries(file)
    _, printed = swept(file)
    assert "damaged in the archive, trained again" in " ".join(printed.split())
    changed = {key for key, written in entries(file).items() if written != before[key]}
    assert changed == {record.parent.name}
    assert bits(storage) == whole
    shutil.rmtree(storage / "rounds")
    swept(file)
    assert bits(storage) == whole
    assert_same_bits(tables(file), of_fold_0(reference))


def test_a_changed_knob_starts_new_trials_and_says_which(experiment_file: Write) -> None:
    file = experiment_file(schedules={"firm": {1: 0.5}}, rounds=1, folds=ONE_FOLD)
    swept(file)
    _, printed = swept(file, "--training.learning_rate", "0.02")
    assert "training.learning_rate was 0.01, is 0.02" in " ".join(printed.split())
    assert len(entries(file)) == 2
    assert statuses(read_experiment(file)) == ["FINISHED"] * 4


def test_workers_that_die_or_hang_mid_round(experiment_file: Write, reference: Tables, tmp_path: Path) -> None:
    file = experiment_file(resources=PARALLEL, folds=ONE_FOLD)
    gate = Gate(tmp_path, {"rsrl_ray.sweep.driver.watchdog": "LEAST_S = 5.0", **in_round(3)})
    driver = start_driver(file, **gate.environment)
    wait_for(driver, lambda: len(gate.waiting()) == 2)
    dies, hangs = gate.waiting()
    psutil.Process(hangs).suspend()
    psutil.Process(dies).kill()
    wait_for(driver, lambda: gate.waiting() - {dies, hangs})  # in round 3 again
    gate.open()
    printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, printed
    assert "its process ended in round 3; started again" in printed
    assert "so it is started again" in printed
    assert not lives(hangs)
    assert_same_bits(tables(file), of_fold_0(reference))


def test_a_trial_that_diverges_says_so_and_the_others_go_on(experiment_file: Write) -> None:
    file = experiment_file(schedules={"none": {1: 0.0}}, rounds=2, folds=ONE_FOLD)
    outcome, printed = swept(file, "--training.learning_rate", "1e30")
    said = outcome.failed[0, "none"]
    assert "round 1" in said
    assert "learning_rate" in said
    assert said in " ".join(printed.split())
    state = states(file)["none"]
    assert (state.status, state.reason) == ("FAILED", said)


def test_driver_ended_mid_round_by_any_signal_then_the_same_command(
    experiment_file: Write, reference: Tables, tmp_path: Path
) -> None:
    file = experiment_file(resources=PARALLEL, folds=ONE_FOLD)
    gate, scratch = Gate(tmp_path, in_round(3)), tmp_path / "scratch"
    scratch.mkdir()
    environment = gate.environment | {"TMPDIR": str(scratch)}
    before: dict[str, int] = {}
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        driver = start_driver(file, **environment)
        wait_for(driver, lambda: len(gate.waiting()) == 2)  # both trials are in round 3
        before = before or entries(file)
        assert len(before) >= 3
        driver.send_signal(number)
        printed = driver.communicate(timeout=200)[0]
        assert driver.returncode == status, printed
        assert "the same command goes on" in printed
        assert "Traceback" not in printed and "SIGTERM received" not in printed
        assert "RUNNING" not in statuses(read_experiment(file))
    with at_terminal(file, **environment) as terminal:
        wait_for(terminal.driver, lambda: terminal.read() and len(gate.waiting()) == 2)
        terminal.close()
        assert terminal.driver.wait(200) == 129
    assert not list(scratch.glob("rsrl-*"))
    assert "RUNNING" not in statuses(read_experiment(file))
    gate.open()
    assert entries(file) == before
    outcome, _ = swept(file)
    assert len(outcome.finished) == 3
    after = entries(file)
    assert {key: after[key] for key in before} == before  # nothing that was done is trained again
    assert_same_bits(tables(file), of_fold_0(reference))
    assert statuses(read_experiment(file)) == ["FINISHED"] * 4


OTHER_MACHINE = {
    "rsrl_ray.vision.evaluation": """
def last_bit(normaliser, photos, inner=Normaliser.__call__):
    return inner(normaliser, photos) * (1 + 2**-23)


Normaliser.__call__ = last_bit
""",
    "rsrl_ray.sweep.nodes.devices": "machine = lambda device: 'another'",
}


def test_a_machine_that_computes_otherwise_has_runs_of_its_own(experiment_file: Write, tmp_path: Path) -> None:
    """Its name is the same, and the last bit of its arithmetic is another one: no run holds rounds of both."""
    knobs: dict[str, Any] = {"schedules": {"firm": {1: 0.5}}, "folds": ONE_FOLD}
    file = experiment_file(rounds=2, **knobs)
    swept(file)
    first, before = states(file)["firm"], entries(file)
    rounds = tables(file)[0, "firm"]
    file = experiment_file(rounds=4, **knobs)
    driver = start_driver(file, **Gate(tmp_path, OTHER_MACHINE).environment)
    printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, printed
    device = first.tags["rsrl.device"]
    second = states(file)["firm"]
    assert second.tags["rsrl.device"].startswith(f"{device}-probe=")
    assert f"(device was {device}, is {second.tags['rsrl.device']})" in " ".join(printed.split())
    assert (second.rounds, second.id != first.id) == (4, True)
    assert {key: entries(file)[key] for key in before} == before and len(entries(file)) == 2 + 4
    settings, rule = read_experiment(file).revision, Thresholds(make_schedule({1: 0.5}))
    chain = tables(file)[0, "firm"]
    for earlier, later in itertools.pairwise(chain):  # each kept mask follows from the logits before it
        kept = next_kept([earlier], rule, settings, 0, 0)
        assert (later["kept"].to_numpy(dtype=bool, na_value=False) == kept).all()
    swept(file)  # back on the first machine: its own run goes on
    third = states(file)["firm"]
    assert (third.id, third.rounds) == (first.id, 4)
    assert_same_bits({TrialKey(0, "firm"): tables(file)[0, "firm"][:2]}, {TrialKey(0, "firm"): rounds})
    assert statuses(read_experiment(file)) == ["FINISHED"] * 3


def test_bad_photos_are_left_out_and_recorded(photos_csv: Path, tmp_path: Path) -> None:
    shutil.copytree(photos_csv.parent, tmp_path / "photos")
    with (tmp_path / "photos" / "photos.csv").open("a") as table:
        table.write("gone.png,3\n")
    knobs: dict[str, Any] = {"rounds": 1, "folds": ONE_FOLD, "schedules": {"none": {1: 0.0}}}
    file = write_experiment(tmp_path, Path("photos/photos.csv"), **knobs)
    experiment = read_experiment(file)
    with pytest.raises(ValueError, match=r"line 60, gone\.png: missing"):
        run_sweep(experiment, Terminal(Console(file=io.StringIO())))
    console = Console(file=io.StringIO(), width=200)
    outcome = run_sweep(experiment, Terminal(console), skip_bad=True)
    assert outcome.finished == [(0, "none")]
    assert len(tables(file)[0, "none"][0]) == 58
    (left_out,) = Path(experiment.storage).glob("artifacts/*/artifacts/left_out.txt")
    assert left_out.read_text().startswith("line 60, gone.png: missing")
