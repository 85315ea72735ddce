"""A trial as Ray Tune sees it: it takes each round from the archive, or else trains it, and reports it."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import ray
from ray import tune

from rsrl_ray.core.passes import passes
from rsrl_ray.core.prediction import Predictor
from rsrl_ray.core.revision import majority_classes
from rsrl_ray.core.trial import Origin, TrialKey
from rsrl_ray.method import method_of
from rsrl_ray.rounds.loop import Plan, RoundResult, run_rounds
from rsrl_ray.rounds.table import revision_notes, round_metrics
from rsrl_ray.store.archive import Archive, Record
from rsrl_ray.store.holders import trial_holder
from rsrl_ray.sweep.nodes.claims import Attempt, Claims
from rsrl_ray.sweep.nodes.common_storage import check_here
from rsrl_ray.sweep.report import Failure, Report, SetUpFailed, as_result
from rsrl_ray.sweep.task import Task
from rsrl_ray.sweep.trial.cached_learner import CachedLearner, ChainStart
from rsrl_ray.sweep.trial.gauge import Gauge
from rsrl_ray.vision.lesson import NotFinite
from rsrl_ray.vision.memory import OutOfMemory, free_memory


class RSRLTrial(tune.Trainable):
    """One fold x method; every step is a round.

    It keeps no checkpoints: if a trial starts again, on any node, it replays its finished rounds from the archive in
    milliseconds, and then trains the next.
    """

    def setup(self, config: dict[str, Any], task: Task | None = None, claims: Claims | None = None) -> None:
        """Called by Ray once for each actor; ``config["trial"]`` has fold, method and the trial's id.

        claims : of all trials of the sweep, so that no two trials make the same round.
        """
        assert task is not None, "made by tune.with_parameters"
        self._task, self._claims, self._gauge = task, claims or Claims(), None
        self._thread = ThreadPoolExecutor(1, "rounds")
        self._coming = _no_round("no round was begun")
        self._cached: CachedLearner | None = None
        with self._raised_by_the_next_step():
            if task.driver_node:
                check_here(task.experiment.storage, task.driver_node)
            self._trainers = task.trainers(task)
            node = "" if task.source is None else ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
            self._gauge = Gauge(node, task.device == "cuda") if task.experiment.system_metrics else None
            self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another trial in this actor, as soon as the one before has stopped training."""
        if self._cached is not None:
            self._cached.close()
        wait([self._coming])
        with self._raised_by_the_next_step():
            self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The report of the next round, or a `Failure` if the trial cannot go on.

        While this round is written to the archive and reported, a thread trains the next one. Raises SetUpFailed if the
        set-up has failed.
        """
        if self._set_up_failed is not None:
            raise self._set_up_failed
        try:
            result, learnt = self._coming.result()
            assert self._cached is not None
            if result.number < self._task.experiment.rounds:
                self._coming = self._thread.submit(self._next)
            record = self._cached.keep(learnt)
        except (NotFinite, ValueError) as error:
            reason = str(error)
        except OutOfMemory as error:
            reason = self._out_of_memory(error)
        else:
            return as_result(self._report(result, record, not learnt.is_written))
        if self._coming.done():  # it holds the error, which holds what is on the GPU
            self._coming = _no_round("the trial has ended")
            free_memory()
        return as_result(Failure(reason, self._origin))

    def cleanup(self) -> None:
        """Called by Ray before it ends an actor."""
        if self._gauge is not None:
            self._gauge.close()

    def _seen(self, result: RoundResult) -> int:
        """How many photos the trial has trained on so far; a photo counts each time that it is seen."""
        training, whole = self._task.experiment.training, len(self._fold.train)
        kept = int(result.kept.sum())
        self._photos_seen += sum(passes(kept, whole, training.batch_size, training.epochs, training.steps))
        return self._photos_seen

    def _next(self) -> tuple[RoundResult, Record]:
        """Learn the next round."""
        assert self._cached is not None
        result, learnt = next(self._rounds), self._cached.learnt
        assert learnt is not None
        return result, learnt

    def _out_of_memory(self, error: OutOfMemory) -> str:
        share, batch = self._task.gpu_share, self._task.experiment.training.batch_size
        larger = f"resources.gpus {min(1.0, 2 * share):g} (a larger share of a GPU; the results stay the same)"
        smaller = f"training.batch_size {max(1, batch // 2)} (another recipe)"
        ways = [larger] if share < 1 else []
        if batch > 1:
            ways.append(smaller)
        return f"the GPU's memory is full ({error}); try {' or '.join(ways)}"

    @contextlib.contextmanager
    def _raised_by_the_next_step(self) -> Iterator[None]:
        """The body sets up; if it fails, `step` raises why.

        If the constructor raises, Tune keeps only the text. If an actor raises while it changes trials, Tune gives the
        trial up. If a step raises, Tune starts the trial again in another process.
        """
        self._set_up_failed: SetUpFailed | None = None
        try:
            yield
        except OutOfMemory as error:
            self._set_up_failed = SetUpFailed(_this_node(), self._out_of_memory(error))
        except Exception as error:  # whatever is wrong with this node
            words = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            self._set_up_failed = SetUpFailed(_this_node(), words)

    def _begin(self, config: dict[str, Any]) -> None:
        experiment, trial = self._task.experiment, config["trial"]
        fold = next(fold for fold in self._task.folds if fold.number == trial["fold"])
        labels, method = self._task.labels_in(fold), method_of(experiment, trial["method"])
        self._fold, self._method = fold, method
        self._photos_seen = 0
        self._predictor = Predictor(method.prediction, labels, fold)
        trainer = self._trainers(fold, method.learning)
        start = ChainStart(
            self._task.start_key(fold, method.learning, trainer.device.kind),
            self._task.start,
            method.learning.warm_start == "cold",
            self._task.frozen,
            trainer.device,
        )
        self._origin = Origin(start.key, trainer.device.kind, tuple(self._task.versions))
        self._cached = CachedLearner(
            trainer,
            Archive(experiment.storage),
            start,
            trial_holder(experiment.name, TrialKey(fold.number, trial["method"]), trial["id"]),
            Attempt(self._claims, trial["id"]),
        )
        self._rounds: Iterator[RoundResult] = run_rounds(
            self._cached,
            labels,
            fold,
            method.rule,
            Plan.of(experiment),
        )
        self._coming = self._thread.submit(self._next)

    def _report(self, result: RoundResult, record: Record, made: bool) -> Report:
        """The report of a round that is in the archive; ``made`` : whether it was made just now."""
        experiment, settings = self._task.experiment, self._task.experiment.revision
        result = replace(result, predicted=self._predictor(result.logits))
        table = self._task.table(self._fold, result)
        notes, majority_count = list(record.notes), settings.majority_classes
        if result.revision is not None:
            majority = majority_classes(self._task.labels_in(self._fold)[self._fold.train], majority_count)
            classes = self._task.photos.classes
            notes += revision_notes(result.revision, self._method.rule, result.number - 1, classes, majority)
        metrics = round_metrics(table, majority_count) | {
            "seconds": record.seconds,
            "reused": float(record.maker != self.config["trial"]["id"]),
            "epochs_so_far": float(result.number * experiment.training.epochs),
            "photos_seen": float(self._seen(result)),
            "guarded": float(result.revision is not None and bool(result.revision.guarded)),
        }
        return Report(
            number=result.number,
            key=record.key,
            parent_key=record.parent_key,
            weights=record.weights,
            origin=self._origin,
            created=record.created,
            made=made,
            metrics=metrics,
            value=metrics[self._task.chosen_by],
            note="; ".join(notes),
            last=result.number == experiment.rounds,
            predicted=result.predicted,
            system=() if self._gauge is None else self._gauge.take(),
        )


def _this_node() -> str:
    """Ray's id of the node that this process runs on."""
    node: str = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
    return node


def _no_round(why: str) -> "Future[tuple[RoundResult, Record]]":
    """A round that will not come."""
    future = Future[tuple[RoundResult, Record]]()
    future.set_exception(RuntimeError(why))
    return future
