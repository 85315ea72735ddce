"""The device that this process computes on. It is told from others by what it computes.

Beside the rounds of the archive lies a note with the probe of the first device of each name (``rounds/devices/``, where
a cluster's workers may write). A device with the same probe has the plain name, which enters the keys. Another device
has its probe in its name. A round says which probe its device has, so if the notes are deleted this costs time, but
never results.
"""

import contextlib
import json
import re
from dataclasses import replace
from typing import Any

from rsrl_ray.core.digest import digest
from rsrl_ray.core.trial import Device
from rsrl_ray.identity import probe_identity, probed, round_key
from rsrl_ray.method import methods_of
from rsrl_ray.rounds.loop import first_kept
from rsrl_ray.store.archive import Archive, Damaged
from rsrl_ray.store.files import write_whole
from rsrl_ray.store.location import Location, cache_folder
from rsrl_ray.store.storage import Storage
from rsrl_ray.sweep.task import Task
from rsrl_ray.vision.probe import probe
from rsrl_ray.vision.reproducible import device_kind, machine

PROBE_SHOWN = 12  # of the digits of a probe, in a name

_KNOWN: dict[tuple[str, str], Device] = {}  # the devices of this process, by storage and what is probed


def device_here(task: Task) -> Device:
    """The device of this process, which never changes. Only the first call returns its remarks.

    Raises
    ------
    NotFinite, OutOfMemory
        As `rsrl_ray.vision.trainer.NetworkTrainer.fit`.
    ValueError
        If the network cannot be trained on this device, or storage refuses.
    """
    storage, kind = task.experiment.storage, device_kind(task.device)
    probing = probe_identity(task.experiment, task.start_digest, kind, task.versions)
    known = storage, digest(probing)
    if known not in _KNOWN:
        device = _noted(task, probing, _probe(task, digest(probing)))
        _KNOWN[known] = replace(device, remarks=())
        return device
    return _KNOWN[known]


def _noted(task: Task, probing: dict[str, Any], own: str) -> Device:
    """The device, by its ``own`` probe and the probe noted in storage. If none is noted, its own is noted."""
    storage, path, kind = Storage(task.experiment.storage), f"rounds/devices/{digest(probing)}.json", probing["device"]
    note = json.dumps({"probe": own, **probing}, indent=1).encode()
    remarks = []
    first = storage.write_first(path, note)
    noted = _probe_of(storage.read(path))
    if noted is None:
        remarks.append(f"{storage.where(path)} was damaged and is written again, for this machine")
        storage.write(path, note)
        first, noted = True, own
    if first and noted == own and _has_untold_rounds(task, kind):
        remarks.append(f"the archive has rounds of {kind} that do not say which machine made them: this one is assumed")
    return Device(kind if noted == own else f"{kind}-probe={own[:PROBE_SHOWN]}", own, tuple(remarks))


def _probe_of(note: bytes | None) -> str | None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(note or b"")["probe"])
    return None


def _has_untold_rounds(task: Task, kind: str) -> bool:
    """Whether a first round of this sweep was made on a device of this name before there were probes."""
    archive = Archive(task.experiment.storage)
    learnings = {method.learning for method in methods_of(task.experiment).values()}
    for fold in task.folds:
        kept = first_kept(fold, len(task.photos.images))
        for learning in learnings:
            with contextlib.suppress(Damaged):
                record = archive.read(round_key(task.start_key(fold, learning, kind), kept, 1))
                if record is not None and not record.probe:
                    return True
    return False


def _probe(task: Task, probing: str) -> str:
    """The probe of this device. An earlier process may have found it since the machine was started."""
    experiment, here = task.experiment, machine(task.device)
    known = cache_folder(Location(experiment.storage)) / "probes" / f"{probing}-on-{here}" if here else None
    if known is not None:
        with contextlib.suppress(OSError, ValueError):  # an earlier process wrote it, perhaps only half of it
            if re.fullmatch("[0-9a-f]{32}", found := known.read_text("utf-8")):
                return found
    found = probe(experiment.network, probed(experiment.training), len(task.photos.classes), task.start, task.device)
    if known is not None:
        with contextlib.suppress(OSError):
            write_whole(known, found)
    return found
