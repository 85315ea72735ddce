"""A learner that trains only what the archive does not hold."""

import time
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.store.archive import Archive, Damaged, Record, round_key
from rsrl_ray.vision.learner import Learner
from rsrl_ray.vision.network import Weights


class ArchivedLearner:
    """`Learner` before which the archive is looked into.

    Rounds are addressed by what they train on. Weights are read only where the next round has to be
    trained; those that were not kept are made again from the nearest ancestor that has them.
    """

    def __init__(self, learner: Learner, archive: Archive, first: str, start: Weights, cold: bool, maker: str):
        self.keys = [first]
        self.notes: list[str] = []
        self.record: Record | None = None
        self._learner, self._archive, self._start, self._cold, self._maker = (
            learner,
            archive,
            start,
            cold,
            maker,
        )
        self._kept: list[NDArray[np.bool_]] = []
        self._weights: Weights | None = start

    def learn(self, number: int, kept: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Network ``number``'s logits [N, C] for all photos, from the archive or by training on ``kept`` [N]."""
        key = round_key(self.keys[-1], kept, number)
        self.record = self._read(key)
        if self.record is None:
            self.record = self._train(key, number, kept)
        else:
            self._weights = None
        self.keys.append(key)
        self._kept.append(kept)
        return self.record.logits

    def _train(self, key: str, number: int, kept: NDArray[np.bool_]) -> Record:
        began = time.monotonic()
        weights = self._learner.fit(self._parent(), kept, number)
        logits = self._learner.logits(weights)
        record = Record(
            number=number,
            logits=logits,
            kept=kept,
            conv1={name: np.asarray(value) for name, value in asdict(self._learner.conv1(weights)).items()},
            maker=self._maker,
            created=time.time(),
            seconds=time.monotonic() - began,
        )
        self._archive.write(key, record, weights)
        self._weights = weights
        return record

    def _read(self, key: str) -> Record | None:
        try:
            return self._archive.read(key)
        except Damaged as damage:
            self.notes.append(f"damaged in the archive, trained again: {damage}")
            return None

    def _parent(self) -> Weights:
        """The last round's weights: in memory, in the archive, or made again."""
        if self._weights is not None:
            return self._weights
        if self._cold:
            return self._start
        done = len(self._kept)
        weights, number = self._start, 0
        for candidate in range(done, 0, -1):
            found = self._read_weights(self.keys[candidate])
            if found is not None:
                weights, number = found, candidate
                break
        if number < done:
            again = f"round {done}" if number + 1 == done else f"rounds {number + 1} to {done}"
            self.notes.append(f"{again} made again, whose weights were not kept")
        for missing in range(number + 1, done + 1):
            weights = self._learner.fit(weights, self._kept[missing - 1], missing)
            self._verify(missing, self._learner.logits(weights))
        return weights

    def _read_weights(self, key: str) -> Weights | None:
        try:
            return self._archive.read_weights(key)
        except Damaged as damage:
            self.notes.append(f"damaged in the archive: {damage}")
            return None

    def _verify(self, number: int, logits: NDArray[np.float32]) -> None:
        record = self._read(self.keys[number])
        if record is not None and not np.array_equal(record.logits, logits):
            raise ValueError(
                f"round {number}, made again because its weights were not kept, came out with other bits than the "
                "archive holds: the machine computes differently from the one that made it. Go on where it was made, "
                "or delete the folder `rounds` in storage to train everything anew here"
            )
