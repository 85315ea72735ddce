"""A learner that trains only what the archive does not hold."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.core.trial import Device
from rsrl_ray.identity import round_key
from rsrl_ray.store.archive import Archive, Damaged, Record, weights_checksum
from rsrl_ray.store.holders import Holder
from rsrl_ray.store.storage import StorageError
from rsrl_ray.sweep.nodes.claims import Attempt
from rsrl_ray.sweep.task import Trainer
from rsrl_ray.vision.network import Weights

T = TypeVar("T")

POLL_S = 0.25  # between two looks for a round that another trial makes


@dataclass(frozen=True)
class ChainStart:
    """What a chain of rounds starts from.

    key : key(0). weights : the starting weights. cold : whether every round starts from these, not from its parent.
    frozen : digest of the weights that are not trained, or empty. device : trains the rounds.
    """

    key: str
    weights: Weights
    cold: bool
    frozen: str = ""
    device: Device = field(default_factory=Device)


class _Unwritten(NamedTuple):
    """The weights of a round that is trained but not in the archive yet, and their checksum, once it is known."""

    weights: Weights
    checksum: Future[str]


class CachedLearner:
    """A `Learner` that looks into the archive first.

    The key of a round says what it trains on. If another trial of the sweep is making the round, this one waits for it.
    Weights are read only if the next round must be trained. If they were not kept, they are made again from the nearest
    ancestor that has weights.

    `keep` writes what was trained. It may run in another thread while the next round is trained. Until it has written
    the round, nobody else makes it.

    learnt : the last round, with its keys and notes; if it was trained just now, it has no checksums yet.
    """

    def __init__(self, trainer: Trainer, archive: Archive, start: ChainStart, holder: Holder, attempt: Attempt) -> None:
        """``attempt`` claims rounds for the trial, ``holder`` is its name as one who needs weights."""
        self.learnt: Record | None = None
        self._trainer, self._archive, self._start = trainer, archive, start
        self._holder, self._attempt = holder, attempt
        self._keys, self._kept = [start.key], list[NDArray[np.bool_]]()
        self._notes = list(start.device.remarks)
        self._weights: Weights | None = start.weights
        self._parent: Future[str] = _known("")  # checksum of the last round's weights; empty at the start
        self._unwritten: dict[str, _Unwritten] = {}
        self._closed = False

    def learn(self, number: int, kept: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Network ``number``'s logits [N, C] for all photos, from the archive or by training on ``kept`` [N]."""
        key = round_key(self._keys[-1], kept, number)
        record = self._read(key)
        while record is None and not self._claimed(key):
            pause(POLL_S)
            record = self._read(key)
        if record is None:
            record = self._make(key, number, kept)
        trained = self._unwritten.get(key)
        if trained is None:
            self._hold(key)  # before it is reported: then it may be the trial's newest or best
            trained = _Unwritten({}, _known(record.weights))
        self._weights = trained.weights or None
        self._parent = _known("") if self._start.cold else trained.checksum
        self.learnt = replace(record, key=key, parent_key=self._keys[-1], notes=tuple(self._notes))
        self._notes = []
        self._keys.append(key)
        self._kept.append(kept)
        return record.logits

    def features(self) -> NDArray[np.float32] | None:
        """See `rsrl_ray.rounds.loop.Learner`."""
        return self._trainer.features()

    def keep(self, record: Record) -> Record:
        """Write the round; its record as the archive has it. Rounds are written in the order in which they were learnt.

        Raises `StorageError`, and then the learner is closed.
        """
        if record.is_written:
            return record
        weights, checksum = self._unwritten[record.key]
        try:
            self._hold(record.key)  # before the weights are there, so that no other sweep deletes them
            written = self._archive.write(record.key, record, weights)
        except BaseException as error:
            checksum.set_exception(error)
            self.close()
            raise
        checksum.set_result(written)
        del self._unwritten[record.key]
        self._attempt.release(record.key)
        return replace(record, weights=written)

    def close(self) -> None:
        """Give up the rounds that are not written: others may make them."""
        self._closed = True
        for key in list(self._unwritten):
            self._attempt.release(key)

    def _claimed(self, key: str) -> bool:
        granted = self._attempt.claim(key)
        if self._closed:
            if granted:
                self._attempt.release(key)
            raise StorageError("the trial has ended")
        return granted

    def _make(self, key: str, number: int, kept: NDArray[np.bool_]) -> Record:
        """Train the claimed round, unless another trial has made it just before the claim."""
        try:
            record = self._read(key)
            if record is None:
                record, weights = self._train(number, kept)
                self._unwritten[key] = _Unwritten(weights, Future())
            return record
        finally:
            if key not in self._unwritten or self._closed:
                self._attempt.release(key)

    def _train(self, number: int, kept: NDArray[np.bool_]) -> tuple[Record, Weights]:
        parent = self._parent_weights()
        began = time.monotonic()
        weights = self._trainer.fit(parent, kept, number)
        logits, conv1 = self._trainer.logits(weights), self._trainer.conv1(weights)
        record = Record(
            number=number,
            logits=logits,
            kept=kept,
            conv1={} if conv1 is None else {name: np.asarray(value) for name, value in asdict(conv1).items()},
            maker=self._attempt.trial,
            created=time.time(),
            seconds=time.monotonic() - began,
            parent=self._parent.result(),
            frozen=self._start.frozen,
            probe=self._start.device.probe,
        )
        return record, weights

    def _hold(self, key: str) -> None:
        self._archive.hold(key, self._holder.id, self._holder.words)

    def _read(self, key: str) -> Record | None:
        """The round in the archive; None if it is damaged, or does not follow from the last round."""
        record = self._whole(self._archive.read, key)
        if record is not None and record.parent is not None and record.parent != self._parent.result():
            self._note(f"round {record.number} in the archive was trained from other weights; trained again")
            return None
        if record is not None and record.probe and self._start.device.probe not in ("", record.probe):
            self._note(f"round {record.number} in the archive is from a machine with other bits; trained again")
            return None
        return record

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)

    def _parent_weights(self) -> Weights:
        """The last round's weights: in memory, in the archive, or made again."""
        if self._weights is not None:
            return self._weights
        if self._start.cold:
            return self._start.weights
        done = len(self._kept)
        weights, number = self._start.weights, 0
        for candidate in range(done, 0, -1):
            found = self._whole(self._archive.read_weights, self._keys[candidate])
            if found is not None:
                weights, number = found, candidate
                break
        if number < done:
            again = f"round {done}" if number + 1 == done else f"rounds {number + 1} to {done}"
            self._note(f"{again} made again, because the weights were not kept")
        for missing in range(number + 1, done + 1):
            weights = self._trainer.fit(weights, self._kept[missing - 1], missing)
            self._verify(missing, weights)
        return weights

    def _whole(self, read: Callable[[str], T | None], key: str) -> T | None:
        """What the archive has under this key; if it is damaged, None and a note."""
        try:
            return read(key)
        except Damaged as damage:
            self._note(f"damaged in the archive, trained again: {damage}")
            return None

    def _verify(self, number: int, weights: Weights) -> None:
        """Raises ValueError if a round that was made again differs from the one in the archive in any bit."""
        record = self._whole(self._archive.read, self._keys[number])
        if record is None:
            return
        same = np.array_equal(record.logits, self._trainer.logits(weights))
        if not same or record.weights != weights_checksum(weights):
            raise ValueError(
                f"round {number} was made again, because its weights were not kept, and its bits differ from those in "
                "the archive: this machine computes differently from the one that made it. Continue on that machine, "
                "or delete the folder `rounds` in storage to train everything again here"
            )


def _known(checksum: str) -> "Future[str]":
    future = Future[str]()
    future.set_result(checksum)
    return future


def pause(seconds: float) -> None:
    """Wait for another trial."""
    time.sleep(seconds)
