"""What leans on the insides of MLflow 3, which any release may change: it stands here, and nowhere else.

At an upgrade: read the question at each part, then run tests/tracking and tests/sweep/test_mlflow_server.py. Two more
things are not documented, each with a home and a test of its own: the format of a saved view
(`rsrl_ray.tracking.views`), and the words of a client whose server does not answer (`is_away`).
"""

import contextlib
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.service_pb2 import GetMetricHistoryBulkInterval
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.db import utils
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.store.tracking.rest_store import RestStore
from mlflow.tracking.context.default_context import DefaultRunContext
from mlflow.utils import git_utils
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.mlflow_tags import MLFLOW_GIT_BRANCH, MLFLOW_GIT_COMMIT, MLFLOW_GIT_REPO_URL
from mlflow.utils.validation import MAX_ENTITIES_PER_BATCH, MAX_PARAMS_TAGS_PER_BATCH

_DATABASES: Any = utils  # its annotations are not whole
DATABASE_ERRORS = (sqlite3.Error, _DATABASES.sqlalchemy.exc.SQLAlchemyError)
CHATTY = "mlflow.utils.environment"  # the logger that warns if there is no pip, for example with uv
_RUNS = 500  # in one question to a database
_RUNS_OF_SERVER = 100  # in one question to a tracking server, which takes no more
_STEPS = 1000  # in one question to a tracking server, which sends only some of more than 2500 values of a run
_ALL_VALUES = 10**9  # values in a database's answer: all of them


def is_away(error: str) -> bool:
    """Whether MLflow's client says by this that its server cannot be reached."""
    return "failed with exception" in error


# Places. At an upgrade: is there a call that says where artifacts are logged to, other than the run's own place?


def local_path(uri: str) -> Path:
    """The path that a ``file:`` URI, or a path, stands for."""
    return Path(local_file_uri_to_path(uri))  # type: ignore[no-untyped-call]


def log_files(place: str, folder: Path, uri: str, path: str | None = None) -> None:
    """Log a folder's files as artifacts at ``place``, a URI, under ``path``. uri : of the store."""
    get_artifact_repository(place, tracking_uri=uri).log_artifacts(str(folder), path)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def logged_folder(place: str, uri: str) -> Iterator[Path]:
    """A folder to write artifacts into: ``place`` itself on this machine, else one that is logged in one go at the end.

    uri : of the store.
    """
    if place.startswith("file:"):
        folder = local_path(place)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="rsrl-") as copies:
        yield Path(copies)
        log_files(place, Path(copies), uri)


def is_logged(place: str, path: str, uri: str) -> bool:
    """Whether there is an artifact ``path`` at ``place``. uri : of the store."""
    store = get_artifact_repository(place, tracking_uri=uri)
    return any(found.path == path for found in store.list_artifacts(path.rpartition("/")[0]))


def is_gone(place: str) -> bool:
    """Whether it is a place on this machine, and nothing lies there."""
    return place.startswith(("file:", "/")) and not local_path(place).exists()


Here = Callable[[str, str], str]
"""Of an id and the place that is recorded, the place where its artifacts lie now."""


def rewrite_places(file: Path, experiment_id: str, root: str, run_place: Here, model_place: Here) -> str | None:
    """Write into MLflow's SQLite file where an experiment's artifacts lie: MLflow has no call that changes it.

    At an upgrade: do the tables still have these columns (tests/test_before.py, tests/test_paths.py)?

    root : URI of the experiment's artifacts here. Returns what it was before; None if nothing has moved.
    """
    own = {"root": root, "id": int(experiment_id)}
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as database, database:
        database.create_function("run_place", 2, run_place)
        database.create_function("model_place", 2, model_place)
        experiment = database.execute("SELECT artifact_location FROM experiments WHERE experiment_id = :id", own)
        before = str(experiment.fetchone()[0])
        if before == root:
            return None
        moved = [database.execute(update, own).rowcount for update in (_MOVED_RUNS, _MOVED_MODELS)]
        if not any(moved) and not is_gone(before):
            return None
        database.execute("UPDATE experiments SET artifact_location = :root WHERE experiment_id = :id", own)
        database.execute(_MODEL_VERSIONS, own)
    return before


_MOVED_RUNS = """
UPDATE runs SET artifact_uri = run_place(run_uuid, artifact_uri)
WHERE experiment_id = :id AND artifact_uri != run_place(run_uuid, artifact_uri)"""
_MOVED_MODELS = """
UPDATE logged_models SET artifact_location = model_place(model_id, artifact_location)
WHERE experiment_id = :id AND artifact_location != model_place(model_id, artifact_location)"""
_MODEL_VERSIONS = """
UPDATE model_versions
SET storage_location = (SELECT artifact_location FROM logged_models WHERE source = 'models:/' || model_id)
WHERE source IN (SELECT 'models:/' || model_id FROM logged_models WHERE experiment_id = :id)"""


# Tables. At an upgrade: do these functions still tell how old a database is, without migrating it?


def is_database(uri: str) -> bool:
    """Whether a store with this URI is a database."""
    return uri.partition("://")[0].partition("+")[0].lower() in DATABASE_ENGINES


def tables_are(uri: str) -> Literal["absent", "older", "newer", "ready"]:
    """Whether the tables of a database are those of the installed MLflow."""
    with _engine(uri) as engine:
        found, newest = _DATABASES._get_schema_version(engine), _DATABASES._get_latest_schema_revision()
    if found is None:
        return "absent"
    if found == newest:
        return "ready"
    scripts = _DATABASES.ScriptDirectory.from_config(_DATABASES._get_alembic_config(""))
    known = any(found == revision.revision for revision in scripts.walk_revisions())
    return "older" if known else "newer"


def migrate(uri: str) -> None:
    """Make an older database's tables those of the installed MLflow."""
    with _engine(uri) as engine:
        _DATABASES._upgrade_db(engine)


@contextlib.contextmanager
def _engine(uri: str) -> Iterator[Any]:
    """A connection pool of MLflow's for a look at the tables."""
    engine = _DATABASES.create_sqlalchemy_engine(uri)
    try:
        yield engine
    finally:
        engine.dispose()


# Batches. At an upgrade: does a store write the metrics of a batch before its tags?


def log_metrics_then_tags(client: MlflowClient, run_id: str, metrics: Sequence[Metric], tags: Sequence[RunTag]) -> None:
    """Log metrics, then what says that they are there, in as few calls as MLflow takes; 100 tags at most."""
    assert len(tags) <= MAX_PARAMS_TAGS_PER_BATCH
    room = MAX_ENTITIES_PER_BATCH - len(tags)
    client.log_batch(run_id, metrics[:-room])
    client.log_batch(run_id, metrics[-room:], tags=tags)


# Many runs at once. At an upgrade: has `MlflowClient` a question for the metric of several runs?


class OneAtATime(Exception):
    """The store tells of one run at a time only."""


def points_of_many(client: MlflowClient, run_ids: Sequence[str], metric: str, last: int) -> Iterator[Any]:
    """All values of a metric of these runs up to the step ``last``: `Metric`, each with its ``run_id``.

    Raises `OneAtATime` if the store is a folder, or a service that does not know the question.
    """
    store: Any = client._tracking_client.store
    is_server = isinstance(store, RestStore)
    if not is_server and not hasattr(store, "get_metric_history_bulk"):
        raise OneAtATime
    at_once = _RUNS_OF_SERVER if is_server else _RUNS
    for first in range(0, len(run_ids), at_once):
        runs = list(run_ids[first : first + at_once])
        if is_server:
            yield from _points_of_server(store, runs, metric, last)
        else:
            yield from store.get_metric_history_bulk(runs, metric, _ALL_VALUES)


def _points_of_server(store: Any, run_ids: list[str], metric: str, last: int) -> Iterator[Any]:
    """By the question that MLflow's UI asks for its charts."""
    for first in range(1, last + 1, _STEPS):
        steps = {"start_step": first, "end_step": first + _STEPS - 1}
        question = json.dumps({"run_ids": run_ids, "metric_key": metric, **steps})
        try:
            answer = store._call_endpoint(GetMetricHistoryBulkInterval, question)
        except MlflowException as error:
            raise (OneAtATime if error.get_http_status_code() == 404 else error) from error  # type: ignore[no-untyped-call]
        yield from answer.metrics


# Provenance. At an upgrade: does MLflow set these tags itself if a run is made by `MlflowClient`?


def source_of(folder: str) -> dict[str, str | None]:
    """The tags by which MLflow tells program and user and, of a folder in a git repository, what is checked out."""
    return {
        **DefaultRunContext().tags(),  # type: ignore[no-untyped-call]
        MLFLOW_GIT_COMMIT: git_utils.get_git_commit(folder),
        MLFLOW_GIT_BRANCH: git_utils.get_git_branch(folder),
        MLFLOW_GIT_REPO_URL: git_utils.get_git_repo_url(folder),
    }
