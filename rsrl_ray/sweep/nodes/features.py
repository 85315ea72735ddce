"""The features of a sweep whose network is partly frozen: all nodes make them once, and each node keeps a copy."""

import contextlib
import queue
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ray
from numpy.typing import NDArray
from ray.exceptions import RayError, RayTaskError

from rsrl_ray.core.trial import Device
from rsrl_ray.display import Display
from rsrl_ray.identity import GivenFeatures, features_key
from rsrl_ray.photos.row_file import RowFile
from rsrl_ray.store.holders import data_holder, hold_file
from rsrl_ray.store.location import FEATURES, Location, cache_folder
from rsrl_ray.sweep.nodes.devices import device_here
from rsrl_ray.sweep.nodes.photos import pixels_here, row_source
from rsrl_ray.sweep.nodes.room import living, wait_for_room, wanted
from rsrl_ray.sweep.task import FeatureSource, Task
from rsrl_ray.vision.evaluation import EVALUATION_BATCH
from rsrl_ray.vision.features import FeatureFiles, FeatureMaker, parts
from rsrl_ray.vision.memory import OutOfMemory

PARTS_A_WORKER = 8  # so that no worker waits long for the last one
PART = 1024  # photos at most
OTHER_WORKERS_S = 10.0  # how long the others are waited for when one worker is ready
RESTARTS = 3  # of a worker if its process or node dies


class FeatureWorker:
    """An actor with the resources of a trial, which passes photos through the frozen layers."""

    def __init__(self) -> None:
        self._task: Task | None = None

    def device(self, shared: "list[ray.ObjectRef[Task]]") -> Device:
        """Its device; after a restart it may be another one."""
        return device_here(ray.get(shared[0]))

    def features(self, shared: "list[ray.ObjectRef[Task]]", rows: range) -> tuple[str, NDArray[Any]]:
        """The name of its device, and the features of these photos, [K, ...]."""
        if self._task is None:  # not in the constructor: Ray would warn, because it keeps those arguments for a restart
            self._task = ray.get(shared[0])
            self._kind = device_here(self._task).kind
            self._maker, self._pixels = _maker(self._task), pixels_here(self._task.photos, self._task.source)
        return self._kind, self._maker.features(self._pixels[rows.start : rows.stop])


class _Workers:
    """The workers with the most common device; each makes the features of one part at a time."""

    def __init__(self, task: Task, most: int, display: Display) -> None:
        """Raises ValueError if no worker starts, or none can compute features."""
        resources, self._shared = task.experiment.resources, [ray.put(task)]
        actor: Any = ray.remote(FeatureWorker)
        options = actor.options(
            num_cpus=resources.cpus,
            num_gpus=float(resources.gpus),
            scheduling_strategy="SPREAD",
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
        )
        share = wanted(resources)
        room = max(1, sum(node.count(share) for node in living()))  # a cluster may still start one
        self._all = [options.remote() for _ in range(min(most, room))]
        try:
            devices = _ready(self._all, self._shared, display)
        except BaseException:
            self.close()
            raise
        self.kind = Counter(device.kind for device in devices.values()).most_common(1)[0][0]
        self.remarks = [remark for device in devices.values() for remark in device.remarks]
        self._free = queue.SimpleQueue[Any]()
        mine = [worker for worker, device in devices.items() if device.kind == self.kind]
        self.count = self._left = len(mine)
        for worker in mine:
            self._free.put(worker)

    def features(self, rows: range) -> NDArray[Any]:
        """The features of these photos, [K, ...], made by the next free worker, or by another one if that is lost.

        Raises
        ------
        ValueError
            If all workers are lost.
        """
        worker = self._free.get()
        if worker is None:
            self._free.put(None)  # for the next caller that waits
            raise ValueError("all workers that pass photos through the frozen layers have died; run the command again")
        try:
            kind, found = ray.get(worker.features.remote(self._shared, rows))
        except RayTaskError as error:
            self._free.put(worker)
            raise error.cause from None
        except RayError:
            kind = None
        if kind == self.kind:
            self._free.put(worker)
            return found  # type: ignore[no-any-return]
        self._left -= 1
        if not self._left:
            self._free.put(None)
        return self.features(rows)

    def close(self) -> None:
        """End the workers."""
        for worker in self._all:
            ray.kill(worker)


def _ready(workers: list[Any], shared: "list[ray.ObjectRef[Task]]", display: Display) -> dict[Any, Device]:
    """The devices of the workers that are ready, at most `OTHER_WORKERS_S` after the first one."""
    asked = {worker.device.remote(shared): worker for worker in workers}
    wait_for_room(list(asked), display)
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=OTHER_WORKERS_S)
    devices: dict[Any, Device] = {}
    cause: Exception = ValueError("no worker started that passes photos through the frozen layers; run again")
    for one in ready:
        try:
            devices[asked[one]] = ray.get(one)
        except RayTaskError as error:
            cause = error.cause
        except RayError:
            continue
    if not devices:
        raise cause
    return devices


def with_features(task: Task, display: Display, joined: bool) -> Task:
    """The task, with the features on this node; if the Ray was ``joined``, other nodes can copy them from here.

    Raises
    ------
    ValueError
        If a worker cannot make them, or the disk cannot keep them.
    """
    files, kind = _files(task), None
    if task.device == "cpu":
        here = device_here(task)
        kind = here.kind
        _tell(here.remarks, display)
    file = files.find(kind) or _made_by_all(task, files, display)
    record = file.record()
    assert record is not None, file
    hold_file(file.path, data_holder(task.experiment, task.sweep_id()))
    source = FeatureSource(file, record.fingerprint, row_source(file.open)) if joined else None
    return replace(task, features=source)


def _made_by_all(task: Task, files: FeatureFiles, display: Display) -> RowFile:
    try:
        workers = _Workers(task, len(parts(files.count, files.count)), display)
        _tell(workers.remarks, display)
        groups = parts(files.count, max(PARTS_A_WORKER * workers.count, files.count // PART))
        with contextlib.closing(workers), display.started("passing photos through the frozen layers"):
            first = workers.features(range(1))
            file = files.file(workers.kind, first.shape[1:], first.dtype.str)
            file.write(lambda rows: list(workers.features(rows)), display.progress, None, workers.count, groups)
    except OutOfMemory as error:
        raise ValueError(f"the GPU's memory is full ({error}); raise resources.gpus, the share of a GPU") from error
    return file


def _tell(remarks: Sequence[str], display: Display) -> None:
    for remark in remarks:
        display.said(remark, "note")


def features_here(task: Task) -> NDArray[Any]:
    """The features [N, ...], a read-only memory map that all processes of a node share.

    If the file is not on this node, it is copied from the node of the driver. If that node has another device, the
    features are made here.
    """
    files, kind = _files(task), device_here(task).kind
    file = files.find(kind) or _copied(task, files, kind) or _made_here(task, files, kind)
    rows = file.open()
    assert rows is not None, file
    return rows


def _copied(task: Task, files: FeatureFiles, kind: str) -> RowFile | None:
    if task.features is None:
        return None
    source = task.features
    rows_of: Any = source.rows.rows
    file = files.file(kind, source.file.shape, source.file.dtype)
    if file.path.name != source.file.path.name:
        return None
    try:
        file.write(lambda rows: list(ray.get(rows_of.remote(rows))), expected=source.fingerprint)
    except (RayError, ValueError):
        return None
    return file


def _made_here(task: Task, files: FeatureFiles, kind: str) -> RowFile:
    maker, pixels = _maker(task), pixels_here(task.photos, task.source)
    groups, first = parts(files.count, files.count // PART), maker.features(pixels[:1])
    file = files.file(kind, first.shape[1:], first.dtype.str)
    file.write(lambda rows: list(maker.features(pixels[rows.start : rows.stop])), threads=1, parts=groups)
    return file


def _maker(task: Task) -> FeatureMaker:
    experiment, classes = task.experiment, len(task.photos.classes)
    return FeatureMaker(experiment.network, experiment.training, classes, task.start, task.device)


def _files(task: Task) -> FeatureFiles:
    photos, count = task.photos.fingerprint, len(task.photos.images)
    given = GivenFeatures(photos, count, task.frozen, task.device, EVALUATION_BATCH, task.versions)
    cache = cache_folder(Location(task.experiment.storage)) / FEATURES
    return FeatureFiles(cache, features_key(task.experiment, given), count)
