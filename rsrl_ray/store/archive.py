"""Finished rounds in a folder or a bucket, each under the key of what it was trained on.

A round is two files and a manifest, written in this order. A round without a whole manifest does not exist::

    rounds/<key[:2]>/<key>/weights.safetensors    may be dropped later, see `Archive.drop_weights`
                           record.safetensors     logits, kept mask or weights, first convolution
                           manifest.json          number, times, checksums: of the other two, of the parent's weights
                           held/<holder>          who needs the weights, see `Archive.hold`
    frozen/<digest>.safetensors                   weights that are the same in all rounds, see `Archive.write_frozen`
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from rsrl_ray.core.arrays import MaskOrWeights
from rsrl_ray.core.digest import array_digest, bytes_digest, digest
from rsrl_ray.store.storage import Storage

HOLDERS = "held/"  # folder of notes, in the folder of a round
Arrays = Mapping[str, NDArray[Any]]


class Damaged(Exception):
    """A file of the archive is gone or was changed. The round must be trained again."""


@dataclass(frozen=True)
class Record:
    """A finished round without its weights.

    number : 1, 2, ... logits : [N, C] float32. kept : [N] bool; float32 if photos have weights,
        which stand here then (`rsrl_ray.core.arrays`). conv1 : weight, bias, stride, padding.
    maker : the trial that trained it. created : Unix time. seconds : of training and prediction.
    parent : checksum of the weights of the round before, from which it was trained; empty if it was trained from the
        starting weights; None in rounds of versions that did not note it.
    weights : checksum of its own weights; empty if the record was not read from the archive.
    frozen : digest of the network's other weights, which were not trained; empty if all were trained.
    probe : of the device that made it (see `rsrl_ray.core.trial.Device`); empty in rounds of versions without probes.

    Not in the files of the archive:
    key, parent_key : its own key and that of the round before; for round 1, the start of the chain.
    notes : what a reader should know.
    """

    number: int
    logits: NDArray[np.float32]
    kept: MaskOrWeights
    conv1: Arrays
    maker: str
    created: float
    seconds: float
    parent: str | None = None
    weights: str = ""
    frozen: str = ""
    probe: str = ""
    key: str = ""
    parent_key: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_written(self) -> bool:
        """Whether it was read from the archive, and not just trained."""
        return bool(self.weights)


def weights_checksum(weights: Arrays) -> str:
    """The checksum that `Archive.write` returns for these weights."""
    return bytes_digest(_packed(weights))


class Archive:
    """The rounds under ``root``, a folder or a URI that pyarrow can read (s3://, gs://).

    It is a cache: if a part of it is deleted, time is lost, but no results. Several writers may write one key at once,
    because its content is always the same. Each method raises `StorageError` if the storage refuses.
    """

    def __init__(self, root: str) -> None:
        self._storage = Storage(root)

    def read(self, key: str) -> Record | None:
        """The round under ``key``; None if there is none. Raises `Damaged` if it is not whole."""
        manifest = self._manifest(key)
        if manifest is None:
            return None
        arrays = self._load(key, "record", manifest)
        if arrays is None:
            raise Damaged(f"{self._where(key, 'record')} is gone")
        return Record(
            number=manifest["number"],
            logits=arrays.pop("logits"),
            kept=arrays.pop("kept"),
            conv1=arrays,
            maker=manifest["maker"],
            created=manifest["created"],
            seconds=manifest["seconds"],
            parent=manifest.get("parent"),
            weights=manifest["checksums"]["weights"],
            frozen=manifest.get("frozen", ""),
            probe=manifest.get("probe", ""),
            key=key,
        )

    def write(self, key: str, record: Record, weights: Arrays) -> str:
        """Write a finished round, its manifest last. Returns the checksum of its weights."""
        arrays = {"logits": record.logits, "kept": record.kept, **record.conv1}
        checksums = {
            "weights": self._put(key, "weights", _packed(weights)),
            "record": self._put(key, "record", _packed(arrays)),
        }
        times = {"maker": record.maker, "created": record.created, "seconds": record.seconds}
        manifest = {"number": record.number, **times, "checksums": checksums}
        if record.parent is not None:
            manifest["parent"] = record.parent
        manifest |= {name: text for name in ("frozen", "probe") if (text := getattr(record, name))}
        self._put(key, "manifest", json.dumps({**manifest, "digest": digest(manifest)}, indent=1).encode())
        return checksums["weights"]

    def read_weights(self, key: str) -> dict[str, NDArray[Any]] | None:
        """The round's weights; None if they were not kept. Raises `Damaged`."""
        manifest = self._manifest(key)
        return None if manifest is None else self._load(key, "weights", manifest)

    def read_network(self, key: str) -> dict[str, NDArray[Any]] | None:
        """The round's weights and the frozen weights; None if the round's were not kept. Raises `Damaged`."""
        weights, frozen = self.read_weights(key), self.frozen_of(key)
        return weights if weights is None or not frozen else self._read_frozen(frozen) | weights

    def write_frozen(self, frozen: str, weights: Arrays) -> None:
        """Keep weights that no round trains, under their digest (`array_digest`), once for all rounds."""
        try:
            self._read_frozen(frozen)
        except Damaged:
            self._storage.write(frozen_file(frozen), _packed(weights))

    def _read_frozen(self, frozen: str) -> dict[str, NDArray[Any]]:
        content, where = self._storage.read(frozen_file(frozen)), self._storage.where(frozen_file(frozen))
        if content is None:
            raise Damaged(f"{where} is gone")
        try:
            weights = dict(safetensors.numpy.load(content))
        except safetensors.SafetensorError as error:
            raise Damaged(f"{where} cannot be read: {error}") from error
        if array_digest(weights) != frozen:
            raise Damaged(f"{where} was changed after it was written")
        return weights

    def where(self, key: str) -> str:
        """The path of the round under ``key``, on the disk or in the bucket."""
        return self._storage.where(folder_of(key))

    def hold(self, key: str, holder: str, who: Mapping[str, str]) -> None:
        """Note that ``holder`` (the name of the note) needs the round's weights. who : the holder in words.

        Weights stay until all holders have released them. The round may be written later than the note.
        """
        self._storage.write(f"{folder_of(key)}/{HOLDERS}{holder}", json.dumps(who).encode())

    def release(self, key: str, *holders: str) -> None:
        """Delete the notes of ``holders``, and the round's weights if nobody else holds them."""
        files = self._storage.list(folder_of(key))
        for holder in holders:
            if HOLDERS + holder in files:
                self._storage.delete(f"{folder_of(key)}/{HOLDERS}{holder}")
        if _name("weights") in files:
            self.drop_weights(key)

    def drop_weights(self, key: str) -> None:
        """Delete the round's weights if nobody holds them. The record stays."""
        if not self.is_droppable(key):
            return
        if not any(name.startswith(HOLDERS) for name in self._storage.list(folder_of(key))):
            self._storage.delete(self._path(key, "weights"))

    def is_droppable(self, key: str) -> bool:
        """Whether the round's weights may be deleted if nobody holds them.

        They may not in a round of a version that did not note holders, because it is not known who needs them.
        """
        try:
            manifest = self._manifest(key)
        except Damaged:
            return False
        return manifest is not None and manifest.get("parent") is not None

    def frozen_of(self, key: str) -> str:
        """Digest of the frozen weights of the round under ``key``; empty if there are none. Raises `Damaged`."""
        return str((self._manifest(key) or {}).get("frozen", ""))

    def _manifest(self, key: str) -> dict[str, Any] | None:
        content = self._storage.read(self._path(key, "manifest"))
        if content is None:
            return None
        try:
            manifest: dict[str, Any] = json.loads(content)
            written = manifest.pop("digest")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(f"{self._where(key, 'manifest')} is not a manifest: {error!r}") from error
        if written != digest(manifest):
            raise Damaged(f"{self._where(key, 'manifest')} was changed after it was written")
        return manifest

    def _load(self, key: str, part: str, manifest: dict[str, Any]) -> dict[str, NDArray[Any]] | None:
        content = self._storage.read(self._path(key, part))
        if content is None:
            return None
        if bytes_digest(content) != manifest["checksums"][part]:
            raise Damaged(f"{self._where(key, part)} does not have the checksum with which it was written")
        return dict(safetensors.numpy.load(content))

    def _put(self, key: str, part: str, content: bytes) -> str:
        """Write one file. Returns its checksum."""
        self._storage.write(self._path(key, part), content)
        return bytes_digest(content)

    def _where(self, key: str, part: str) -> str:
        return f"{self.where(key)}/{_name(part)}"

    def _path(self, key: str, part: str) -> str:
        return f"{folder_of(key)}/{_name(part)}"


def folder_of(key: str) -> str:
    """The folder of the round under a key, in the storage."""
    return f"rounds/{key[:2]}/{key}"


def frozen_file(digest: str) -> str:
    """The file of the frozen weights with a digest, in the storage."""
    return f"frozen/{digest}.safetensors"


def _name(part: str) -> str:
    return f"{part}.{'json' if part == 'manifest' else 'safetensors'}"


def _packed(arrays: Arrays) -> bytes:
    """The arrays as a safetensors file, in C order, because safetensors writes memory as it is."""
    return safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in arrays.items()})
