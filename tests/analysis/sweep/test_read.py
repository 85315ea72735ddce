"""Sweeps in a real MLflow store, written as the sweep writes them, and read back."""

import dataclasses
import itertools
import pickle
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from numpy.typing import NDArray

from rsrl_ray.analysis.numbers.frames import summarise
from rsrl_ray.analysis.numbers.measures import chosen_rounds, confusion
from rsrl_ray.analysis.page.album import lists
from rsrl_ray.analysis.sweep.read import read_sweep
from rsrl_ray.analysis.sweep.rows import OnDemand
from rsrl_ray.analysis.tables.build import write_tables
from rsrl_ray.config import Experiment, Folds
from rsrl_ray.core.draw import Draw
from rsrl_ray.core.folds import make_folds
from rsrl_ray.core.trial import Link, Origin, TrialKey
from rsrl_ray.identity import photos_digest, recipe
from rsrl_ray.maps.subject import Question, find_rounds
from rsrl_ray.models import register
from rsrl_ray.rounds.loop import RoundResult
from rsrl_ray.rounds.table import predictions, round_metrics
from rsrl_ray.tracking.entries import Round, SweepRun, Trial
from rsrl_ray.tracking.find import find_results
from rsrl_ray.tracking.names import PREDICTIONS
from rsrl_ray.tracking.write import Tracker

SCORES = np.array([3] * 9 + [4] * 6 + [5] * 4 + [7])
IMAGES = [f"images/{number}.jpg" for number in range(20)]
CLASSES, LABELS = np.unique(SCORES, return_inverse=True)
FOLDS = make_folds(LABELS, Draw(2, "stratified", 0.2, seed=0))
CONV1 = {"weight": np.zeros((2, 3, 3, 3)), "bias": np.zeros(2), "stride": np.array([4, 4]), "padding": np.array([2, 2])}
Begin = Callable[..., tuple[Experiment, Tracker]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one SQLite store for all tests here: making it takes seconds."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def begin(store: Path, request: pytest.FixtureRequest) -> Begin:
    """An experiment of two folds and two methods, and the tracker that its sweep would use, opened."""

    photos, pairs = store / "photos.csv", list(zip(IMAGES, SCORES.tolist(), strict=True))
    tags = {"rsrl.photos": photos_digest(pairs)}

    def opened(**knobs: Any) -> tuple[Experiment, Tracker]:
        values: dict[str, Any] = {
            "name": request.node.name.partition("[")[0],
            "photos": str(photos),
            "storage": str(store),
            "mlflow": f"sqlite:///{store}/mlflow.db",
            "folds": Folds(count=2, validation=0.2),
            "rounds": 2,
            "schedules": {"firm": {1: 0.5}, "none": {1: 0.0}},
        }
        photos.write_text("image,score\n" + "".join(f"{image},{score}\n" for image, score in pairs))
        experiment = Experiment(**values | knobs)
        tracker = Tracker(str(experiment.mlflow), experiment.name, (store / "artifacts").as_uri(), print)
        tracker.open_sweep(SweepRun(f"{experiment.name}-{experiment.seed}", recipe(experiment), "", {}, tags))
        return experiment, tracker

    return opened


def trial(experiment: Experiment, fold: int, method: str) -> Trial:
    text = str(experiment.schedule(method))
    name = f"{experiment.name} {fold} {method} {text} {experiment.seed}"
    return Trial(name, TrialKey(fold, method), {"thresholds": text})


def table(fold: int, number: int) -> pd.DataFrame:
    """The made-up predictions of a round; round 2 drops the fold's first training photo."""
    logits = np.random.default_rng([fold, number]).normal(size=(20, 4)).astype(np.float32)
    kept = kept_mask(fold, number)
    return predictions(IMAGES, SCORES, FOLDS[fold], RoundResult(1, kept, kept & False, logits), "sigmoid")


def kept_mask(fold: int, number: int) -> NDArray[np.bool_]:
    kept = np.isin(np.arange(20), FOLDS[fold].train)
    kept[FOLDS[fold].train[0]] = number == 1
    return kept


def log(
    experiment: Experiment,
    tracker: Tracker,
    fold: int,
    method: str,
    numbers: Sequence[int],
    change: Callable[[pd.DataFrame], pd.DataFrame] = lambda made: made,
    **more: float,
) -> None:
    def done(number: int) -> Round:
        made = change(table(fold, number))
        values = round_metrics(made, 3) | {"seconds": 1.5} | {name: number * value for name, value in more.items()}
        link, created = Link(f"key{number}"), 1000.0 + number

        def write(folder: Path) -> None:
            made.to_parquet(folder / PREDICTIONS, index=False)
            np.savez(folder / "conv1.npz", allow_pickle=False, **CONV1)

        return Round(number, values, "", link, created, write)

    rounds = [done(number) for number in numbers]
    tracker.take_up(trial(experiment, fold, method), [one.link for one in rounds], Origin())
    tracker.log_rounds(trial(experiment, fold, method), rounds)


def test_a_finished_sweep_comes_back_as_it_was_logged(begin: Begin) -> None:
    experiment, tracker = begin()
    for fold in (0, 1):
        log(experiment, tracker, fold, "none", [1, 2])
        # some rules give weights
        log(experiment, tracker, fold, "firm", [1, 2], lambda made: made.assign(weight=np.float32(0.5)))
        for method in ("none", "firm"):
            tracker.end_trial(trial(experiment, fold, method), "FINISHED")
    tracker.end_sweep("FINISHED")
    sweep = read_sweep(experiment)
    assert (sweep.name, sweep.rounds, sweep.majority, sweep.missing) == (experiment.name, 2, 3, ())
    assert (sweep.methods, sweep.folds, sweep.images) == (("firm", "none"), (0, 1), tuple(IMAGES))
    assert MlflowClient(str(experiment.mlflow)).get_run(sweep.run_id).info.run_name == "sweep"
    np.testing.assert_array_equal(sweep.scores, SCORES)
    assert sweep.classes.tolist() == [3, 4, 5, 7]
    assert not sweep.is_noisy and sweep.trials[0, "firm"].scores.tolist() == SCORES.tolist()
    assert list(sweep.trials) == [(0, "firm"), (1, "firm"), (0, "none"), (1, "none")]
    found = sweep.trials[1, "firm"]
    assert (found.fold, found.method, found.status, found.reason) == (1, "firm", "FINISHED", "")
    for part, photos in enumerate((FOLDS[1].train, FOLDS[1].validation, FOLDS[1].test)):
        assert np.flatnonzero(found.split == part).tolist() == photos.tolist()
    for number in (1, 2):
        logged = table(1, number)
        np.testing.assert_array_equal(found.predicted[number - 1], logged["predicted"])
        np.testing.assert_array_equal(found.kept[number - 1], kept_mask(1, number))
        np.testing.assert_array_equal(found.self_confidence[number - 1], logged["self_confidence"].astype(np.float32))
        assert found.metrics.loc[number].to_dict() == round_metrics(logged, 3) | {"seconds": 1.5}
    assert found.metrics.index.tolist() == [1, 2] and found.metrics.index.name == "round"
    arrays = (found.split, found.predicted, found.kept, found.self_confidence)
    assert [array[:].dtype for array in arrays] == [np.int8, np.int8, np.bool_, np.float32]


def test_of_a_large_sweep_little_is_held_and_its_numbers_are_the_same(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand trials of 30 rounds over 255,000 photos are 100 GB of arrays."""
    experiment, tracker = begin()
    for fold, method in itertools.product((0, 1), ("firm", "none")):
        log(experiment, tracker, fold, method, [1, 2])
    sweeps = {"held": read_sweep(experiment)}
    monkeypatch.setattr("rsrl_ray.analysis.sweep.read.HELD", 0)
    sweeps["read"] = read_sweep(experiment)
    assert [type(trial.predicted) for trial in sweeps["read"].trials.values()] == [OnDemand] * 4
    for key, trial in pickle.loads(pickle.dumps(sweeps["read"].trials)).items():  # figures are drawn in other processes
        other = sweeps["held"].trials[key]
        for name in ("predicted", "kept", "self_confidence"):
            values = getattr(other, name)[:]
            np.testing.assert_array_equal(getattr(trial, name)[:], values)
            np.testing.assert_array_equal(list(getattr(trial, name)), values)
            assert getattr(trial, name)[:].dtype == values.dtype
        for number in (1, 2):
            counted = confusion(sweeps["held"], dataclasses.replace(other, confusions=None), number)
            np.testing.assert_array_equal(confusion(sweeps["read"], trial, number), counted)
    first, second = (sweeps["read"].trials[0, method] for method in ("firm", "none"))
    assert first.split is second.split and first.scores is second.scores
    for name, sweep in sweeps.items():
        write_tables(sweep, summarise(sweep), tmp_path / name)
    held, read = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.*")} for name in ("held", "read")
    )
    assert held == read and len(held) > 8
    assert lists(sweeps["held"], ["firm", "none"]) == lists(sweeps["read"], ["firm", "none"])


def without_validation(made: pd.DataFrame) -> pd.DataFrame:
    """As of a fold that was dealt no validation photo."""
    return made.assign(split=made["split"].replace("validation", "test"))


@pytest.mark.parametrize(
    ("seed", "told", "lacks", "number", "mapped"),
    [(0, None, True, 3, 3), (1, None, False, 1, 2), (2, "test", False, 3, 3), (3, "validation", False, 1, 2)],
)
def test_all_readers_choose_on_the_photos_that_the_sweep_says_or_of_an_old_one_that_all_trials_have(
    begin: Begin, seed: int, told: str | None, lacks: bool, number: int, mapped: int
) -> None:
    """Rounds get worse on validation photos, and better on test photos; a fold of an old sweep may lack the former."""
    experiment, tracker = begin(rounds=3, seed=seed)
    if told is not None:
        MlflowClient(str(experiment.mlflow)).set_tag(tracker.parent.run.info.run_id, "rsrl.chooses", told)
    validated = {"validation_macro_f1": -0.1}
    log(experiment, tracker, 0, "firm", [1, 2, 3], test_macro_f1=0.1, **validated)
    without = {"change": without_validation} if lacks else validated
    log(experiment, tracker, 1, "firm", [1, 2, 3], test_macro_f1=0.1, **without)
    found, sweep = find_results(experiment), read_sweep(experiment)
    chosen = {trial.fold: at for trial, at in found.chosen().rounds.items()}
    registered = {fold: register.choose(found, experiment, "firm", fold).number for fold in (0, 1)}
    analysed = {trial.fold: at for trial, at in chosen_rounds(sweep).items()}
    assert chosen == registered == analysed == {0: number, 1: number}
    for fold in (0, 1):
        assert find_rounds(found, experiment, Question(fold=fold, method="firm")).number == mapped  # of those from 2 on


def test_photos_seen_are_those_logged_or_else_passes_over_what_was_kept(begin: Begin) -> None:
    experiment, tracker = begin()
    log(experiment, tracker, 0, "firm", [1, 2], photos_seen=70.0)
    log(experiment, tracker, 1, "firm", [1, 2])
    trials = read_sweep(experiment).trials
    assert trials[0, "firm"].photos_seen.tolist() == [70, 140]
    size = len(FOLDS[1].train)
    assert trials[1, "firm"].photos_seen.tolist() == [5 * size, 5 * size + 5 * (size - 1)]  # 5 epochs


def test_wrong_labels_are_those_of_training_and_the_true_scores_are_the_sweeps(begin: Begin) -> None:
    experiment, tracker = begin()
    wrong, labelled = FOLDS[0].train[0], SCORES.copy()
    labelled[wrong] = 5

    def noisy(made: pd.DataFrame) -> pd.DataFrame:
        return made.assign(score=labelled, true_score=SCORES)

    log(experiment, tracker, 0, "firm", [1, 2], noisy)
    sweep = read_sweep(experiment)
    assert sweep.is_noisy
    assert sweep.scores.tolist() == SCORES.tolist()
    assert sweep.trials[0, "firm"].scores.tolist() == labelled.tolist() != SCORES.tolist()


def test_a_sweep_on_its_way_is_read_as_far_as_it_is(begin: Begin) -> None:
    experiment, tracker = begin(rounds=3)
    log(experiment, tracker, 0, "firm", [1, 2])
    tracker.end_trial(trial(experiment, 0, "firm"), "FAILED", "the loss is not finite")
    log(experiment, tracker, 0, "none", [1])
    tracker.take_up(trial(experiment, 1, "none"), [], Origin())  # begun, no round yet
    sweep = read_sweep(experiment)
    assert {key: (found.status, len(found.metrics)) for key, found in sweep.trials.items()} == {
        (0, "firm"): ("FAILED", 2),
        (0, "none"): ("RUNNING", 1),
    }
    assert sweep.trials[0, "firm"].reason == "the loss is not finite"
    assert sweep.trials[0, "none"].predicted.shape == (1, 20)
    assert sweep.missing == (
        "firm, fold 0: failed (the loss is not finite); 2 of 3 rounds logged.",
        "firm, fold 1: not begun yet.",
        "none, fold 0: still running; 1 of 3 rounds logged.",
        "none, fold 1: still running; 0 of 3 rounds logged.",
    )


def test_a_sweep_whose_process_is_gone_does_not_run(begin: Begin) -> None:
    experiment, tracker = begin()
    log(experiment, tracker, 0, "none", [1])
    run_id = read_sweep(experiment).run_id
    client = MlflowClient(str(experiment.mlflow))
    client.set_tag(run_id, "rsrl.driver", f"{socket.gethostname()}:999999999")
    sweep = read_sweep(experiment)
    assert sweep.trials[0, "none"].status == "INTERRUPTED"
    assert sweep.missing[1:] == (
        "none, fold 0: interrupted; 1 of 2 rounds logged.",
        "none, fold 1: not begun yet.",
    )


def test_what_the_file_does_not_ask_for_is_left_out(begin: Begin) -> None:
    experiment, tracker = begin()
    for method in ("firm", "none"):
        for fold in (0, 1):
            log(experiment, tracker, fold, method, [1, 2])
    asked = dataclasses.replace(
        experiment, rounds=1, schedules={"none": {1: 0.0}}, folds=dataclasses.replace(experiment.folds, use=[1])
    )
    sweep = read_sweep(asked)
    assert list(sweep.trials) == [(1, "none")]
    assert sweep.trials[1, "none"].predicted.shape == (1, 20)
    assert sweep.trials[1, "none"].metrics.index.tolist() == [1]
    assert sweep.missing == ()


def test_a_method_that_was_changed_is_another_one(begin: Begin) -> None:
    experiment, tracker = begin(schedules={"firm": {1: 0.5}}, folds=Folds(count=2, validation=0.2, use=[0]))
    log(experiment, tracker, 0, "firm", [1, 2])
    firmer = dataclasses.replace(experiment, schedules={"firm": {1: 0.9}})
    with pytest.raises(ValueError, match=f"no round of {experiment.name} is logged yet"):
        read_sweep(firmer)
    log(firmer, tracker, 0, "firm", [1])
    assert len(read_sweep(firmer).trials[0, "firm"].metrics) == 1
    assert len(read_sweep(experiment).trials[0, "firm"].metrics) == 2


def test_the_sweep_of_the_files_recipe_is_read_not_merely_the_newest(begin: Begin) -> None:
    experiment, tracker = begin()
    log(experiment, tracker, 0, "firm", [1, 2])
    other, later = begin(seed=1)
    log(other, later, 0, "firm", [1])
    assert len(read_sweep(experiment).trials[0, "firm"].metrics) == 2
    assert len(read_sweep(other).trials[0, "firm"].metrics) == 1
    third = dataclasses.replace(experiment, seed=2)
    sweep = read_sweep(third)
    assert len(sweep.trials[0, "firm"].metrics) == 1
    assert sweep.missing[0] == (
        "The file has changed since it was last swept; these are the older results: seed was 1, is 2."
    )


def test_without_a_sweep_or_a_round_there_is_nothing_to_read(begin: Begin, tmp_path: Path) -> None:
    experiment, tracker = begin()
    with pytest.raises(ValueError, match=f"no round of {experiment.name} is logged yet"):
        read_sweep(experiment)
    tracker.take_up(trial(experiment, 0, "firm"), [], Origin())
    with pytest.raises(ValueError, match=f"no round of {experiment.name} is logged yet"):
        read_sweep(experiment)
    with pytest.raises(ValueError, match="no results of unknown yet"):
        read_sweep(dataclasses.replace(experiment, name="unknown"))
    with pytest.raises(ValueError, match="no results of"):
        read_sweep(dataclasses.replace(experiment, mlflow=None, storage=str(tmp_path)))


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_file_that_cannot_be_read_is_named(begin: Begin, store: Path, damage: str) -> None:
    experiment, tracker = begin(name=f"damaged_{damage}")
    log(experiment, tracker, 0, "firm", [1, 2])
    run_id = read_sweep(experiment).trials[0, "firm"].run_id
    file = store / "artifacts" / run_id / "artifacts" / "rounds" / "02" / "predictions.parquet"
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"mlflow: .*{run_id}.*/rounds/02/predictions.parquet cannot be read"):
        read_sweep(experiment)
