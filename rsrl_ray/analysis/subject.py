"""What highlight maps are asked of: the two rounds, their control, and the photos."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rsrl_ray.config import Experiment
from rsrl_ray.core.selection import best_round
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.tracking.find import Found
from rsrl_ray.tracking.names import conv1_path, predictions_path
from rsrl_ray.tracking.read import Results, TrackedRun
from rsrl_ray.vision.network import Conv1
from rsrl_ray.vision.table import URI, read_table


@dataclass(frozen=True)
class Pair:
    """conv1 of the rounds I and I - k of one trial."""

    later: Conv1
    earlier: Conv1


@dataclass(frozen=True)
class Subject:
    """Rounds ``number`` (I) and ``against`` (I - k) of one trial, and of the control in the same fold.

    control : the same two rounds of a schedule that drops nothing; where there are none, ``no_control`` says why.
    """

    run: TrackedRun
    number: int
    against: int
    pair: Pair
    control: Pair | None
    no_control: str


def find_rounds(
    found: Found,
    experiment: Experiment,
    fold: int | None,
    schedule: str | None,
    number: int | None,
    against: int | None,
) -> Subject:
    """The rounds to compare. What is None is filled in.

    The first fold; the first schedule that drops photos; the round that is best on validation photos (on test photos
    where there are none) among those from 2 on; and the round before it. Raises ValueError where a round is not
    logged (yet).
    """
    fold = experiment.fold_numbers()[0] if fold is None else fold
    controls = [name for name in experiment.schedules if not experiment.drops_photos(name)]
    schedule = experiment.main_schedule() if schedule is None else schedule
    tracker, runs = found.results, found.trials
    run = runs.get(TrialKey(fold, schedule))
    if run is None:
        begun = ", ".join(f"{name} of fold {number}" for number, name in runs) or "none"
        raise ValueError(f"there is no trial of schedule {schedule!r} in fold {fold}; begun so far: {begun}")
    number = _best_round(tracker, run) if number is None else number
    against = number - 1 if against is None else against
    _check_rounds(run, number, against)
    pair = _read_pair(tracker, run, number, against)
    control = next((runs[TrialKey(fold, name)] for name in controls if (fold, name) in runs), None)
    reason = _no_control(controls, control, schedule, fold, number)
    if control is None or reason:
        return Subject(run, number, against, pair, None, reason)
    return Subject(run, number, against, pair, _read_pair(tracker, control, number, against), "")


def find_photos(
    tracker: Results,
    experiment: Experiment,
    subject: Subject,
    photos: Sequence[str],
    top: int | None,
    score: int | None,
) -> dict[str, str]:
    """Name -> absolute path or URI of the photos to map.

    photos : names in the experiment's table, or other pictures by path or URI; where it is empty, the fold's test
    photos of ``score`` (None: of any), all of them or the ``top`` of the highest self-confidence in round I.
    """
    if photos and not (top is None and score is None):
        raise ValueError("give photos, or the number and score of those to take from the test photos, not both")
    table = read_table(experiment.photos)
    sources = dict(zip(table.images, table.sources, strict=True))
    if not photos:
        return _sources(experiment, sources, _test_photos(tracker, subject, top, score))
    names = {source: image for image, source in sources.items()}
    found = {}
    for photo in photos:
        source = sources.get(photo) or (photo if URI.match(photo) else os.path.abspath(os.path.expanduser(photo)))
        found[names.get(source, photo)] = source
    return found


def find_test_photos(tracker: Results, experiment: Experiment, subject: Subject) -> dict[str, str]:
    """Name -> source of all test photos of the fold."""
    return find_photos(tracker, experiment, subject, [], None, None)


def _best_round(tracker: Results, run: TrackedRun) -> int:
    if run.rounds < 2:
        raise ValueError(
            f"fold {run.fold}, {run.schedule}: rounds logged so far: {run.rounds}; a highlight map compares two"
        )
    history = tracker.history(run, "validation_macro_f1") or tracker.history(run, "test_macro_f1")
    return best_round(np.array([history[number] for number in range(2, run.rounds + 1)])) + 1


def _check_rounds(run: TrackedRun, number: int, against: int) -> None:
    where = f"fold {run.fold}, {run.schedule}"
    if not 1 <= against < number:
        raise ValueError(
            f"{where}: round {number} against round {against}; the latter must be an earlier one, from 1 on"
        )
    if number > run.rounds:
        raise ValueError(f"{where}: there is no round {number} (yet); {run.rounds} rounds are logged")


def _no_control(controls: list[str], control: TrackedRun | None, schedule: str, fold: int, number: int) -> str:
    if schedule in controls:
        return "no control: the schedule is the control itself"
    if not controls:
        return "no control: no schedule of the file drops nothing, such as none: {1: 0.0}"
    if control is None:
        return f"no control: {controls[0]} has not been begun in fold {fold}"
    if control.rounds < number:
        return f"no control: {control.schedule} has {control.rounds} of {number} rounds in fold {fold}"
    return ""


def _read_pair(tracker: Results, run: TrackedRun, number: int, against: int) -> Pair:
    later, earlier = (tracker.read_artifact(run, conv1_path(wanted), _read_conv1) for wanted in (number, against))
    return Pair(later, earlier)


def _read_conv1(path: Path) -> Conv1:
    with np.load(path, allow_pickle=False) as arrays:
        (down, across), (above, beside) = arrays["stride"].tolist(), arrays["padding"].tolist()
        return Conv1(arrays["weight"], arrays["bias"], (down, across), (above, beside))


def _test_photos(tracker: Results, subject: Subject, top: int | None, score: int | None) -> list[str]:
    columns = ["image", "split", "score", "self_confidence"]
    table = tracker.read_artifact(
        subject.run,
        predictions_path(subject.number),
        lambda path: pd.read_parquet(path, columns=columns),
    )
    table = table[table["split"] == "test"]
    if score is not None:
        scores = sorted(table["score"].unique())
        table = table[table["score"] == score]
        if table.empty:
            known = ", ".join(map(str, scores))
            raise ValueError(f"score {score}: no test photo of fold {subject.run.fold} has it; there are {known}")
    if top is not None:
        if top < 1:
            raise ValueError(f"top {top}: give 1 or more")
        table = table.sort_values("self_confidence", ascending=False, kind="stable").head(top)
    return list(table["image"])


def _sources(experiment: Experiment, sources: dict[str, str], images: Sequence[str]) -> dict[str, str]:
    gone = [image for image in images if image not in sources]
    if gone:
        raise ValueError(
            f"{experiment.photos} no longer names {len(gone)} photos of the sweep, the first of them {gone[0]}"
        )
    return {image: sources[image] for image in images}
