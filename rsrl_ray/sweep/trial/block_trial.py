"""A trial of a block, in its process: which rounds it needs, and how they are reported."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rsrl_ray.core.folds import Fold
from rsrl_ray.core.passes import passes
from rsrl_ray.core.prediction import Predictor
from rsrl_ray.core.revision import majority_classes
from rsrl_ray.core.trial import Origin, TrialKey
from rsrl_ray.method import method_of
from rsrl_ray.rounds.loop import Plan, RoundResult, answered, rounds_to_learn
from rsrl_ray.rounds.table import revision_notes, round_metrics
from rsrl_ray.store.archive import Archive, Record
from rsrl_ray.store.holders import trial_holder
from rsrl_ray.store.storage import StorageError
from rsrl_ray.sweep.nodes.claims import Attempt, Claims
from rsrl_ray.sweep.report import Failure, Report
from rsrl_ray.sweep.task import Task, Trainers
from rsrl_ray.sweep.trial.cached_learner import CachedLearner, ChainStart
from rsrl_ray.sweep.trial.together import Need, learn_all
from rsrl_ray.sweep.trial.trainers import fit_all
from rsrl_ray.tracking.entries import Reading


@dataclass(frozen=True)
class Surroundings:
    """What the trials of a process share. claims : see `Attempt`."""

    task: Task
    trainers: Trainers
    claims: Claims | None


class BlockTrial:
    """One fold x method. is_done : whether it makes no more rounds."""

    def __init__(self, around: Surroundings, fold: Fold, method: str, identity: str) -> None:
        """``identity`` : the trial's id."""
        task, experiment = around.task, around.task.experiment
        labels = task.labels_in(fold)
        self.key, self.is_done = TrialKey(fold.number, method), False
        self._task, self._fold, self._id = task, fold, identity
        self._method = method_of(experiment, method)
        self._photos_seen = 0
        self._predictor = Predictor(self._method.prediction, labels, fold)
        learning = self._method.learning
        trainer = around.trainers(fold, learning)
        start = ChainStart(
            task.start_key(fold, learning, trainer.device.kind),
            task.start,
            learning,
            task.frozen,
            trainer.device,
        )
        self._origin = Origin(start.key, trainer.device.kind, tuple(task.versions))
        self._learner = CachedLearner(
            trainer,
            Archive(experiment.storage),
            start,
            trial_holder(experiment.name, self.key, identity),
            Attempt(around.claims, identity),
        )
        rule, plan = self._method.rule, Plan.of(experiment)
        self._rounds = rounds_to_learn(labels, fold, rule, plan, lambda: trainer.features())
        self._last: RoundResult | None = None

    def need(self) -> Need:
        """The round after its last one. The rule decides here what is kept."""
        need = Need(self._learner)
        with need.failing():
            need.asked = next(self._rounds) if self._last is None else answered(self._rounds, self._last.logits)
        return need

    def learnt(self, need: Need) -> "Learnt":
        """The round, which was learnt."""
        assert self._learner.learnt is not None
        self._last = need.round.learnt(self._learner.learnt.logits)
        return Learnt(self, self._last, self._learner.learnt, need.made)

    def report(self, learnt: "Learnt", system: tuple[Reading, ...]) -> Report:
        """Write the round into the archive; its report. Raises `StorageError`."""
        record = self._learner.keep(learnt.record)
        result = replace(learnt.result, predicted=self._predictor(learnt.result.logits))
        metrics = round_metrics(self._task.table(self._fold, result), self._task.experiment.revision.majority_classes)
        metrics |= self._own_metrics(result, record)
        self.is_done = result.number == self._task.experiment.rounds
        return Report(
            trial=self.key,
            number=result.number,
            key=record.key,
            parent_key=record.parent_key,
            weights=record.weights,
            origin=self._origin,
            created=record.created,
            made=learnt.made,
            metrics=metrics,
            value=metrics[self._task.chosen_by],
            note="; ".join([*record.notes, *self._revision_notes(result)]),
            last=self.is_done,
            predicted=result.predicted,
            system=system,
        )

    def failed(self, reason: str) -> Failure:
        """It cannot go on."""
        self.close()
        return Failure(self.key, reason, self._origin)

    def write(self, learnt: "Learnt") -> None:
        """Write a round that is not reported, because the trial has ended: others may share it, and wait for it."""
        with contextlib.suppress(StorageError):  # they are told
            self._learner.keep(learnt.record)

    def abandon(self) -> None:
        """The process ends."""
        self.is_done = True
        self._learner.abandon()

    def close(self) -> None:
        """It makes no more rounds."""
        self.is_done = True
        self._learner.close()

    def _own_metrics(self, result: RoundResult, record: Record) -> dict[str, float]:
        """Those that do not follow from the round's table of photos."""
        learning = self._method.learning
        training = learning.training.in_place_of(self._task.experiment.training)
        kept, whole = int(result.kept.sum()), len(self._fold.train)
        solved = learning.ridge is not None  # it sees each photo once
        passed = [kept] if solved else passes(kept, whole, training.batch_size, training.epochs, training.steps)
        self._photos_seen += sum(passed)
        return {
            "seconds": record.seconds,
            "reused": float(record.maker != self._id),
            "epochs_so_far": float(result.number * (1 if solved else training.epochs)),
            "photos_seen": float(self._photos_seen),  # a photo counts each time that it is seen
            "guarded": float(result.revision is not None and bool(result.revision.guarded)),
        }

    def _revision_notes(self, result: RoundResult) -> list[str]:
        if result.revision is None:
            return []
        count, classes = self._task.experiment.revision.majority_classes, self._task.photos.classes
        majority = majority_classes(self._task.labels_in(self._fold)[self._fold.train], count)
        return revision_notes(result.revision, self._method.rule, result.number - 1, classes, majority)


@dataclass(frozen=True)
class Learnt:
    """A round of a trial, before it is reported. made : whether it was trained for this trial just now."""

    trial: BlockTrial
    result: RoundResult
    record: Record
    made: bool


@dataclass(frozen=True)
class Stopped:
    """A trial that cannot go on, and why."""

    trial: BlockTrial
    reason: str


def next_rounds(trials: Sequence[BlockTrial]) -> list[Learnt | Stopped]:
    """Learn the next round of these trials, which have made equally many.

    Raises
    ------
    OutOfMemory
        If the GPU has no room to train.
    """
    needs = [trial.need() for trial in trials]
    learn_all([need for need in needs if not need.error], fit_all)
    return [
        Stopped(trial, need.error) if need.error else trial.learnt(need)
        for trial, need in zip(trials, needs, strict=True)
    ]
