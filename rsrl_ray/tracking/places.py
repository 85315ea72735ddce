"""Where the artifacts of a store on this machine lie, also after its folder was moved, copied or mounted elsewhere.

MLflow writes absolute places into its database. Those of an experiment lie under ``artifacts`` in storage, each run's
in a folder named by its id, so they are found there, wherever that is now.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from mlflow.entities import Run
from mlflow.utils.file_utils import local_file_uri_to_path

from rsrl_ray.store.location import Location
from rsrl_ray.store.storage import artifact_place
from rsrl_ray.tracking.stores import asked


class _Places(NamedTuple):
    """A table of MLflow's that holds places: its columns, and the folder of an id in the artifacts' root."""

    name: str
    place: str
    id: str
    folder: str


_RUNS = _Places("runs", "artifact_uri", "run_uuid", "{}/artifacts")
_MODELS = _Places("logged_models", "artifact_location", "model_id", "models/{}/artifacts")
_MENDED = (_RUNS, _MODELS)


def default_root(uri: str) -> str | None:
    """URI of the artifacts' folder beside a SQLite store, where `rsrl sweep` puts it; None for other stores."""
    file = Location(uri).database
    return None if file is None else artifact_place(str(file.absolute().parent))


def run_place(run: Run, root: str | None) -> str:
    """The URI of a run's artifacts. root : URI of the experiment's artifacts here; None where a server knows."""
    return _here(str(run.info.artifact_uri), _RUNS.folder.format(run.info.run_id), root)


def model_place(model_id: str, recorded: str, root: str | None) -> str:
    """The URI of a logged model's files; root : as in `run_place`."""
    return _here(recorded, _MODELS.folder.format(model_id), root)


def _here(recorded: str, tail: str, root: str | None) -> str:
    if root is None or not root.startswith("file:"):
        return recorded
    place = f"{root.rstrip('/')}/{tail}"
    return place if _moved(recorded, place) else recorded


def mend(uri: str, experiment_id: str, artifacts: str | None, say: Callable[[str], None]) -> None:
    """Tell MLflow's database on this machine where the artifacts lie, if they were moved; see `_mend_places`."""
    file = Location(uri).database
    if file is None or artifacts is None:
        return
    with asked(uri, "where artifacts lie"):
        before = _mend_places(file, experiment_id, artifacts)
    if before is not None:
        say(f"the results were moved: MLflow's database now says that they lie in {artifacts}, no longer in {before}")


def _mend_places(file: Path, experiment_id: str, root: str) -> str | None:
    """Write into MLflow's database where an experiment's artifacts lie now; where they lay before, if that has changed.

    Only where they have moved: what the database names is gone, or lies under ``root`` as well (a copy). MLflow has no
    call for it, and its UI, `mlflow models serve` and new runs go where the database says.

    file : the SQLite database. root : URI of the experiment's artifacts here.
    """
    if not root.startswith("file:"):
        return None
    key = int(experiment_id)
    with closing(sqlite3.connect(file, timeout=60)) as database, database:
        (before,) = database.execute(
            "SELECT artifact_location FROM experiments WHERE experiment_id = ?", (key,)
        ).fetchone()
        moved = {table: _rows(database, table, key, root) for table in _MENDED}
        if before == root or not (_gone(before) or any(moved.values())):
            return None
        database.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (root, key))
        for table, rows in moved.items():
            database.executemany(f"UPDATE {table.name} SET {table.place} = ? WHERE {table.id} = ?", rows)
        database.executemany(
            "UPDATE model_versions SET storage_location = ? WHERE source = 'models:/' || ?", moved[_MODELS]
        )
    return str(Location(before))


def _rows(database: sqlite3.Connection, table: _Places, experiment: int, root: str) -> list[tuple[str, str]]:
    """Where the artifacts lie now and whose they are, of those that were moved."""
    found = database.execute(
        f"SELECT {table.place}, {table.id} FROM {table.name} WHERE experiment_id = ?", (experiment,)
    )
    places = [(recorded, f"{root}/{table.folder.format(one)}", one) for recorded, one in found]
    return [(here, one) for recorded, here, one in places if _moved(recorded, here)]


def _moved(recorded: str, here: str) -> bool:
    return recorded != here and (_gone(recorded) or _path(here).is_dir())


def _gone(recorded: str) -> bool:
    return recorded.startswith(("file:", "/")) and not _path(recorded).exists()


def _path(uri: str) -> Path:
    return Path(local_file_uri_to_path(uri))  # type: ignore[no-untyped-call]
