"""The files of highlight maps: their names, the rows of `highlights.csv`, maps and overlays."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.config import Experiment
from rsrl_ray.core.edges import edge_map
from rsrl_ray.core.highlight import Highlight, agreement, differs, likeness
from rsrl_ray.maps.overlay import covered, overlay
from rsrl_ray.maps.subject import Question, Subject
from rsrl_ray.photos.picture import decode_photo
from rsrl_ray.store.file_names import file_names


@dataclass(frozen=True)
class PhotoMaps:
    """The maps of a photo: of the two rounds, of random weights, and of the control (None if there is no control)."""

    map: Highlight
    random: Highlight
    control: Highlight | None = None


COLUMNS = {
    "photo": "object",
    "fold": "int64",
    "method": "object",
    "round": "int64",
    "against": "int64",
    "J": "Int64",
    "correlation": "float64",
    "null_J": "Int64",
    "null_correlation": "float64",
    "agreement": "float64",
    "reason": "object",
    "map": "object",
    "null_map": "object",
    "edges": "float64",
    "random": "float64",
    "random_edges": "float64",
    "differs": "boolean",
    "edge_map": "object",
    "random_map": "object",
}
"""The columns of ``highlights.csv`` and their types.

agreement : rank correlation of the map with its control. edges, random : how similar the map is to the photo's edges
and to the map of random weights. random_edges : how similar the map of random weights is to the edges. All three are
`core.highlight.likeness`. differs : from both control and edges, see `core.highlight.differs`.
"""

EDGES, NULL, RANDOM = ".edges", ".null", ".random"  # how the names of a photo's other files end


@dataclass(frozen=True)
class LoadedPhoto:
    """A photo's bytes, and its pixels at the size that the network takes, [S, S, 3]."""

    name: str
    data: bytes
    pixels: NDArray[np.uint8]


def row(subject: Subject, name: str, **known: Any) -> dict[str, Any]:
    """One row of ``highlights.csv``; what is not ``known`` is missing."""
    missing = {column: "" if kind == "object" else None for column, kind in COLUMNS.items()}
    asked = {"fold": subject.run.fold, "method": subject.run.method}
    return missing | asked | {"photo": name, "round": subject.number, "against": subject.against} | known


class HighlightFiles:
    """Writes the maps of one subject into ``highlights/fold<f>-<method>-<I>-<I-k>[-<option>]`` of a folder."""

    def __init__(
        self, out: Path, experiment: Experiment, question: Question, subject: Subject, photos: Iterable[str]
    ) -> None:
        """``photos`` : the names of the photos that are asked for."""
        run, conv1 = subject.run, subject.pair.later
        method = file_names(experiment.method_names())[run.method]
        words = [f"fold{run.fold}", method, f"{subject.number:02d}", f"{subject.against:02d}"]
        options = {"relu": question.after_relu, "absolute": question.absolute, "shared": question.shared_map}
        self._folder = "/".join(["highlights", "-".join(words + [word for word, on in options.items() if on])])
        self._names = file_names(photos, folders=True, ends=("", EDGES, NULL, RANDOM))
        self._out, self._subject, self._absolute = out, subject, question.absolute
        self._window = conv1.weight.shape[2:], conv1.stride, conv1.padding
        self._box = covered(experiment.network.image_size, *self._window)
        self._first = next(iter(self._names), "")
        (out / self._folder).mkdir(parents=True, exist_ok=True)

    def write(self, photo: LoadedPhoto, found: PhotoMaps) -> dict[str, Any]:
        """Write the maps of one photo, and return its row. Several threads may call it at once."""
        if found.map.map is None:
            return row(self._subject, photo.name, reason=found.map.reason)
        try:
            pixels = decode_photo(photo.data, None)
        except ValueError as error:
            return row(self._subject, photo.name, reason=str(error))
        name = f"{self._folder}/{self._names[photo.name]}"
        known: dict[str, Any] = {"J": found.map.J, "correlation": found.map.correlation, "map": name}
        values = self._write_map(name, pixels, found.map.map)
        edges = self._write_map(f"{name}{EDGES}", pixels, edge_map(photo.pixels, *self._window))
        known |= {"reason": self._subject.no_control, "edges": likeness(values, edges), "edge_map": f"{name}{EDGES}"}
        if found.control is not None:
            known |= self._against(found.control, values, name, pixels)
        if found.random.map is not None:
            random = self._values(found.random.map)
            known |= {"random": likeness(values, random), "random_edges": likeness(random, edges)}
            if photo.name == self._first:
                self._write_map(f"{name}{RANDOM}", pixels, random)
                known["random_map"] = f"{name}{RANDOM}"
        known["differs"] = differs(known.get("agreement", math.nan), known["edges"])
        return row(self._subject, photo.name, **known)

    def _against(
        self, control: Highlight, values: NDArray[np.float64], name: str, pixels: NDArray[np.uint8]
    ) -> dict[str, Any]:
        """Write the control of the map ``values``. Returns what the row says of it."""
        if control.map is None:
            return {"reason": f"no control: {control.reason}"}
        null = self._write_map(f"{name}{NULL}", pixels, control.map)
        known = {"null_J": control.J, "null_correlation": control.correlation, "null_map": f"{name}{NULL}"}
        return known | {"agreement": agreement(values, null)}

    def _values(self, difference: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.abs(difference) if self._absolute else difference

    def _write_map(self, name: str, pixels: NDArray[np.uint8], difference: NDArray[np.float64]) -> NDArray[np.float64]:
        values = self._values(difference)
        path = self._out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path.with_name(f"{path.name}.npy"), values)
        overlay(pixels, values, self._box).save(path.with_name(f"{path.name}.png"), compress_level=4)
        return values
