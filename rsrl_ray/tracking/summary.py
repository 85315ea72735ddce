"""The chosen rounds in MLflow: a trial's run has its measures, the sweep's run those of every method over folds."""

import math
import time
from collections.abc import Iterable, Mapping

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Run

from rsrl_ray.core import statistics
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.tracking.entries import BestSoFar, SweepRun
from rsrl_ray.tracking.histories import history
from rsrl_ray.tracking.names import CHOSEN, LOGGED, summed_name
from rsrl_ray.tracking.runs import key_of_run

SUMMED = ("round", "test_macro_f1", "test_macro_f1_50", "test_quadratic_kappa", "test_mae", "train_size")
"""What is summed up over folds: the columns of a table in a paper."""

Measures = Mapping[str, float]


def choice_metrics(choices: Iterable[BestSoFar]) -> list[Metric]:
    """As metrics of a trial's run, each at the step of its round: the last one is the chosen one."""
    return [
        Metric(CHOSEN + name, value, int(choice.created * 1000), choice.number)
        for choice in choices
        for name, value in choice.values.items()
    ]


def choice_of(run: Run) -> dict[str, float]:
    """The measures at the chosen round of a trial, by name, as its run has them."""
    return {name.removeprefix(CHOSEN): value for name, value in run.data.metrics.items() if name.startswith(CHOSEN)}


def choice_within(client: MlflowClient, run: Run, rounds: int) -> dict[str, float]:
    """What is `SUMMED` of the round chosen among the first ``rounds``; the run may hold more rounds."""
    if int(run.data.tags.get(LOGGED, 0)) <= rounds:
        return choice_of(run)
    within = {name: history(client, run.info.run_id, CHOSEN + name, rounds) for name in SUMMED}
    return {name: values[max(values)] for name, values in within.items() if values}


class Summary:
    """What a parent run says of every method: mean, sd (ddof 1), low and high over the folds.

    Of a method that lacks rounds or folds that the file asks for it says only how many folds are complete, because its
    mean cannot be compared with others.
    """

    def __init__(self, client: MlflowClient, parent: Run, runs: Iterable[Run], sweep: SweepRun) -> None:
        """Runs : the newest of each trial so far."""
        self._client, self._parent = client, parent.info.run_id
        self._told = dict(parent.data.metrics)
        self._trials, self._asked = set(sweep.trials.values()), sweep.rounds
        self._chosen: dict[TrialKey, Measures] = {}
        self._rounds: dict[TrialKey, int] = {}
        for run in runs:
            self.put(key_of_run(run), choice_within(client, run, sweep.rounds), int(run.data.tags.get(LOGGED, 0)))

    def put(self, trial: TrialKey, values: Measures, rounds: int) -> None:
        """A trial's measures at its chosen round (none if it has no round), and how many rounds it has."""
        if values:
            self._chosen[trial], self._rounds[trial] = values, rounds
        else:
            self._chosen.pop(trial, None)
            self._rounds.pop(trial, None)

    def methods(self) -> set[str]:
        """Those with a chosen round."""
        return {trial.method for trial in self._chosen}

    def log(self, methods: Iterable[str]) -> None:
        """Log what has changed of these methods."""
        now = int(time.time() * 1000)
        metrics = []
        for method in methods:
            new = self._over_folds(method)
            if any(_differ(self._told.get(name), value) for name, value in new.items()):
                step = self._next_step(method)
                metrics += [Metric(name, value, now, step) for name, value in new.items()]
        self._client.log_batch(self._parent, metrics)
        self._told |= {metric.key: metric.value for metric in metrics}

    def _over_folds(self, method: str) -> dict[str, float]:
        """By the metric's name; nan for what was logged before and is no longer known, because a run was deleted."""
        asked = sorted(trial for trial in self._trials if trial.method == method)
        complete = [trial for trial in asked if self._rounds.get(trial, 0) >= self._asked]
        folds = [self._chosen[trial] for trial in complete]
        found = {"folds": float(len(folds))}
        for measure in SUMMED if len(complete) == len(asked) else ():
            known = np.array([fold[measure] for fold in folds if not math.isnan(fold.get(measure, math.nan))])
            if len(known):
                found |= {f"{measure}_mean": statistics.mean(known), f"{measure}_sd": statistics.sd(known)}
                found |= {f"{measure}_low": float(known.min()), f"{measure}_high": float(known.max())}
        new = {summed_name(method, column): value for column, value in found.items()}
        before = dict.fromkeys((name for name in self._told if name.startswith(summed_name(method, ""))), math.nan)
        return before | {name: value for name, value in new.items() if not math.isnan(value)}

    def _next_step(self, method: str) -> int:
        """How often the method was summed up before, because MLflow shows the value of the highest step."""
        name = summed_name(method, "folds")
        if name not in self._told:
            return 0
        return 1 + max(point.step for point in self._client.get_metric_history(self._parent, name))


def _differ(before: float | None, now: float) -> bool:
    return before is None or (before != now and not (math.isnan(before) and math.isnan(now)))
