"""The photos of a sweep: all nodes read and decode them once, and each node keeps a copy."""

import contextlib
import os
import queue
from collections.abc import Callable
from typing import Any

import ray
from numpy.typing import NDArray
from ray.actor import ActorHandle
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rsrl_ray.config import Experiment
from rsrl_ray.core.arrays import Pixels
from rsrl_ray.display import Display
from rsrl_ray.photos.decoding import HERE, Run
from rsrl_ray.photos.photo_set import PhotoSet, load_photos
from rsrl_ray.store.location import PHOTOS, Location, cache_folder
from rsrl_ray.sweep.nodes.room import called_on, living
from rsrl_ray.sweep.task import RowSource
from rsrl_ray.vision.encoders import decoder_of


class Spread(Run):
    """Runs functions on all nodes of the Ray, as many at a time as a node has cores; on this node 4 more, as `HERE`."""

    def __init__(self) -> None:
        mine = ray.get_runtime_context().get_node_id()
        here: list[str | None] = [None] * min(32, (os.cpu_count() or 1) + 4)  # a reader mostly waits
        places = here + [node.id for node in living() if node.id != mine for _ in range(node.count({"CPU": 1}))]
        self.threads = len(places)
        self._free = queue.SimpleQueue[str | None]()
        for place in places:
            self._free.put(place)

    def __call__(self, function: Callable[..., list[Pixels | str]], *arguments: Any) -> list[Pixels | str]:
        """Call it on a node with a free core; if that node cannot do it, because it lacks the file, it is done here."""
        place = self._free.get()
        try:
            found = None if place is None else _there(place, function, *arguments)
            return function(*arguments) if found is None else found
        finally:
            self._free.put(place)


def _there(node: str, function: Callable[..., list[Pixels | str]], *arguments: Any) -> list[Pixels | str] | None:
    """What the function returns on that node; None if it raises, finds a bad picture, or the node is gone."""
    try:
        found: list[Pixels | str] = ray.get(called_on(node, function, *arguments))
    except RayError:
        return None
    return None if any(isinstance(one, str) for one in found) else found


def row_source(opened: Callable[[], NDArray[Any] | None]) -> "ActorHandle[RowSource]":
    """A `RowSource` on this node, with the array that ``opened`` returns."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(RowSource)
    handle: ActorHandle[RowSource]
    handle = actor.options(num_cpus=0, max_concurrency=4, scheduling_strategy=here).remote(opened)
    return handle


def pixels_here(photos: PhotoSet, source: "ActorHandle[RowSource] | None") -> Pixels:
    """The photos' pixels, from this node's file. If it is not there, it is copied, or else decoded again."""
    if source is not None:
        with contextlib.suppress(RayError):
            return photos.pixels(lambda rows: list(ray.get(source.rows.remote(rows))))
    return photos.pixels()


def load(experiment: Experiment, display: Display, skip_bad: bool, joined: bool) -> PhotoSet:
    """Load the experiment's photos, decoded once into a cache in storage (or in the home folder, for a bucket).

    joined : whether this process has joined a cluster, whose nodes then all help.
    """
    with display.started("looking at the photos"):
        photos = load_photos(
            experiment.photos,
            decoder_of(experiment, Spread() if joined else HERE),
            cache_folder(Location(experiment.storage)) / PHOTOS,
            skip_bad=skip_bad,
            progress=display.progress,
        )
    for note in photos.notes:
        display.said(note, "note")
    if photos.problems:
        display.said(f"{len(photos.problems)} photos left out; left_out.txt in MLflow lists them.", "warning")
    return photos
