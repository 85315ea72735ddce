"""Where the artifacts of a store on this machine lie, also after its folder was moved, copied or mounted elsewhere.

MLflow writes absolute places into its database. Those of an experiment lie under ``artifacts`` in storage, each run's
in a folder named by its id, so they are found there, wherever that is now.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from mlflow.entities import Run

from rsrl_ray.store.location import Location
from rsrl_ray.store.storage import artifact_place
from rsrl_ray.tracking.mlflow_insides import MODELS, RUNS, PlacesInDatabase, PlaceTable, local_path
from rsrl_ray.tracking.stores import asked


def default_root(uri: str) -> str | None:
    """URI of the artifacts' folder beside a SQLite store, where `rsrl sweep` puts it; None for other stores."""
    file = Location(uri).database
    return None if file is None else artifact_place(str(file.absolute().parent))


def run_place(run: Run, root: str | None) -> str:
    """The URI of a run's artifacts. root : URI of the experiment's artifacts here; None where a server knows."""
    return _here(str(run.info.artifact_uri), RUNS.folder.format(run.info.run_id), root)


def model_place(model_id: str, recorded: str, root: str | None) -> str:
    """The URI of a logged model's files; root : as in `run_place`."""
    return _here(recorded, MODELS.folder.format(model_id), root)


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
    with PlacesInDatabase.opened(file, experiment_id) as known:
        before = known.root
        runs, models = (_moved_to(known.of(table), table, root) for table in (RUNS, MODELS))
        if before == root or not (_gone(before) or runs or models):
            return None
        known.write(root, runs, models)
    return str(Location(before))


def _moved_to(recorded: Mapping[str, str], table: PlaceTable, root: str) -> dict[str, str]:
    """By id, where the artifacts lie now, of those that were moved."""
    here = {one: f"{root}/{table.folder.format(one)}" for one in recorded}
    return {one: here[one] for one, before in recorded.items() if _moved(before, here[one])}


def _moved(recorded: str, here: str) -> bool:
    return recorded != here and (_gone(recorded) or local_path(here).is_dir())


def _gone(recorded: str) -> bool:
    return recorded.startswith(("file:", "/")) and not local_path(recorded).exists()
