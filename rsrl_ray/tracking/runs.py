"""Runs of an experiment in MLflow, and their files."""

from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from rsrl_ray.tracking.names import OPENED


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


def opened(run: Run) -> int:
    """A run's place in the order in which sweeps were taken up; counted, since clocks are set back."""
    return int(run.data.tags.get(OPENED, 0))


def log_files(place: str, folder: Path, uri: str, path: str | None = None) -> None:
    """Log a folder's files as artifacts at ``place``, a URI, under ``path``. uri : of the store."""
    get_artifact_repository(place, tracking_uri=uri).log_artifacts(str(folder), path)  # type: ignore[no-untyped-call]
