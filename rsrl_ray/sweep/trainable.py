"""A trial as Ray Tune sees it: look the round up in the archive, else train it; report."""

import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import ray
from ray import tune

from rsrl_ray.config import ALWAYS, identifying
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.passes import passes
from rsrl_ray.core.prediction import Predictor
from rsrl_ray.core.revision import majority_classes
from rsrl_ray.core.trial import Origin, TrialKey
from rsrl_ray.method import Learning, method_of
from rsrl_ray.round_table import Judged, revision_notes, round_metrics
from rsrl_ray.rounds import RoundResult, run_rounds
from rsrl_ray.store.archive import Archive, Record, start_key
from rsrl_ray.store.holders import trial_holder
from rsrl_ray.store.storage import StorageError
from rsrl_ray.sweep.cached_learner import CachedLearner, Learnt, Start
from rsrl_ray.sweep.claims import Attempt
from rsrl_ray.sweep.gauge import Gauge
from rsrl_ray.sweep.report import Failure, Report
from rsrl_ray.sweep.task import Task
from rsrl_ray.vision.evaluation import ARITHMETIC
from rsrl_ray.vision.memory import OutOfMemory, free_memory
from rsrl_ray.vision.reproducible import versions
from rsrl_ray.vision.trainer import NotFinite


class RSRLTrial(tune.Trainable):
    """One fold x method; every step is a round.

    It keeps no checkpoints: a trial that starts again, anywhere, replays its finished rounds from the
    archive in milliseconds and trains on from there.
    """

    def setup(self, config: dict[str, Any], task: Task | None = None) -> None:
        """Called by Ray once an actor; ``config["trial"]`` names fold, method and the trial's id."""
        assert task is not None, "made by tune.with_parameters"
        self._task, self._trainers = task, task.trainers(task)
        self._thread = ThreadPoolExecutor(1, "rounds")
        self._coming = _nothing()
        node = "" if task.source is None else ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        self._gauge = Gauge(node, task.device == "cuda") if task.experiment.system_metrics else None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another trial in this actor, once the one before it trains nothing any more."""
        self._cached.close()
        wait([self._coming])
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The next round's metrics; a trial that cannot go on ends with ``failed``, the reason.

        The round after it is trained in a thread while this one is written to the archive and reported.
        """
        try:
            result, learnt = self._coming.result()
            if result.number < self._task.experiment.rounds:
                self._coming = self._thread.submit(self._next)
            record = self._cached.keep(learnt)
        except (NotFinite, ValueError, StorageError) as error:
            reason = str(error)
        except OutOfMemory as error:
            reason = self._out_of_memory(error)
        else:
            return self._report(result, learnt, record).as_result()
        if self._coming.done():  # it holds the error, and that holds what was on the GPU
            self._coming = _nothing()
            free_memory()
        return Failure(reason, self._origin).as_result()

    def cleanup(self) -> None:
        """Called by Ray where it ends an actor in good order."""
        if self._gauge is not None:
            self._gauge.close()

    def _seen(self, result: RoundResult) -> int:
        """Photos that the trial has trained on so far, each as often as it was seen."""
        training, whole = self._task.experiment.training, len(self._fold.train)
        kept = int(result.kept.sum())
        self._photos_seen += sum(passes(kept, whole, training.batch_size, training.epochs, training.steps == "all"))
        return self._photos_seen

    def _next(self) -> tuple[RoundResult, Learnt]:
        """Learn the next round."""
        result, learnt = next(self._rounds), self._cached.learnt
        assert learnt is not None
        return result, learnt

    def _out_of_memory(self, error: OutOfMemory) -> str:
        share, batch = self._task.gpu_share, self._task.experiment.training.batch_size
        larger = f"resources.gpus {min(1.0, 2 * share):g} (a larger share of a GPU; the results stay the same)"
        smaller = f"training.batch_size {max(1, batch // 2)} (another recipe)"
        ways = [larger] * (share < 1) + [smaller] * (batch > 1)
        return f"the GPU's memory is full ({error}); try {' or '.join(ways)}"

    def _begin(self, config: dict[str, Any]) -> None:
        experiment, trial = self._task.experiment, config["trial"]
        fold = next(fold for fold in self._task.folds if fold.number == trial["fold"])
        labels, method = self._task.labels_in(fold), method_of(experiment, trial["method"])
        trainer = self._trainers(fold, method.learning)
        self._fold, self._method = fold, method
        self._photos_seen = 0
        self._predictor = Predictor(method.prediction, labels, fold)
        identity = _identity(self._task, fold, method.learning, trainer.device_kind)
        start = Start(
            start_key(identity, labels, fold.train),
            self._task.start,
            method.learning.warm_start == "cold",
            self._task.frozen,
        )
        self._origin = Origin(start.key, trainer.device_kind, tuple(versions()))
        self._cached = CachedLearner(
            trainer,
            Archive(experiment.storage),
            start,
            trial["id"],
            trial_holder(experiment.name, TrialKey(fold.number, trial["method"]), trial["id"]),
            Attempt(self._task.claims, trial["id"], uuid.uuid4().hex),
        )
        self._rounds: Iterator[RoundResult] = run_rounds(
            self._cached,
            labels,
            fold,
            method.rule,
            experiment.rounds,
            experiment.revision,
            experiment.seed,
        )
        self._coming = self._thread.submit(self._next)

    def _report(self, result: RoundResult, learnt: Learnt, record: Record) -> Report:
        experiment, settings = self._task.experiment, self._task.experiment.revision
        predicted = self._predictor(result.logits)
        table = self._task.table(self._fold, Judged(result.kept, result.returned, result.logits, predicted))
        notes = list(learnt.notes)
        if result.revision is not None:
            majority = majority_classes(self._task.labels_in(self._fold)[self._fold.train], settings.majority_classes)
            classes = self._task.photos.classes
            notes += revision_notes(result.revision, self._method.rule, result.number - 1, classes, majority)
        maker = self.config["trial"]["id"]
        metrics = round_metrics(table, settings.majority_classes) | {
            "seconds": record.seconds,
            "reused": float(record.maker != maker),
            "epochs_so_far": float(result.number * experiment.training.epochs),
            "photos_seen": float(self._seen(result)),
            "guarded": float(result.revision is not None and bool(result.revision.guarded)),
        }
        return Report(
            number=result.number,
            key=learnt.key,
            parent_key=learnt.parent_key,
            weights=record.weights,
            origin=self._origin,
            created=record.created,
            made=learnt.made,
            metrics=metrics,
            value=metrics[self._task.chosen_by],
            note="; ".join(notes),
            last=result.number == experiment.rounds,
            predicted=predicted,
            system=() if self._gauge is None else self._gauge.take(),
        )


def _nothing() -> "Future[tuple[RoundResult, Learnt]]":
    """No round, and none to wait for."""
    future = Future[tuple[RoundResult, Learnt]]()
    future.set_exception(RuntimeError("no round was begun"))
    return future


def _identity(task: Task, fold: Fold, learning: Learning, device_kind: str) -> dict[str, Any]:
    """All that the bits of a fold's rounds depend on, besides labels and indices (design, section 2)."""
    experiment = task.experiment
    arithmetic = {} if ARITHMETIC == 1 else {"arithmetic": ARITHMETIC}
    network = identifying(experiment.network, "network.")
    later = {name: value for name, value in network.items() if f"network.{name}" not in ALWAYS}
    return (
        arithmetic
        | ({"network": later} if later else {})
        | learning.identity
        | {
            "photos": task.photos.fingerprint,
            "start": task.start_digest,
            "backbone": experiment.network.backbone,
            "image_size": experiment.network.image_size,
            "training": identifying(experiment.training, "training."),
            "warm_start": learning.warm_start,
            "seed": experiment.seed,
            "fold": fold.number,
            "device": device_kind,
            "versions": versions(),
        }
    )
