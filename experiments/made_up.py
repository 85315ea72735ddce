"""A sweep that nobody trained: the methods of `bench.yaml` with made-up logits, logged as a driver logs its own rounds.

    python experiments/made_up.py FOLDER photos.csv        # then: rsrl analyze FOLDER/made_up.yaml

Rules, metrics, files of rounds, the choice of a round and MLflow are the real ones. Some photos are harder than others
in every round, so that rules that drop photos agree on some of them. 10,000 rounds of 3,100 photos take five minutes.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from rsrl_ray import config
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.trial import Origin
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.method import methods_of
from rsrl_ray.photos.folds import folds_of
from rsrl_ray.photos.photo_set import PhotoSet
from rsrl_ray.photos.table import read_table
from rsrl_ray.rounds.files import RoundFiles
from rsrl_ray.rounds.loop import Plan, RoundResult, run_rounds
from rsrl_ray.rounds.table import round_metrics
from rsrl_ray.sweep.driver.logged import choices, pictured
from rsrl_ray.sweep.driver.tracked import open_tracker, sweep_run, trials_of
from rsrl_ray.sweep.report import Report
from rsrl_ray.sweep.task import Task, Trainers
from rsrl_ray.tracking.entries import Round, Trial

DIGEST = "0" * 32
MADE = 1.75e9  # Unix time


@dataclass(frozen=True)
class Photos:
    """What is the same in all rounds: how hard each photo is, 0 to 1, and the class that it is taken for, [N] each."""

    classes: int
    hard: NDArray[np.float64]
    taken_for: NDArray[np.int64]
    features: NDArray[np.float32]


class Learner:
    """Logits that lean to the label, more and more from round to round."""

    def __init__(self, photos: Photos, labels: NDArray[np.int64], seed: list[int]) -> None:
        self._photos, self._labels, self._random = photos, labels, np.random.default_rng(seed)

    def learn(self, number: int, kept: NDArray[np.bool_]) -> NDArray[np.float32]:
        """[N, C]."""
        rows, hard = np.arange(len(kept)), self._photos.hard
        logits = self._random.normal(0, 0.7, (len(kept), self._photos.classes))
        logits[rows, self._labels] += (3.5 - 1.5 * np.exp(-number / 6)) * (1 - hard) + 0.6 * kept
        logits[rows, self._photos.taken_for] += 2.2 * hard
        return logits.astype(np.float32)

    def features(self) -> NDArray[np.float32]:
        """[N, D], which tell nothing."""
        return self._photos.features


def _nothing_is_trained(task: Task) -> Trainers:
    raise AssertionError(task.experiment.name)


class MadeUp:
    """The rounds of an experiment's trials."""

    def __init__(self, experiment: config.Experiment) -> None:
        table = read_table(experiment.photos)
        photos = PhotoSet(
            images=tuple(table.images),
            scores=table.scores,
            problems=(),
            notes=(),
            fingerprint=DIGEST,
            sources=tuple(table.sources),
            pixels_path=Path(),
            image_size=224,
        )
        self.task = Task(experiment, photos, folds_of(experiment, photos), {}, DIGEST, _nothing_is_trained)
        self._files: dict[int, RoundFiles] = {}

    @cached_property
    def _photos(self) -> Photos:
        count, classes = len(self.task.photos.images), len(self.task.photos.classes)
        random = np.random.default_rng(0)
        features = random.normal(size=(count, 16)).astype(np.float32)
        return Photos(classes, random.beta(2, 3, count), random.integers(0, classes, count), features)

    def rounds(self, place: int, trial: Trial) -> list[Round]:
        """All rounds of a trial. place : of the trial in the sweep."""
        fold = self.task.folds[trial.key.fold]
        results = list(self._results(place, trial, fold))
        reports = [self._report(place, trial, fold, results[:number]) for number in range(1, len(results) + 1)]
        made = choices(reports, self.task.chooses)
        better, drawn = {one.number: one for one in made}, pictured(len(reports), made)
        files = self._files.setdefault(
            fold.number, RoundFiles(self.task.table(fold, results[0]), self.task.experiment.revision.membership)
        )

        def logged(done: RoundResult, told: Report) -> Round:
            def write(folder: Path) -> None:
                files.write(folder, done, {})
                if done.number in drawn:
                    files.draw(folder, done, trial.key)

            return Round(done.number, told.metrics, "", told.link, told.created, write, better.get(done.number))

        return [logged(done, told) for done, told in zip(results, reports, strict=True)]

    def _results(self, place: int, trial: Trial, fold: Fold) -> Iterator[RoundResult]:
        experiment, labels = self.task.experiment, self.task.labels_in(fold)
        rule = methods_of(experiment)[trial.key.method].rule
        return run_rounds(Learner(self._photos, labels, [place]), labels, fold, rule, Plan.of(experiment))

    def _report(self, place: int, trial: Trial, fold: Fold, so_far: list[RoundResult]) -> Report:
        experiment, done = self.task.experiment, so_far[-1]
        seen = experiment.training.epochs * sum(int(one.kept.sum()) for one in so_far)
        metrics = round_metrics(self.task.table(fold, done), experiment.revision.majority_classes)
        metrics |= {"seconds": 0.5, "reused": 0.0, "guarded": 0.0, "photos_seen": float(seen)}
        metrics |= {"epochs_so_far": float(done.number * experiment.training.epochs)}
        created, is_last = MADE + 100 * place + done.number, done.number == experiment.rounds
        key = f"{trial.id} {done.number}"
        return Report(done.number, key, "", "", Origin("made up"), created, True, metrics, 0.0, "", is_last)


def made_up_sweep(folder: Path, photos: Path) -> Path:
    """Log the sweep into this new folder; its experiment file. photos : their table."""
    knobs = yaml.safe_load((Path(__file__).parent / "bench.yaml").read_text())
    network = knobs["network"] | {"weights": "none"}
    folder.mkdir(parents=True)
    file = folder / "made_up.yaml"
    file.write_text(yaml.safe_dump(knobs | {"photos": str(photos.resolve()), "network": network}, sort_keys=False))
    made = MadeUp(read_experiment(file))
    sweep = sweep_run(made.task)
    tracker = open_tracker(made.task, sweep, print)
    for place, trial in enumerate(trials_of(made.task).values()):
        rounds = made.rounds(place, trial)
        tracker.take_up(trial, [one.link for one in rounds], Origin("made up"))
        tracker.log_rounds(trial, rounds)
        tracker.end_trial(trial, "FINISHED")
    tracker.summary.log(sorted(tracker.summary.methods()))
    tracker.end_sweep("FINISHED")
    return file


if __name__ == "__main__":
    print(made_up_sweep(Path(sys.argv[1]), Path(sys.argv[2])))
