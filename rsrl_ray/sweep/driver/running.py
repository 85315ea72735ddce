"""A sweep whose trials run: what schedules them, what listens to them, and how all of it ends."""

import tempfile
from collections import defaultdict
from collections.abc import Collection
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from rsrl_ray.config import Experiment
from rsrl_ray.core.trial import Block, TrialKey
from rsrl_ray.display import Display
from rsrl_ray.method import Method, methods_of
from rsrl_ray.sweep.driver.attempts import Attempts
from rsrl_ray.sweep.driver.board import STORAGE, Board
from rsrl_ray.sweep.driver.log import Log
from rsrl_ray.sweep.driver.places import Places
from rsrl_ray.sweep.driver.prepare import keeps_all
from rsrl_ray.sweep.driver.progress import SweepProgress
from rsrl_ray.sweep.driver.retention import WeightRetention
from rsrl_ray.sweep.driver.scheduler import Outline, SharingScheduler, outline
from rsrl_ray.sweep.driver.tracked import trials_of
from rsrl_ray.sweep.driver.watchdog import Watchdog
from rsrl_ray.sweep.driver.weights import KeptWeights
from rsrl_ray.sweep.driver.writer import Writer
from rsrl_ray.sweep.nodes.claims import Claims
from rsrl_ray.sweep.task import Task
from rsrl_ray.sweep.trial.trainable import RSRLTrial
from rsrl_ray.tracking.entries import SweepRun
from rsrl_ray.tracking.write import Tracker
from rsrl_ray.vision.network import trains_in_lockstep


class Running:
    """The trials of a sweep, from the first to the last; Ray Tune calls the ``listeners`` back."""

    def __init__(self, task: Task, tracker: Tracker, sweep: SweepRun, display: Display, may_wait: bool) -> None:
        """``may_wait`` : whether a cluster may still get nodes."""
        rounds, methods, trials = task.experiment.rounds, methods_of(task.experiment), trials_of(task)
        self._display, self._trials, self._claims, self.board = display, trials, Claims(), Board()
        self._lockstep = {name for name, method in methods.items() if _in_lockstep(task.experiment, method)}
        self._outlines = {key: outline(key.fold, methods[key.method], rounds) for key in trials}
        predictions = {key: methods[key.method].prediction for key in trials}
        retention = WeightRetention(task.sweep_id(), self._outlines, keeps_all(task), predictions)
        self._log = Log(task, tracker, sweep, trials, self.board)
        self.attempts = Attempts(self._log.end, self._claims)
        self._weights = KeptWeights(task, retention, trials, Writer(STORAGE, self.board))
        self._places = Places(self.attempts.blame, display)
        self.progress = SweepProgress(display, list(trials), rounds, may_wait=may_wait)
        self.listeners: list[tune.Callback] = [self.attempts, self._log, self._weights, self.progress]

    def run(self, task: Task, scratch: str) -> None:
        """Run all trials until they have ended, or until Ctrl-C; ``scratch`` : a folder for Ray.

        Raises
        ------
        ValueError
            If no node is left on which a trial can be set up.
        """
        left: Collection[TrialKey] = self._trials
        while left:
            self._fit(task, left, scratch)
            self._places.check()
            left = self.attempts.left_of(left)
            if self.attempts.alone.intersection(left):
                self._display.said(f"{len(left)} trials run again, each in a process of its own", "warning")

    @property
    def stopped(self) -> list[TrialKey]:
        """The trials that have neither finished nor failed."""
        ended = {*self.attempts.finished, *self.attempts.failed}
        return [key for key in self._trials if key not in ended]

    def close(self, status: str) -> None:
        """End what still runs, and wait for MLflow and storage; the board has what could not be done."""
        self.attempts.close()
        self._weights.close()
        self._log.close(status)

    def free(self) -> None:
        """Leave the terminal in order and no notes at Ray's head."""
        self.progress.close()
        self._claims.close()

    def _waits(self, trial: Trial) -> bool:
        return any(self._claims.waits(identity) for identity in trial.config["trial"]["ids"])

    def _blocks(self, trials: Collection[TrialKey]) -> dict[Block, Outline]:
        """What each process makes, and the outline of its rounds: the trials of a fold if they train in lockstep."""
        together = [key for key in trials if key.method in self._lockstep and key not in self.attempts.alone]
        methods: defaultdict[int, list[str]] = defaultdict(list)
        for key in together:
            methods[key.fold].append(key.method)
        blocks = [Block(fold, tuple(of_fold)) for fold, of_fold in methods.items()]
        blocks += [Block(key.fold, (key.method,)) for key in trials if key not in together]
        return {block: self._outlines[block.trials[0]] if len(block.trials) == 1 else () for block in blocks}

    def _fit(self, task: Task, trials: Collection[TrialKey], scratch: str) -> None:
        """Run these trials until they have ended or were given up, or until Ctrl-C."""
        resources = {"cpu": task.experiment.resources.cpus, "gpu": float(task.experiment.resources.gpus)}
        blocks = self._blocks(trials)
        points = [
            {"fold": block.fold, "methods": list(block.methods), "ids": [self._trials[key].id for key in block.trials]}
            for block in blocks
        ]
        trainable: Any = tune.with_parameters(RSRLTrial, task=task, claims=self._claims)
        tuner = tune.Tuner(
            tune.with_resources(trainable, resources),
            param_space={"trial": tune.grid_search(points)},
            tune_config=tune.TuneConfig(
                scheduler=SharingScheduler(blocks, places=self._places),
                reuse_actors=True,
                trial_name_creator=lambda trial: trial.trial_id,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=task.experiment.name,
                storage_path=tempfile.mkdtemp(dir=scratch),
                callbacks=[*self.listeners, Watchdog(self._display, self._waits)],  # it has Tune's handler of Ctrl-C
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=-1),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
            ),
        )
        tuner.fit()


def _in_lockstep(experiment: Experiment, method: Method) -> bool:
    return trains_in_lockstep(experiment.network, method.learning.training.in_place_of(experiment.training))
