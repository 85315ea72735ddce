"""Runs of an experiment in MLflow."""

from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Param, Run, RunTag, ViewType

from rsrl_ray.core.trial import TrialKey
from rsrl_ray.tracking.names import METHOD, OPENED, SCHEDULE, SWEEP, TRIAL


def search(client: MlflowClient, experiment_id: str, condition: str, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    """The runs that meet the condition, newest first; by default those that are not deleted."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment_id], condition, view, 1000, ["attributes.start_time DESC"], token)
        runs += page
        token = page.token
        if not token:
            return runs


def parents(client: MlflowClient, experiment_id: str, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    """The parent runs of an experiment's sweeps."""
    return search(client, experiment_id, f"tags.`{SWEEP}` != '' and tags.`{TRIAL}` = ''", view)


def trials(client: MlflowClient, experiment_id: str, sweep: str) -> list[Run]:
    """The runs of a sweep's trials, also those of older chains of rounds."""
    return search(client, experiment_id, f"tags.`{SWEEP}` = '{sweep}' and tags.`{TRIAL}` != ''")


def opened(run: Run) -> int:
    """A run's place in the order in which sweeps were taken up; counted, because clocks are set back."""
    return int(run.data.tags.get(OPENED, 0))


def method_of_run(run: Run) -> str:
    """The method of a trial's run; empty for a sweep's parent run."""
    tags = run.data.tags
    return str(tags.get(METHOD, tags.get(SCHEDULE, "")))


def key_of_run(run: Run) -> TrialKey:
    """The fold and the method of a trial's run."""
    return TrialKey(int(run.data.tags["fold"]), method_of_run(run))


def as_params(params: Mapping[str, Any]) -> list[Param]:
    """Parameters as MLflow takes them."""
    return [Param(name, str(value)) for name, value in params.items()]


def as_tags(tags: Mapping[str, str]) -> list[RunTag]:
    """Tags as MLflow takes them."""
    return [RunTag(name, value) for name, value in tags.items()]
