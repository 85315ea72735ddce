"""The features of a sweep whose network is frozen in part: made once, by all nodes, and held once a node."""

import queue
from dataclasses import replace
from functools import cached_property
from typing import Any

import ray
from numpy.typing import NDArray
from ray.exceptions import RayActorError, RayError, RayTaskError
from rich.console import Console

from rsrl_ray.store.location import Location
from rsrl_ray.sweep.photos import cache_folder, pixels_here, row_source
from rsrl_ray.sweep.task import FeatureSource, Task
from rsrl_ray.terminal import photo_progress
from rsrl_ray.vision.features import FeatureFiles, FeatureMaker, parts
from rsrl_ray.vision.on_device import OutOfMemory
from rsrl_ray.vision.reproducible import device_kind
from rsrl_ray.vision.row_file import RowFile

PARTS_A_WORKER = 8  # so that no worker waits long for the last one
PART = 1024  # photos at most
OTHERS_S = 60.0  # how long the first worker waits for the others


class FeatureWorker:
    """An actor with the resources of a trial, which passes photos through the frozen layers."""

    def __init__(self, task: Task) -> None:
        self._task = task

    @cached_property
    def _maker(self) -> FeatureMaker:
        return _maker(self._task)

    @cached_property
    def _pixels(self) -> NDArray[Any]:
        return pixels_here(self._task.photos, self._task.source)

    def kind(self) -> str:
        """The kind of its device."""
        return device_kind(self._task.device)

    def features(self, rows: range) -> NDArray[Any]:
        """Of these photos, [K, ...]."""
        return self._maker.features(self._pixels[rows.start : rows.stop])


class _Workers:
    """All that have one kind of device and are ready; each does one part at a time."""

    def __init__(self, task: Task) -> None:
        experiment, shared = task.experiment, ray.put(task)
        actor: Any = ray.remote(FeatureWorker)
        wanted = {"num_cpus": experiment.resources.cpus, "num_gpus": float(experiment.resources.gpus)}
        options = actor.options(**wanted, scheduling_strategy="SPREAD")
        self._all = [options.remote(shared) for _ in range(_room(wanted["num_cpus"], wanted["num_gpus"]))]
        kinds = {worker.kind.remote(): worker for worker in self._all}
        [first], _ = ray.wait(list(kinds))
        ready, _ = ray.wait(list(kinds), num_returns=len(kinds), timeout=OTHERS_S)
        self.kind: str = ray.get(first)
        self._free = queue.SimpleQueue[Any]()
        mine = [kinds[one] for one in ready if ray.get(one) == self.kind]
        self.count, self._dead = len(mine), 0
        for worker in mine:
            self._free.put(worker)

    def features(self, rows: range) -> NDArray[Any]:
        """See `FeatureWorker.features`."""
        worker = self._free.get()
        if worker is None:
            self._free.put(None)  # for the next one that waits
            raise ValueError("all workers that passed photos through the frozen layers have died; try again")
        try:
            found: NDArray[Any] = ray.get(worker.features.remote(rows))
        except RayActorError:  # its node is gone, or its process: the others do its part
            self._dead += 1
            if self._dead == self.count:
                self._free.put(None)
            return self.features(rows)
        except RayTaskError as error:
            self._free.put(worker)
            raise error.cause from None
        self._free.put(worker)
        return found

    def close(self) -> None:
        """Free what they have taken."""
        for worker in self._all:
            ray.kill(worker)


def with_features(task: Task, console: Console, joined: bool) -> Task:
    """Have the features on this node, and where the Ray was ``joined`` a source that other nodes copy them from.

    Raises
    ------
    ValueError
        Where a worker cannot make them, or they cannot be kept.
    """
    files = _files(task)
    file = files.find(device_kind(task.device) if task.device == "cpu" else None) or _made_by_all(task, files, console)
    return replace(task, features=FeatureSource(file.path.name, row_source(file.open)) if joined else None)


def _made_by_all(task: Task, files: FeatureFiles, console: Console) -> RowFile:
    workers = _Workers(task)
    groups = parts(files.count, max(PARTS_A_WORKER * workers.count, files.count // PART))
    try:
        with photo_progress(console) as progress:
            file = files.file(workers.kind, workers.features(range(1)))
            file.write(lambda rows: list(workers.features(rows)), progress, None, workers.count, groups)
    except OutOfMemory as error:
        raise ValueError(f"the GPU's memory is full ({error}); try a larger share of it by resources.gpus") from error
    finally:
        workers.close()
    return file


def features_here(task: Task) -> NDArray[Any]:
    """The features [N, ...], a read-only memory map that all processes of a node share.

    Where the file is not on this node it is copied from the node of the driver, or, where that has another kind of
    device, made here.
    """
    files, kind = _files(task), device_kind(task.device)
    file = files.find(kind) or _copied(task, files, kind) or _made_here(task, files)
    rows = file.open()
    assert rows is not None, file
    return rows


def _copied(task: Task, files: FeatureFiles, kind: str) -> RowFile | None:
    if task.features is None:
        return None
    source = task.features.rows
    try:
        first: Any = ray.get(source.rows.remote(range(1)))
        file = files.file(kind, first)
        if file.path.name != task.features.name:
            return None
        file.write(lambda rows: list(ray.get(source.rows.remote(rows))))
    except RayError:
        return None
    return file


def _made_here(task: Task, files: FeatureFiles) -> RowFile:
    maker, pixels = _maker(task), pixels_here(task.photos, task.source)
    groups = parts(files.count, files.count // PART)
    file = files.file(maker.kind, maker.features(pixels[:1]))
    file.write(lambda rows: list(maker.features(pixels[rows.start : rows.stop])), threads=1, parts=groups)
    return file


def _maker(task: Task) -> FeatureMaker:
    experiment, classes = task.experiment, len(task.photos.classes)
    return FeatureMaker(experiment.network, experiment.training, classes, task.start, task.device)


def _files(task: Task) -> FeatureFiles:
    experiment = task.experiment
    return FeatureFiles(
        cache_folder(Location(experiment.storage)) / "features",
        task.photos.fingerprint,
        task.frozen,
        len(task.photos.images),
        experiment.network,
        experiment.training,
        task.device,
    )


def _room(cpus: float, gpus: float) -> int:
    """How many such workers all nodes of this Ray have room for; one more comes where there is none yet."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    rooms = [min(node.get("CPU", 0) / cpus, node.get("GPU", 0) / gpus if gpus else float("inf")) for node in nodes]
    return max(1, sum(map(int, rooms)))
