"""Reads an `Experiment` from YAML, the command line and Python, with jsonargparse."""

import dataclasses
import functools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from rsrl_ray import config
from rsrl_ray.config import NAMED_WEIGHTS, check
from rsrl_ray.core.own import is_own, module_of, source_of
from rsrl_ray.knob_errors import in_words
from rsrl_ray.store.location import Location, sqlite_uri

NAMES = {"network.weights": NAMED_WEIGHTS, "mlflow": ("databricks", "databricks-uc", "uc")}  # these are not paths
TABLE_ENDS = (".csv", ".parquet", ".txt")  # suffixes of tables of photos


def experiment_parser(**kwargs: Any) -> ArgumentParser:
    """A parser of all knobs of an experiment. Its help are the docstrings of `rsrl_ray.config`."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True, unset_sentinel=True)
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False, **kwargs)
    parser.add_class_arguments(config.Experiment)
    return parser


def read_experiment(file: str | Path, overrides: Sequence[str] = ()) -> config.Experiment:
    """Read and check an experiment file. overrides : words of the command line, such as ``--rounds 3``.

    Paths in the file, also that of ``mlflow``, are relative to the file. Paths in overrides are relative to the working
    folder.

    Raises
    ------
    ValueError
        If the file cannot be read, or if a knob is unknown, missing, out of its range or contradicts another.
    """
    parser = _parser()
    return as_experiment(parse(file, overrides, parser), parser)


def names_photos(file: Path) -> bool:
    """Whether a YAML file is an experiment file: it has the knob ``photos``, and other files do not."""
    return file.is_file() and bool(re.search(rb"^photos\s*:", file.read_bytes(), re.MULTILINE))


@functools.cache
def _parser() -> ArgumentParser:
    """The parser is made once, because making it takes longer than reading a file."""
    return experiment_parser()


class Experiment(config.Experiment):
    """An experiment that is made in Python. It is checked as a file is."""

    def __init__(self, photos: str | Path, name: str | None = None, **knobs: Any) -> None:
        """Photos and knobs as in an experiment file, see `rsrl_ray.config.Experiment`; groups may be dictionaries.

        name : by default the names of the photos' folder and table. Paths are relative to the working folder.

        Raises
        ------
        ValueError
            As `read_experiment`.
        """
        name = _name_of(Path(photos)) if name is None else name
        made = read_knobs({"photos": photos, "name": name, **knobs})
        for knob in dataclasses.fields(made):
            object.__setattr__(self, knob.name, getattr(made, knob.name))

    @classmethod
    def read(cls, file: str | Path, knobs: Mapping[str, Any]) -> "Experiment":
        """Read a file and replace knobs of it. Paths in ``knobs`` are relative to the working folder."""
        found = read_knobs(knobs, parse(file, (), _parser()))
        return cls(**{knob.name: getattr(found, knob.name) for knob in dataclasses.fields(found)})


def given(experiment: object) -> config.Experiment:
    """The experiment that a user gave. Raises ValueError if it is something else, such as the name of a file."""
    if isinstance(experiment, config.Experiment):
        return experiment
    if isinstance(experiment, str | os.PathLike):
        file = os.fspath(experiment)
        raise ValueError(f"{file}: this is the name of a file, not an experiment; give rsrl.read({file!r})")
    raise ValueError(f"{experiment!r:.80}: not an experiment; give rsrl.read(FILE) or rsrl.Experiment(PHOTOS, ...)")


def revision_of(knobs: Mapping[str, Any]) -> config.Revision:
    """The group ``revision`` of these knobs, checked as in a file. Raises ValueError."""
    return read_knobs({"name": "any", "photos": ".", "methods": {"none": {}}, "revision": knobs}).revision


def read_knobs(knobs: Mapping[str, Any], base: Namespace | None = None) -> config.Experiment:
    """The checked experiment of knobs in Python; groups are dictionaries or dataclasses.

    base : knobs of `parse`, which ``knobs`` replace. Raises ValueError as `read_experiment` does.
    """
    _check_groups(knobs)
    parser = _parser()
    try:
        found = parser.parse_object(_nested(knobs), namespace=base, defaults=True)
    except (ArgumentError, TypeError) as error:
        raise ValueError(in_words(error)) from error
    _resolve(found, Path.cwd())
    return as_experiment(found, parser)


def _check_groups(knobs: Mapping[str, Any] | Namespace) -> None:
    """Raise ValueError for a group that is given as something else, such as ``training: 3``."""
    for field in dataclasses.fields(config.Experiment):
        group, value = field.default_factory, knobs.get(field.name, {})
        is_given = isinstance(value, Mapping | Namespace) or dataclasses.is_dataclass(value)
        if dataclasses.is_dataclass(group) and not is_given:
            first = dataclasses.fields(group)[0]
            raise ValueError(f"{field.name}: {value!r}; give its knobs, such as {{{first.name!r}: {first.default!r}}}")


def _nested(value: Any) -> Any:
    """A value as YAML would have it: groups and rules of this package are dictionaries, and paths are text."""
    of_ours = type(value).__module__.startswith(f"{__package__}.")
    if of_ours and dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {key: _nested(item) for key, item in value.items()}
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _name_of(photos: Path) -> str:
    """The name for photos: ``cats-photos`` for ``cats/photos.csv``; for a folder, its own name."""
    place = photos.absolute()
    return plain_name(place.name if place.is_dir() else f"{place.parent.name}-{place.stem}")


def plain_name(text: str) -> str:
    """A name for an experiment that is as near to the text as MLflow and all disks allow."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-") or "photos"


def parse(file: str | Path, overrides: Sequence[str], parser: ArgumentParser) -> Namespace:
    """The file's knobs, with the overrides in place of them, as a namespace of ``parser``."""
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"{file}: there is no such experiment file")
    if path.suffix.lower() in TABLE_ENDS:
        raise ValueError(
            f"{file}: this is a table of photos; give an experiment file (`rsrl init {file}` writes one), or in Python "
            f"rsrl.Experiment({str(file)!r}, ...)"
        )
    try:
        knobs = parser.parse_path(path, defaults=True)
    except (ArgumentError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{file}: {in_words(error)}") from error
    _resolve(knobs, path.resolve().parent)
    try:
        knobs = parser.parse_args(list(overrides), namespace=knobs)
    except (ArgumentError, TypeError) as error:
        raise ValueError(f"{' '.join(overrides)}: {in_words(error)}") from error
    _resolve(knobs, Path.cwd())
    return knobs


def as_experiment(knobs: Namespace, parser: ArgumentParser) -> config.Experiment:
    """The checked experiment of a namespace of `parse`."""
    from rsrl_ray.method import methods_of  # here, because it imports NumPy, which --help does not need

    _check_groups(knobs)
    built = vars(parser.instantiate(knobs))
    values = {field.name: built[field.name] for field in dataclasses.fields(config.Experiment)}
    if values["network"].image_size == "auto":
        values["network"] = _sized(values["network"])
    experiment: config.Experiment = _plain(config.Experiment(**values))
    check(experiment)
    methods_of(experiment)
    return experiment


def _sized(network: config.Network) -> config.Network:
    """With the size that the network was made for, which the keys hold. Raises ValueError if it is not known."""
    from rsrl_ray.vision.encoders import usual_size  # torch, which no other file waits for

    return dataclasses.replace(network, image_size=usual_size(network.backbone))


def _resolve(knobs: Namespace, folder: Path) -> None:
    """Make the paths in the knobs absolute. URIs and names stay as they are."""
    for knob in ("photos", "storage", "network.weights", "mlflow"):
        value = knobs[knob]
        if value is None or value in NAMES.get(knob, ()):
            continue
        knobs[knob] = _store(value, folder) if knob == "mlflow" else _path(value, folder)
        try:
            knobs[knob].encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{knob}: {value!r} is not UTF-8, but MLflow needs UTF-8; rename the folder") from error
    sources = {name: source_of(name, folder) for name in _own_modules(knobs) if name not in knobs.modules}
    knobs.modules = knobs.modules | {name: source for name, source in sources.items() if source is not None}


def _own_modules(knobs: Namespace) -> Iterator[str]:
    """The modules that methods name by import paths."""
    for name, method in knobs.methods.items():
        for part in (method.get("revise"), method.get("loss")):
            if isinstance(part, Mapping) and is_own(part):
                try:
                    yield from (module_of(path) for path in part if "." in path)
                except ValueError as error:
                    raise ValueError(f"methods.{name}: {error}") from error


def _path(value: str, folder: Path) -> str:
    """The absolute path, also of a file:// URI; other URIs stay as they are."""
    if re.match("file:///", value, re.IGNORECASE):
        value = unquote(urlsplit(value, allow_fragments=False).path)
    if Location(value).is_uri:
        return value
    return str((folder / os.path.expanduser(value)).resolve())


def _store(value: str, folder: Path) -> str:
    """MLflow's store with an absolute path, if it is an SQLite file or the folder of a file store."""
    database = Location(value).database
    if database is not None:
        _, mark, options = value.partition("?")
        return value if database.is_absolute() else f"{sqlite_uri(_place(value, database, folder))}{mark}{options}"
    if re.match(r"file:(?!//)", value, re.IGNORECASE):
        value = unquote(value[len("file:") :])
    if re.match("[a-zA-Z][a-zA-Z0-9+.-]*:", value):  # a server, a database or another kind of store
        return value
    return _place(value, Path(os.path.expanduser(value)), folder).as_uri()


def _place(value: str, path: Path, folder: Path) -> Path:
    """The path of a store in ``folder``. Version 0.1 took it from the working folder; such a store is refused."""
    place, before = (folder / path).resolve(), path.resolve()
    if before.exists() and not place.exists():
        raise ValueError(
            f"mlflow: {value} is relative to the experiment file, so it means {place}, but the store is {before}; move "
            "the store there, or write its absolute path into the experiment file"
        )
    return place


def _plain(value: Any) -> Any:
    """The value with plain numbers and strings, not jsonargparse's own ones, so that each process can unpickle it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **parts)
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    kind = next((kind for kind in (bool, int, float, str) if isinstance(value, kind)), None)
    return value if kind is None else kind(value)
