"""A block of trials as Ray Tune sees it: it takes each round from the archive, or else trains it, and reports it."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import ray
from ray import tune

from rsrl_ray.method import largest_training
from rsrl_ray.sweep.nodes.claims import Claims
from rsrl_ray.sweep.nodes.common_storage import check_here
from rsrl_ray.sweep.report import Failure, Report, SetUpFailed, as_result
from rsrl_ray.sweep.task import Task
from rsrl_ray.sweep.trial.block_trial import BlockTrial, Learnt, Stopped, Surroundings, next_rounds
from rsrl_ray.sweep.trial.gauge import Gauge
from rsrl_ray.vision.memory import OutOfMemory, free_memory

RoundOfAll = list[Learnt | Stopped]
"""The same round of all trials of a block that go on."""


class RSRLTrial(tune.Trainable):
    """A block of trials; every step is a round of each of them.

    It keeps no checkpoints: if a block starts again, on any node, it replays its finished rounds from the archive in
    milliseconds, and then trains the next.
    """

    def setup(self, config: dict[str, Any], task: Task | None = None, claims: Claims | None = None) -> None:
        """Called by Ray once for each actor; ``config["trial"]`` has a fold, its methods and the trials' ids.

        claims : of all trials of the sweep, so that no two trials make the same round.
        """
        assert task is not None, "made by tune.with_parameters"
        self._task, self._claims, self._gauge = task, claims or Claims(), None
        self._thread = ThreadPoolExecutor(1, "rounds")
        self._coming = _no_rounds("no round was begun")
        self._trials: list[BlockTrial] = []
        with self._raised_by_the_next_step():
            if task.driver_node:
                check_here(task.experiment.storage, task.driver_node)
            self._trainers = task.trainers(task)
            node = "" if task.source is None else ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
            self._gauge = Gauge(node, task.device == "cuda") if task.experiment.system_metrics else None
            self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another block in this actor, as soon as the one before has stopped training."""
        for trial in self._trials:
            trial.close()
        wait([self._coming])
        with self._raised_by_the_next_step():
            self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The next round of each trial, or a `Failure` if the trial cannot go on.

        While these rounds are written to the archive and reported, a thread trains the next ones. Raises SetUpFailed if
        the set-up has failed.
        """
        if self._set_up_failed is not None:
            raise self._set_up_failed
        try:
            found = self._coming.result()
            rounds = [one for one in found if not one.trial.is_done]
        except OutOfMemory as error:
            reason = self._out_of_memory(error)
            told: list[Report | Failure] = [trial.failed(reason) for trial in self._going_on()]
        else:
            if any(isinstance(one, Learnt) and not self._is_last(one) for one in rounds):
                going_on = [one.trial for one in rounds if isinstance(one, Learnt)]
                self._coming = self._thread.submit(next_rounds, going_on)
            told = self._written(found)
        has_failed = any(isinstance(one, Failure) for one in told)
        if has_failed and not self._going_on() and self._coming.done():  # an error may hold what is on the GPU
            self._coming = _no_rounds("the trials have ended")
            free_memory()
        return as_result(told)

    def cleanup(self) -> None:
        """Called by Ray before it ends an actor."""
        if self._gauge is not None:
            self._gauge.close()

    def _written(self, found: RoundOfAll) -> list[Report | Failure]:
        """Write the rounds, in their order, because trials share rounds of those before them; what is told of them."""
        told = []
        try:
            for one in found:
                if not one.trial.is_done:
                    told.append(self._told(one))
                elif isinstance(one, Learnt):
                    one.trial.write(one)
        except BaseException:
            for trial in self._trials:
                trial.abandon()
            raise
        return told

    def _told(self, one: Learnt | Stopped) -> Report | Failure:
        if isinstance(one, Stopped):
            return one.trial.failed(one.reason)
        try:
            return one.trial.report(one, () if self._gauge is None else self._gauge.take())
        except ValueError as error:  # storage refuses
            return one.trial.failed(str(error))

    def _going_on(self) -> list[BlockTrial]:
        return [trial for trial in self._trials if not trial.is_done]

    def _is_last(self, learnt: Learnt) -> bool:
        return learnt.result.number == self._task.experiment.rounds

    def _out_of_memory(self, error: OutOfMemory) -> str:
        share, batch = self._task.gpu_share, largest_training(self._task.experiment).batch_size
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
        block = config["trial"]
        fold = next(fold for fold in self._task.folds if fold.number == block["fold"])
        # Several trials are all that the sweep has of the fold, and trials of other folds make other rounds.
        claims = self._claims if len(block["ids"]) == 1 else None
        around = Surroundings(self._task, self._trainers, claims)
        named = zip(block["methods"], block["ids"], strict=True)
        self._trials = [BlockTrial(around, fold, method, identity) for method, identity in named]
        self._coming = self._thread.submit(next_rounds, self._trials)


def _this_node() -> str:
    """Ray's id of the node that this process runs on."""
    node: str = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
    return node


def _no_rounds(why: str) -> "Future[RoundOfAll]":
    """RoundOfAll that will not come."""
    future = Future[RoundOfAll]()
    future.set_exception(RuntimeError(why))
    return future
