"""A learner that trains only what the archive does not hold."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import NamedTuple, TypeVar

import numpy as np

from rsrl_ray.core.arrays import MaskOrWeights
from rsrl_ray.core.trial import Device
from rsrl_ray.identity import changed_later, round_key
from rsrl_ray.learning import Learning
from rsrl_ray.store.archive import Archive, Damaged, Record, weights_checksum
from rsrl_ray.store.holders import Holder
from rsrl_ray.store.storage import StorageError
from rsrl_ray.sweep.nodes.claims import Attempt
from rsrl_ray.sweep.task import Trained, Trainer
from rsrl_ray.vision.network import Weights

T = TypeVar("T")


class RoundState(Enum):
    """How a round stands that a trial needs."""

    LEARNT = "found in the archive"
    CLAIMED = "to be trained by this trial"
    AWAITED = "made by another trial"


@dataclass(frozen=True)
class ChainStart:
    """What a chain of rounds starts from.

    key : key(0). weights : the starting weights. learning : how the method trains.
    frozen : digest of the weights that are not trained, or empty. device : trains the rounds.
    """

    key: str
    weights: Weights
    learning: Learning = field(default_factory=Learning)
    frozen: str = ""
    device: Device = field(default_factory=Device)

    @property
    def cold(self) -> bool:
        """Whether every round starts from the starting weights, not from its parent."""
        return self.learning.warm_start == "cold"


class _Next(NamedTuple):
    """The round that a trial needs."""

    key: str
    number: int
    kept: MaskOrWeights


class Unwritten(NamedTuple):
    """A round that is trained but not in the archive yet.

    checksum : of its weights, once it is known. own : whether this learner is to write it.
    """

    weights: Weights
    checksum: Future[str]
    own: bool = True


class CachedLearner:
    """Learns the rounds of one trial, one after the other, and looks into the archive first.

    `ask` names the next round, and `seek` finds it or says who is to make it. A claimed round is trained from the
    weights of `parent`, and then the learner `take`s it, or it gives it up. Weights are read only if the next round
    must be trained. If they were not kept, they are made again from the nearest ancestor that has weights.

    A trial that is trained together with others may need the same round as one of them, and then `adopt`s it.

    `keep` writes what was trained. It may run in another thread while the next round is trained. Until it has written
    the round, nobody else makes it.

    learnt : the last round, with its keys and notes; if it was trained just now, it has no checksums yet.
    """

    def __init__(self, trainer: Trainer, archive: Archive, start: ChainStart, holder: Holder, attempt: Attempt) -> None:
        """``attempt`` claims rounds for the trial, ``holder`` is its name as one who needs weights."""
        self.learnt: Record | None = None
        self.trainer, self._archive, self._start = trainer, archive, start
        self._holder, self._attempt = holder, attempt
        self._keys, self._kept = [start.key], list[MaskOrWeights]()
        self._notes = list(start.device.remarks)
        self._next = _Next(start.key, 0, np.zeros(0, dtype=bool))
        self._weights: Weights | None = start.weights
        self._parent: Future[str] = _known("")  # checksum of the last round's weights; empty at the start
        self._unwritten: dict[str, Unwritten] = {}
        self._closed = False

    def ask(self, number: int, kept: MaskOrWeights) -> str:
        """The next round is network ``number``, which is trained on the ``kept`` photos [N]; its key."""
        key = round_key(self._keys[-1], kept, number, changed_later(self._start.learning, number))
        self._next = _Next(key, number, kept)
        return key

    def seek(self) -> RoundState:
        """Look for the next round in the archive; if it is not there, claim it."""
        key = self._next.key
        record = self._read(key)
        if record is None and not self._claimed(key):
            return RoundState.AWAITED
        if record is None:
            record = self._made_before_the_claim(key)
        if record is None:
            return RoundState.CLAIMED
        self._hold(key)  # before it is reported: then it may be the trial's newest or best
        self._go_on(key, record, Unwritten({}, _known(record.weights)))
        return RoundState.LEARNT

    def parent(self) -> Weights:
        """The last round's weights, from which a claimed round is trained: in memory, in the archive, or made again."""
        if self._weights is None:
            self._weights = self._start.weights if self._start.cold else self._found_again()
        return self._weights

    def take(self, trained: Trained, seconds: float) -> None:
        """The claimed round was trained and judged, in so many ``seconds``."""
        (key, number, kept), (weights, logits) = self._next, trained
        conv1 = self.trainer.conv1(weights)
        record = Record(
            number=number,
            logits=logits,
            kept=kept,
            conv1={} if conv1 is None else {name: np.asarray(value) for name, value in asdict(conv1).items()},
            maker=self._attempt.trial,
            created=time.time(),
            seconds=seconds,
            parent=self._parent.result(),
            frozen=self._start.frozen,
            probe=self._start.device.probe,
        )
        self._unwritten[key] = Unwritten(weights, Future())
        if self._closed:
            self._attempt.release(key)
        self._go_on(key, record, self._unwritten[key])

    def adopt(self, other: "CachedLearner") -> None:
        """Go on from the round that another learner of this process has just taken; it is this one's next round too."""
        record = other.learnt
        assert record is not None
        assert record.parent_key == self._keys[-1], "they have come the same way"
        self._unwritten[record.key] = other.unwritten(record.key)._replace(own=False)
        self._go_on(record.key, record, self._unwritten[record.key])

    def unwritten(self, key: str) -> Unwritten:
        """A round that was taken and is not written yet."""
        return self._unwritten[key]

    def give_up(self) -> None:
        """The round that was asked for is not trained here, unless it was taken: others may make it."""
        if self._next.key not in self._unwritten:
            self._attempt.release(self._next.key)

    def keep(self, record: Record) -> Record:
        """Write the round; its record as the archive has it. Rounds are written in the order in which they were learnt.

        A round that was adopted is written by its maker, before this. Raises `StorageError`, and then the learner is
        closed.
        """
        if record.is_written:
            return record
        weights, checksum, own = self._unwritten[record.key]
        try:
            self._hold(record.key)  # before the weights are there, so that no other sweep deletes them
            written = self._archive.write(record.key, record, weights) if own else checksum.result()
        except BaseException as error:
            if own:
                checksum.set_exception(error)
            self.close()
            raise
        del self._unwritten[record.key]
        if own:
            checksum.set_result(written)
            self._attempt.release(record.key)
        return replace(record, weights=written)

    def write(self) -> None:
        """Write the last round now, because another process may wait for it."""
        if self.learnt is not None:
            self.learnt = self.keep(self.learnt)

    def close(self) -> None:
        """Give up the rounds that are not written: others may make them."""
        self._closed = True
        for key in list(self._unwritten):
            self._attempt.release(key)

    def abandon(self) -> None:
        """Close, and let nobody wait for rounds that will not be written, because the process ends."""
        self.close()
        for unwritten in list(self._unwritten.values()):
            if unwritten.own and not unwritten.checksum.done():
                unwritten.checksum.set_exception(StorageError("the process ends"))

    def _claimed(self, key: str) -> bool:
        granted = self._attempt.claim(key)
        if self._closed:
            if granted:
                self._attempt.release(key)
            raise StorageError("the trial has ended")
        return granted

    def _made_before_the_claim(self, key: str) -> Record | None:
        """The claimed round, if another trial has made it just before; then the claim is given back."""
        try:
            record = self._read(key)
        except BaseException:
            self._attempt.release(key)
            raise
        if record is not None:
            self._attempt.release(key)
        return record

    def _go_on(self, key: str, record: Record, unwritten: Unwritten) -> None:
        """The next round is learnt."""
        self._weights = unwritten.weights or None
        self._parent = _known("") if self._start.cold else unwritten.checksum
        self.learnt = replace(record, key=key, parent_key=self._keys[-1], notes=tuple(self._notes))
        self._notes = []
        self._keys.append(key)
        self._kept.append(record.kept)

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

    def _found_again(self) -> Weights:
        """The last round's weights, from the archive or made again."""
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
            weights = self.trainer.fit(weights, self._kept[missing - 1], missing)
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
        same = np.array_equal(record.logits, self.trainer.logits(weights))
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
