"""A cluster file, such as cluster.yaml, with the lines on which everything stands."""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_BUCKET = re.compile(r"\b(s3|gs)://([\w.-]+)")
Keys = tuple[str | int, ...]


@dataclass(frozen=True)
class Mistake:
    """Something wrong in a file: what, where, what to do.

    place : such as ``provider.region``, empty for the whole file.
    """

    line: int
    place: str
    message: str

    def __str__(self) -> str:
        where = ", ".join(part for part in (f"line {self.line}", self.place) if part)
        return f"{where}: {self.message}"


@dataclass(frozen=True)
class Bucket:
    """A bucket that a line of the file names: ``scheme`` is ``s3`` or ``gs``."""

    scheme: str
    name: str
    keys: Keys


@dataclass(frozen=True)
class ClusterFile:
    """The content of the file, and the same as PyYAML's nodes, which know their lines."""

    path: Path
    config: dict[str, Any]
    root: yaml.Node

    def mistake(self, keys: Keys, message: str) -> Mistake:
        """A mistake at ``keys``, on their line, or on that of what holds them if they are not there."""
        return Mistake(_line(self.root, keys), _place(keys), message)

    @property
    def node_types(self) -> dict[str, dict[str, Any]]:
        """By name."""
        types: dict[str, dict[str, Any]] = self.config.get("available_node_types") or {}
        return types

    @property
    def head_type(self) -> str | None:
        """The name of the head's node type."""
        return self.config.get("head_node_type")

    @property
    def mounts(self) -> dict[str, str]:
        """Paths on the nodes, and what is copied there."""
        given = self.config.get("file_mounts") or {}
        return {str(remote): local for remote, local in given.items() if isinstance(local, str)}

    def texts(self) -> Iterator[tuple[Keys, str]]:
        """Every text in the file."""
        return _texts((), self.config)

    def buckets(self) -> list[Bucket]:
        """The buckets that the file names, in its order."""
        return [Bucket(found[1], found[2], keys) for keys, text in self.texts() for found in _BUCKET.finditer(text)]


def read_cluster_file(path: Path) -> ClusterFile:
    """Read a cluster file.

    Raises
    ------
    ValueError
        In one line: it cannot be read, is no YAML, or is no cluster file.
    """
    try:
        text = path.read_text()
        config, root = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"{path}, line {line}: not YAML ({error.problem or error.context})") from error
    if not isinstance(config, dict) or root is None or not {"cluster_name", "provider"} & config.keys():
        raise ValueError(
            f"{path}: not a cluster file, which has a cluster_name and a provider; mistakes in an experiment file are "
            "told by `rsrl sweep`, before anything trains"
        )
    return ClusterFile(path, config, root)


def meant(word: object, known: Iterable[str]) -> str:
    """The known word that may be meant, as the end of a sentence; empty if there is none like it."""
    near = difflib.get_close_matches(str(word), list(known), 1)
    return f"; do you mean {near[0]}?" if near else ""


def _line(node: yaml.Node, keys: Keys) -> int:
    line = node.start_mark.line
    for key in keys:
        found = _child(node, key)
        if found is None:
            break
        line, node = found
    return int(line) + 1


def _child(node: yaml.Node, key: str | int) -> tuple[int, yaml.Node] | None:
    """What stands under a key, and its line; also if it is merged in (``<<: *other``)."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key].start_mark.line, node.value[key]
    if not isinstance(node, yaml.MappingNode):
        return None
    for name, value in node.value:
        if name.value == str(key):
            return name.start_mark.line, value
    merged = [value for name, value in node.value if name.value == "<<"]
    return next((found for value in merged if (found := _child(value, key)) is not None), None)


def _place(keys: Keys) -> str:
    return "".join(f"[{key + 1}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def _texts(keys: Keys, value: object) -> Iterator[tuple[Keys, str]]:
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts((*keys, str(name)), inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts((*keys, number), inner)
