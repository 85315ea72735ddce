"""What `scale.py` sweeps: trainers whose rounds are toys, schedules, pictures of noise; and counts of storage calls."""

import json
import os
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rsrl_ray.core.trial import Device
from rsrl_ray.store.storage import Storage
from rsrl_ray.sweep.task import Task, Trainers
from rsrl_ray.vision.network import Conv1, Weights

SCORES = {2: 0.1, 3: 0.24, 4: 0.42, 5: 0.17, 6: 0.07}  # shares of the photos
OPERATIONS = ("read", "write", "list", "delete")


class ToyTrainer:
    """A `Trainer` whose weights are four numbers, and whose logits are drawn from a generator seeded by them.

    After every round it notes in a file of its process how often that has used storage.
    """

    device = Device("cpu")

    def __init__(self, task: Task, operations: dict[str, int], notes: Path) -> None:
        self._labels, self._classes = task.photos.labels, len(task.photos.classes)
        self._operations, self._notes = operations, notes / f"{os.getpid()}.json"

    def fit(self, parent: Weights, kept: np.ndarray, number: int) -> Weights:
        """Weights that depend on parent, kept photos and number, as a real round's do."""
        seed = [zlib.crc32(kept.tobytes()), number, *(zlib.crc32(array.tobytes()) for array in parent.values())]
        return {"w": np.random.default_rng(seed).normal(size=4).astype(np.float32)}

    def logits(self, weights: Weights) -> np.ndarray:
        """[N, C], leaning to the label."""
        generator = np.random.default_rng(zlib.crc32(weights["w"].tobytes()))
        logits = generator.normal(size=(len(self._labels), self._classes))
        logits[np.arange(len(self._labels)), self._labels] += 1.5
        return logits.astype(np.float32)

    def features(self) -> None:
        """No layer is frozen."""

    def conv1(self, weights: Weights) -> Conv1:
        """As large as AlexNet's."""
        self._notes.write_text(json.dumps(self._operations))
        weight = np.resize(weights["w"], (64, 3, 11, 11))
        return Conv1(weight, np.zeros(64, np.float32), (4, 4), (2, 2))


def toys(notes: Path) -> Callable[[Task], Trainers]:
    """Toy trainers, which note in this folder how often they use storage."""

    def of_process(task: Task) -> Trainers:
        operations = counted_storage()
        return lambda fold, learning: ToyTrainer(task, operations, notes)

    return of_process


def counted_storage() -> dict[str, int]:
    """Count the calls of `Storage` in this process from now on."""
    counts: dict[str, int] = defaultdict(int)

    def counting(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            counts[name] += 1
            return method(*arguments)

        return call

    for name in OPERATIONS:
        setattr(Storage, name, counting(name, getattr(Storage, name)))
    return counts


def schedules(count: int, rounds: int, unshared: bool) -> dict[str, dict[int, Any]]:
    """A grid: K of revision 1 on, of a third of the rounds on, of two thirds on, so that trials branch like a tree.

    Unshared, each schedule has its own K from revision 1 on.
    """
    levels = np.linspace(0.5, 0.9, count).round(6).tolist()
    if unshared:
        return {f"s{n}": {1: k} for n, k in enumerate(levels)}
    early, middle, late = [0.5, 0.6, 0.7, 0.8, 0.85], [0.55, 0.65, 0.75, 0.8, 0.9], levels
    return {
        f"s{n}": {1: early[n % 5], 1 + rounds // 3: middle[n // 5 % 5], 1 + 2 * rounds // 3: late[n]}
        for n in range(count)
    }


def write_photos(folder: Path, count: int) -> Path:
    """Grey pictures of one pixel's noise, and their scores."""
    rows = ["image,score"]
    generator = np.random.default_rng(0)
    for score, share in SCORES.items():
        for number in range(round(count * share)):
            name = f"{score}-{number}.png"
            Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / name)
            rows.append(f"{name},{score}")
    (folder / "photos.csv").write_text("\n".join(rows) + "\n")
    return folder / "photos.csv"
