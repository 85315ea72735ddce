"""What a user asks of highlight maps, and what they are made of: two rounds, their control, and photos."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rsrl_ray.config import Experiment
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.method import controls_of, main_method
from rsrl_ray.photos.table import photo_sources, public_name
from rsrl_ray.store.location import URI
from rsrl_ray.tracking.find import Found
from rsrl_ray.tracking.names import conv1_path, predictions_path
from rsrl_ray.tracking.read import TrackedRun
from rsrl_ray.vision.network import Conv1, has_conv1


@dataclass(frozen=True)
class Question:
    """What a user asks of `rsrl highlight`. `find_rounds` and `find_photos` fill in what is None or empty.

    photos : names in the sweep's table, or other pictures by path or URI.
    top, score : instead of photos, the number of test photos to take, and their score.
    fold, method, number (I), against (I - k) : the rounds to compare.
    after_relu : compare conv1 after its ReLU. absolute : show the size of the difference, without its sign.
    shared_map : one J for all photos, with the lowest mean correlation over the fold's test photos.
    """

    photos: tuple[str, ...] = ()
    top: int | None = None
    score: int | None = None
    fold: int | None = None
    method: str | None = None
    number: int | None = None
    against: int | None = None
    after_relu: bool = False
    absolute: bool = False
    shared_map: bool = False


@dataclass(frozen=True)
class Pair:
    """conv1 of the rounds I (``later``) and I - k (``earlier``) of one trial."""

    later: Conv1
    earlier: Conv1


@dataclass(frozen=True)
class Subject:
    """Rounds ``number`` (I) and ``against`` (I - k) of a trial, and of the control in the same fold.

    control : the same two rounds of a method that trains in the same way and drops nothing. If there is none,
    ``no_control`` says why.
    """

    run: TrackedRun
    number: int
    against: int
    pair: Pair
    control: Pair | None
    no_control: str


def find_rounds(found: Found, experiment: Experiment, question: Question) -> Subject:
    """The rounds to compare.

    If the question does not name them: the first fold, the first method that drops photos, the chosen round from
    round 2 on (see `rsrl_ray.core.selection.choose`), and the round before it.

    Raises
    ------
    ValueError
        If the file does not ask for a round, a round is not logged yet, or no first convolution is trained.
    """
    trainable = experiment.training.trainable
    if trainable != "all":
        raise ValueError(
            f"training.trainable: {trainable}: the first convolution is frozen and never changes, so there is nothing "
            "to map; for highlight maps, sweep with trainable: all"
        )
    trial = TrialKey(
        experiment.fold_numbers()[0] if question.fold is None else question.fold,
        main_method(experiment) if question.method is None else question.method,
    )
    runs = found.trials
    run = runs.get(trial)
    if run is None:
        begun = "; ".join(map(str, runs)) or "none"
        raise ValueError(f"{trial}: this trial has not begun; begun so far: {begun}")
    number = _chosen_round(found, run, experiment.rounds) if question.number is None else question.number
    against = number - 1 if question.against is None else question.against
    _check_rounds(run, experiment.rounds, number, against)
    try:
        pair = _read_pair(run, number, against)
    except ValueError as error:
        if has_conv1(experiment.network):
            raise
        raise ValueError(
            f"{experiment.network.backbone}: the first layer is no plain convolution that slides over the picture "
            "(vision transformers embed patches, others pad in their own way), so there are no maps to compare"
        ) from error
    controls = controls_of(experiment, trial.method)
    begun_controls = (runs.get(TrialKey(trial.fold, name)) for name in controls)
    control = next((control for control in begun_controls if control is not None), None)
    reason = _no_control(controls, control, trial, number)
    other = None if control is None or reason else _read_pair(control, number, against)
    return Subject(run, number, against, pair, other, reason)


def find_photos(experiment: Experiment, subject: Subject, question: Question) -> dict[str, str]:
    """The photos to map: name -> absolute path or URI.

    If the question names none, these are the fold's test photos of ``score`` (None: of any score): all of them, or the
    ``top`` ones with the highest self-confidence in round I.
    """
    if question.photos and not (question.top is None and question.score is None):
        raise ValueError("give either photos, or the number and score of the test photos to take (top, score)")
    path, columns = predictions_path(subject.number), ["image", "split", "score", "self_confidence"]
    table = subject.run.artifacts.read(path, lambda file: pd.read_parquet(file, columns=columns))
    table["image"] = table["image"].map(public_name)  # tables of older versions hold keys
    if not question.photos:
        return photo_sources(experiment.photos, _test_photos(table, question, subject.run.fold))
    sources = photo_sources(experiment.photos, table["image"])
    names = {source: image for image, source in sources.items()}
    found = {}
    for photo in question.photos:
        source = sources.get(photo) or (photo if URI.match(photo) else os.path.abspath(os.path.expanduser(photo)))
        found[names.get(source, public_name(photo))] = source
    return found


def _chosen_round(found: Found, run: TrackedRun, asked: int) -> int:
    if asked < 2:
        raise ValueError(f"{run.key}: the file asks for one round, and a highlight map compares two; give more rounds")
    rounds = min(run.rounds, asked)
    if rounds < 2:
        raise ValueError(f"{run.key}: rounds logged so far: {rounds}; a highlight map compares two")
    return found.chosen(first=2).rounds[run.key]


def _check_rounds(run: TrackedRun, asked: int, number: int, against: int) -> None:
    where = run.key
    if not 1 <= against < number:
        raise ValueError(
            f"{where}: round {number} against round {against}; the second must be an earlier round, from 1 on"
        )
    if number > asked:
        raise ValueError(f"{where}: there is no round {number}, because the file asks for {asked}")
    if number > run.rounds:
        raise ValueError(f"{where}: round {number} is not there yet; {run.rounds} rounds are logged")


def _no_control(controls: list[str], control: TrackedRun | None, trial: TrialKey, number: int) -> str:
    if trial.method in controls:
        return "no control: the method is the control itself"
    if not controls:
        return "no control: no method of the file trains in the same way and drops nothing, such as none: {1: 0.0}"
    if control is None:
        return f"no control: {controls[0]} has not begun in fold {trial.fold}"
    if control.rounds < number:
        return f"no control: {control.method} has {control.rounds} of {number} rounds in fold {trial.fold}"
    return ""


def _read_pair(run: TrackedRun, number: int, against: int) -> Pair:
    later, earlier = (run.artifacts.read(conv1_path(wanted), _read_conv1) for wanted in (number, against))
    return Pair(later, earlier)


def _read_conv1(path: Path) -> Conv1:
    with np.load(path, allow_pickle=False) as arrays:
        (down, across), (above, beside) = arrays["stride"].tolist(), arrays["padding"].tolist()
        return Conv1(arrays["weight"], arrays["bias"], (down, across), (above, beside))


def _test_photos(table: pd.DataFrame, question: Question, fold: int) -> list[str]:
    test = table[table["split"] == "test"]
    if question.score is not None:
        known = ", ".join(map(str, sorted(test["score"].unique())))
        test = test[test["score"] == question.score]
        if test.empty:
            raise ValueError(f"score {question.score}: no test photo of fold {fold} has it; there are {known}")
    if question.top is not None:
        if question.top < 1:
            raise ValueError(f"top {question.top}: give 1 or more")
        test = test.sort_values("self_confidence", ascending=False, kind="stable").head(question.top)
    return list(test["image"])
