"""Where the artifacts of a store on this machine lie, also after its folder was moved, copied or mounted elsewhere.

MLflow writes absolute places into its database. Those of an experiment lie under ``artifacts`` in storage, each run's
in a folder named by its id, so they are found there, wherever that is now.
"""

from collections.abc import Callable

from mlflow.entities import Run

from rsrl_ray.store.location import Location
from rsrl_ray.store.storage import artifact_place
from rsrl_ray.tracking.mlflow_insides import is_gone, local_path, rewrite_places
from rsrl_ray.tracking.stores import asked

# The folder of an id, below the experiment's artifacts.
_RUN_FOLDER = "{}/artifacts"
_MODEL_FOLDER = "models/{}/artifacts"


def default_root(uri: str) -> str | None:
    """URI of the artifacts' folder beside a SQLite store, where `rsrl sweep` puts it; None for other stores."""
    file = Location(uri).database
    return None if file is None else artifact_place(str(file.absolute().parent))


def run_place(run: Run, root: str | None) -> str:
    """The URI of a run's artifacts. root : URI of the experiment's artifacts here; None if a server knows."""
    return _here(str(run.info.artifact_uri), _RUN_FOLDER.format(run.info.run_id), root)


def model_place(model_id: str, recorded: str, root: str | None) -> str:
    """The URI of a logged model's files; root : as in `run_place`."""
    return _here(recorded, _MODEL_FOLDER.format(model_id), root)


def _here(recorded: str, tail: str, root: str | None) -> str:
    if root is None or not root.startswith("file:"):
        return recorded
    place = f"{root.rstrip('/')}/{tail}"
    return place if _moved(recorded, place) else recorded


def mend(uri: str, experiment_id: str, artifacts: str | None, say: Callable[[str], None]) -> None:
    """Write into MLflow's database on this machine where the artifacts lie, if they were moved.

    They were moved if what the database names is gone, or lies under ``artifacts`` as well (a copy). MLflow's UI,
    `mlflow models serve` and new runs go where the database says.
    """
    file = Location(uri).database
    if file is None or artifacts is None or not artifacts.startswith("file:"):
        return

    def place_of(folder: str) -> Callable[[str, str], str]:
        return lambda one, recorded: _here(recorded, folder.format(one), artifacts)

    with asked(uri, "where artifacts lie"):
        before = rewrite_places(file, experiment_id, artifacts, place_of(_RUN_FOLDER), place_of(_MODEL_FOLDER))
    if before is not None:
        said = f"MLflow's database now says that they lie in {artifacts}, no longer in {Location(before)}"
        say(f"the results were moved: {said}")


def _moved(recorded: str, here: str) -> bool:
    return recorded != here and (is_gone(recorded) or local_path(here).is_dir())
