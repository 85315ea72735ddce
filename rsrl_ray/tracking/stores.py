"""An experiment's MLflow store: where it is, what state it is in, and its errors as sentences.

To read, a store is opened only if MLflow does not make or migrate anything when it opens it.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

import mlflow.entities
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from rsrl_ray.config import Experiment
from rsrl_ray.core.errors import one_line
from rsrl_ray.experiment_file import NAMES
from rsrl_ray.store.location import Location, redacted, sqlite_uri
from rsrl_ray.store.locks import locked
from rsrl_ray.tracking.mlflow_insides import (
    CHATTY,
    DATABASE_ERRORS,
    is_away,
    is_database,
    local_path,
    migrate,
    tables_are,
)
from rsrl_ray.tracking.names import DATABASE, EXPERIMENT

# What MLflow and its libraries raise, and what is raised if a library that a store needs is not installed.
REFUSALS = (MlflowException, OSError, ImportError, *DATABASE_ERRORS)
State = Literal["absent", "older", "newer", "ready"]
Stored: TypeAlias = mlflow.entities.Experiment


def mlflow_uri(experiment: Experiment) -> str:
    """Where the experiment is tracked: its ``mlflow``, or the SQLite file in a storage directory."""
    if experiment.mlflow is not None:
        return experiment.mlflow
    storage = Location(experiment.storage)
    if storage.is_uri:
        raise ValueError(
            f"mlflow: with storage in {storage}, give the URI of a tracking server; "
            "its default, a SQLite file in storage, needs a directory"
        )
    return sqlite_uri(storage.path / DATABASE)


def settle_mlflow() -> None:
    """Let MLflow notice in seconds, not in minutes, that a server is away, and say only what matters."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    quiet = {"alembic": "WARNING", "mlflow": "WARNING", "urllib3.connectionpool": "ERROR", CHATTY: "ERROR"}
    for chatty, level in quiet.items():
        logging.getLogger(chatty).setLevel(level)


@contextlib.contextmanager
def asked(uri: str, what: str = "") -> Iterator[None]:
    """Turn errors of MLflow, its database and its files into a ValueError: which store, and ``what`` was asked."""
    try:
        yield
    except REFUSALS as error:
        cause = redacted(one_line(error))
        where = f"mlflow: {Location(uri)}"
        if Location(uri).is_served and is_away(cause):
            raise ValueError(f"{where} does not answer; check that the server runs and can be reached") from error
        raise ValueError(f"{where}: {what or 'the store'}: {cause[:500]}") from error


def is_service(uri: str) -> bool:
    """Whether a store is a server or a service, which knows where artifacts go, and not a database or a folder."""
    is_file = is_database(uri) or uri.lower().startswith("file:")
    return uri in NAMES["mlflow"] or (Location(uri).is_uri and not is_file)


def store_state(uri: str) -> State:
    """Whether a store is there, and whether its tables are those of the installed MLflow; a server's always are."""
    if is_service(uri):
        return "ready"
    file = Location(uri).database
    if not Location(uri).is_uri or uri.startswith("file:"):
        return "ready" if local_path(uri).exists() else "absent"
    if file is not None and (not file.exists() or file.stat().st_size == 0):
        return "absent"
    return tables_are(uri)


def open_to_read(uri: str, missing: str) -> MlflowClient:
    """MLflow's client of a store that is there.

    Raises
    ------
    ValueError
        ``missing`` if there is no store; also if MLflow would migrate it, or is too old for it.
    """
    settle_mlflow()
    with asked(uri):
        state = store_state(uri)
        if state == "absent":
            raise ValueError(missing)
        if state == "older":
            raise ValueError(
                f"mlflow: {Location(uri)} was made by an older MLflow, and opening it would migrate it for ever; "
                f"run `rsrl sweep`, which migrates it, or go on with the older MLflow (here is {mlflow.__version__})"
            )
        _refuse_newer(uri, state)
        return MlflowClient(uri)


def open_to_write(uri: str, say: Callable[[str], None]) -> MlflowClient:
    """MLflow's client of a store, which is made or migrated if need be; ``say`` is told before it is migrated.

    Raises ValueError if it cannot be opened.
    """
    settle_mlflow()
    with asked(uri), _alone(uri):
        state = store_state(uri)
        _refuse_newer(uri, state)
        if state == "older":
            if Location(uri).database is None:
                raise ValueError(
                    f"mlflow: {Location(uri)} was made by an older MLflow; make a backup and run `mlflow db upgrade`"
                )
            say(
                f"mlflow: {Location(uri)} was made by an older MLflow and is migrated to {mlflow.__version__} now: "
                "the older one can then no longer open it"
            )
            migrate(uri)
        return MlflowClient(uri)


def find_experiment(client: MlflowClient, name: str) -> Stored | None:
    """The experiment of the files named ``name``: by its tag, whatever people call it; without a tag, by its name.

    Raises
    ------
    ValueError
        If it was deleted, or if the name is now that of another file's experiment, which was renamed.
    """
    tagged = list(client.search_experiments(ViewType.ALL, filter_string=f"tags.`{EXPERIMENT}` = '{name}'"))
    active = [found for found in tagged if found.lifecycle_stage == "active"]
    if active:
        return active[0]
    named = client.get_experiment_by_name(name)
    found = tagged[0] if tagged else named
    if found is None:
        return None
    if found.lifecycle_stage != "active":
        raise ValueError(
            f"the MLflow experiment {found.name!r} was deleted; restore it "
            f"(mlflow experiments restore -x {found.experiment_id}) or give the experiment file another name"
        )
    owner = found.tags.get(EXPERIMENT, name)
    if owner != name:
        raise ValueError(
            f"the MLflow experiment {name!r} holds the sweeps of the files named {owner!r} and was renamed; "
            "rename it again or give the experiment file another name"
        )
    return found


def _refuse_newer(uri: str, state: State) -> None:
    if state == "newer":
        raise ValueError(
            f"mlflow: {Location(uri)} was made by a newer MLflow than the installed {mlflow.__version__}; "
            "install that one (pip install -U mlflow)"
        )


@contextlib.contextmanager
def _alone(uri: str) -> Iterator[None]:
    """One process at a time makes a database's tables: MLflow's migrations fail while others run."""
    database = Location(uri).database
    if database is None:
        yield
        return
    # If nothing can be written, nothing is made, so no lock is needed.
    with locked(database.with_name(f".{database.name}.migration.lock"), wait=True):
        yield
