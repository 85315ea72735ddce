"""Takes registered models out of MLflow's registry to score photos."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from yaml import YAMLError

from rsrl_ray import served
from rsrl_ray.core.errors import first_line, system_words
from rsrl_ray.photos.decoding import Progress
from rsrl_ray.photos.formats import picture_suffixes
from rsrl_ray.store.location import URI, Location, redacted
from rsrl_ray.tracking.places import default_root, model_place
from rsrl_ray.tracking.stores import asked, open_to_read

LOADER = served.__name__
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PHOTOS_AT_ONCE = 256  # photos between two updates of the progress


@dataclass(frozen=True)
class Loaded:
    """A model that scores photos. network : its method, fold, round and macro F, for people."""

    uri: str
    model: served.ScoringModel
    network: str


@dataclass(frozen=True)
class Asked:
    """Photos to score.

    names : [N], for the table. sources : [N], paths or URIs. ignored : how many files are no pictures.
    """

    names: tuple[str, ...]
    sources: tuple[str, ...]
    ignored: int


@contextlib.contextmanager
def open_store(uri: str) -> Iterator[MlflowClient]:
    """MLflow's client of a store. During the body MLflow's own functions use this store too.

    Raises
    ------
    ValueError
        If there is no store, or MLflow refuses what the body does.
    """
    opened = open_to_read(uri, f"there is no MLflow store {Location(uri)}; `rsrl sweep` and `rsrl register` make one")
    process: Any = mlflow  # its annotations are not complete
    before = mlflow.get_tracking_uri() if process.is_tracking_uri_set() else None
    process.set_tracking_uri(uri)
    try:
        with asked(uri):
            yield opened
    finally:
        process.set_tracking_uri(before)


def find_model(client: MlflowClient, model: str | None) -> str:
    """MLflow's URI of a model.

    model : NAME (its newest version), NAME/VERSION, NAME@ALIAS, a URI that MLflow takes as it is, or None for the only
    model of the registry.

    Raises
    ------
    ValueError
        If there is no such model, or ``model`` is None and there are several.
    """
    if model is not None and re.match(r"\w+:/", model):
        return model
    names = [found.name for found in client.search_registered_models()]
    there = f"there are {', '.join(names)}" if names else "there is none, `rsrl register` makes one"
    if model is None and len(names) != 1:
        raise ValueError(f"name a model by --model; {there}")
    text = names[0] if model is None else model
    mark = "@" if "@" in text else "/"
    name, _, which = text.partition(mark)
    if which:
        return f"models:/{name}{mark}{which}"
    known = MODEL_NAME.fullmatch(name)
    versions = [int(found.version) for found in client.search_model_versions(f"name = '{name}'")] if known else []
    if not versions:
        raise ValueError(f"there is no model {name!r} in {redacted(client.tracking_uri)}; {there}")
    return f"models:/{name}/{max(versions)}"


def load_model(model: str | None, store: str | None, root: str | None = None) -> Loaded:
    """Load a model.

    model : a folder that holds a model, or as in `find_model`. store : MLflow's store of the model, if it is no folder.
    root : URI of the folder with the store's artifacts; if the store is a database, by default it is beside it.

    Raises
    ------
    ValueError
        If there is no such model, it is damaged, or `rsrl register` has not made it.
    """
    if model is not None and Path(model, "MLmodel").is_file():
        return _load(model, model)
    if store is None:
        raise ValueError(
            "say where the model is registered: give the experiment file by --experiment FILE, or the store's URI in "
            "the environment variable MLFLOW_TRACKING_URI"
        )
    with open_store(store) as client, tempfile.TemporaryDirectory(prefix="rsrl-") as folder:
        uri = find_model(client, model)
        try:
            place = _place(client, uri, root or default_root(store))
            return _load(uri, mlflow.artifacts.download_artifacts(artifact_uri=place, dst_path=folder))
        except (MlflowException, OSError) as error:
            raise ValueError(f"model {uri}: {redacted(str(error))}") from error


def _place(client: MlflowClient, uri: str, root: str | None) -> str:
    """The URI of a registered model's files, also if they were moved; other URIs stay, for MLflow to read."""
    name, mark, which = uri.removeprefix("models:/").partition("@")
    if not mark:
        name, mark, which = name.rpartition("/")
    if root is None or not uri.startswith("models:/") or not mark:
        return uri
    version = client.get_model_version_by_alias(name, which) if mark == "@" else client.get_model_version(name, which)
    source = str(version.source)
    if not source.startswith("models:/"):
        return uri
    model = client.get_logged_model(source.removeprefix("models:/"))
    return model_place(model.model_id, model.artifact_location, root)


def _load(uri: str, folder: str) -> Loaded:
    """Load the model in ``folder``. After that the folder is not needed.

    Only its data is read, by the code that is installed here. The code in the folder does not run, because anybody
    with access may have changed it.
    """
    try:
        described = Model.load(folder)
        flavor = described.flavors.get("python_function", {})
        made_here = flavor.get("loader_module") == LOADER
    except (MlflowException, YAMLError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"model {uri}: its MLmodel is damaged ({first_line(error)})") from error
    if not made_here:
        raise ValueError(f"model {uri}: it was not made by `rsrl register`; give one that was")
    root = Path(folder).resolve()
    data = root / str(flavor.get("data"))
    files = [(data / name).resolve() for name in (served.WEIGHTS_FILE, served.SETTINGS_FILE)]
    if not all(file.is_relative_to(root) and file.is_file() for file in files):
        raise ValueError(f"model {uri}: its weights or settings are not in its folder")
    try:
        model = served.load(data)
    except ValueError as error:
        raise ValueError(f"model {uri}: {error}") from error
    return Loaded(uri, model, str((described.metadata or {}).get("network", "")))


def find_photos(asked: Sequence[str]) -> Asked:
    """The photos that are asked for. A folder stands for all files below it with the suffix of a picture, sorted.

    The photos of a folder have names relative to it. If more is asked for than one folder, its path comes first.

    Raises
    ------
    ValueError
        If a folder cannot be read or holds no picture.
    """
    names, sources, ignored = [], [], 0
    for place in asked:
        if URI.match(place) or not os.path.isdir(place):
            names.append(place)
            sources.append(place)
            continue
        inside, others = _pictures(place)
        if not inside:
            raise ValueError(f"{place}: there are no pictures in this folder ({others} other files)")
        names += inside if len(asked) == 1 else [os.path.join(place, name) for name in inside]
        sources += [os.path.join(place, name) for name in inside]
        ignored += others
    return Asked(tuple(names), tuple(sources), ignored)


def score(model: served.ScoringModel, asked: Asked, progress: Progress | None = None) -> pd.DataFrame:
    """One row for each photo: its name as ``photo``, and the columns of `served.ScoringModel.predict`."""
    parts: list[pd.DataFrame] = []
    if progress is not None:
        progress("scoring", 0, len(asked.sources))
    for start in range(0, len(asked.sources), _PHOTOS_AT_ONCE):
        answer = model.predict(pd.DataFrame({served.PATH: asked.sources[start : start + _PHOTOS_AT_ONCE]}))
        parts.append(answer.astype(object))
        if progress is not None:
            progress("scoring", min(start + _PHOTOS_AT_ONCE, len(asked.sources)), len(asked.sources))
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "photo", list(asked.names))
    return table


def check_writable(file: Path) -> None:
    """Raises ValueError if a file cannot be written. Call it before the content is computed."""
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise ValueError(f"{file}: it cannot be written; give another place")


def _pictures(folder: str) -> tuple[list[str], int]:
    """The names of the pictures below a folder, relative to it and sorted, and the number of other files."""
    suffixes = picture_suffixes()
    names, others = [], 0
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.startswith("."):
                continue
            if os.path.splitext(name)[1].lower() in suffixes:
                names.append(os.path.relpath(os.path.join(place, name), folder))
            else:
                others += 1
    return sorted(names), others


def _refuse(error: OSError) -> None:
    raise ValueError(f"{error.filename}: it cannot be read ({system_words(error)})")
