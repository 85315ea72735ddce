"""The archive before the learner, with a learner whose weights and logits are a few numbers."""

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweep.test_claims import Here

from rsrl_ray.store.archive import Archive, weights_checksum
from rsrl_ray.sweep import cached_learner
from rsrl_ray.sweep.cached_learner import CachedLearner, Start, Trainer
from rsrl_ray.sweep.claims import Attempt, Claims
from rsrl_ray.sweep.retention import Holder
from rsrl_ray.vision.network import Conv1

ALL = np.ones(4, dtype=bool)
START = {"w": np.zeros(3, np.float32)}


@dataclass
class Toy:
    """A trainer that counts what it trains. ``drift`` is what this machine's weights have, and its logits lack."""

    drift: float = 0.0
    trained: list[int] = field(default_factory=list)
    device_kind: str = "cpu"

    def fit(self, parent: Any, kept: Any, number: int) -> dict[str, Any]:
        self.trained.append(number)
        return {"w": parent["w"] + np.array([number, kept.sum(), self.drift], np.float32)}

    def logits(self, weights: Any) -> Any:
        return np.tile(weights["w"][:2], (4, 1))

    def conv1(self, weights: Any) -> Conv1:
        return Conv1(np.zeros((1, 3, 2, 2), np.float32), np.zeros(1, np.float32), (1, 1), (0, 0))


def made(root: Path, toy: Any = None, trial: str = "one", claim: Any = None, cold: bool = False) -> CachedLearner:
    holder = Holder(f"holder-{trial}", "experiment", trial)
    trainer: Trainer = Toy() if toy is None else toy
    claim = claim or Attempt(None, trial, "1")
    return CachedLearner(trainer, Archive(str(root)), Start("start", START, cold), trial, holder, claim)


def learnt(learner: CachedLearner, rounds: int) -> list[bool]:
    """Whether each of the rounds was made just now."""
    told = []
    for number in range(1, rounds + 1):
        learner.learn(number, ALL)
        told.append(learner.made)
    return told


def manifest(root: Path, key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "rounds" / key[:2] / key / "manifest.json").read_text())
    return found


def drop(root: Path, key: str) -> None:
    Archive(str(root)).release(key, "holder-one")
    assert Archive(str(root)).read_weights(key) is None


def test_a_round_says_what_it_was_trained_from_and_who_holds_it(tmp_path: Path) -> None:
    learner = made(tmp_path)
    assert learnt(learner, 3) == [True, True, True]
    rounds = [manifest(tmp_path, key) for key in learner.keys[1:]]
    assert [found["parent"] for found in rounds] == ["", *(found["checksums"]["weights"] for found in rounds[:2])]
    held = sorted(tmp_path.glob("rounds/*/*/held/*"))
    assert [path.name for path in held] == ["holder-one"] * 3
    assert json.loads(held[0].read_text()) == {"experiment": "experiment", "trial": "one"}


def test_what_is_found_is_not_made(tmp_path: Path) -> None:
    learnt(made(tmp_path), 2)
    toy = Toy()
    again = made(tmp_path, toy)
    assert learnt(again, 3) == [False, False, True]
    assert toy.trained == [3]
    assert again.notes == []


def test_cold_rounds_are_trained_from_no_parent(tmp_path: Path) -> None:
    learner = made(tmp_path, cold=True)
    learnt(learner, 2)
    assert manifest(tmp_path, learner.keys[2])["parent"] == ""


def test_a_child_of_other_weights_is_trained_again(tmp_path: Path) -> None:
    first = made(tmp_path)
    learnt(first, 2)
    folder = tmp_path / "rounds" / first.keys[1][:2] / first.keys[1]
    (folder / "manifest.json").write_text("{")  # and it is made again by another machine of the same kind
    toy = Toy(drift=1.0)
    other = made(tmp_path, toy)
    assert learnt(other, 2) == [True, True]
    assert toy.trained == [1, 2]
    assert other.notes[-1] == "round 2 in the archive was trained from other weights; trained again"
    parent = manifest(tmp_path, first.keys[1])["checksums"]["weights"]
    assert manifest(tmp_path, first.keys[2])["parent"] == parent


def test_a_child_that_does_not_say_what_it_was_trained_from_is_taken(tmp_path: Path) -> None:
    """As rounds do that were written before this was noted."""
    first = made(tmp_path)
    learnt(first, 2)
    archive = Archive(str(tmp_path))
    for key in first.keys[1:]:
        record, weights = archive.read(key), archive.read_weights(key)
        assert record is not None and weights is not None
        archive.write(key, cached_learner.replace(record, parent=None), weights)
    again = made(tmp_path)
    assert learnt(again, 3) == [False, False, True]
    assert manifest(tmp_path, again.keys[3])["parent"] == manifest(tmp_path, again.keys[2])["checksums"]["weights"]


def test_a_parent_that_is_made_again_has_the_same_logits_and_the_same_weights(tmp_path: Path) -> None:
    first = made(tmp_path)
    learnt(first, 2)
    for key in first.keys[1:]:
        drop(tmp_path, key)
    toy = Toy()
    again = made(tmp_path, toy)
    assert learnt(again, 3) == [False, False, True]
    assert toy.trained == [1, 2, 3]
    assert again.notes == ["rounds 1 to 2 made again, whose weights were not kept"]
    other = made(tmp_path, Toy(drift=1e-3))  # its logits are the same
    assert learnt(other, 3) == [False, False, False]
    drop(tmp_path, again.keys[3])
    with pytest.raises(ValueError, match=r"^round 1, made again because its weights were not kept, came out"):
        other.learn(4, ALL)


def test_seconds_are_the_rounds_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    class Slow(Toy):
        def fit(self, parent: Any, kept: Any, number: int) -> dict[str, Any]:
            now[0] += 100 * number
            return super().fit(parent, kept, number)

        def logits(self, weights: Any) -> Any:
            now[0] += 5
            return super().logits(weights)

    monkeypatch.setattr(cached_learner.time, "monotonic", lambda: now[0])
    first = made(tmp_path, Slow())
    learnt(first, 2)
    for key in first.keys[1:]:
        drop(tmp_path, key)
    again = made(tmp_path, Slow())
    learnt(again, 3)
    assert again.record is not None
    assert again.record.seconds == 305  # not with those of rounds 1 and 2, made before it


class Local:
    """Claims without Ray, and a learner that stops in a round."""

    def __init__(self) -> None:
        self.claims, self.waits = Claims(Here()), threading.Event()

    def of(self, trial: str) -> Any:
        local = self

        class Claim:
            def claim(self, key: str) -> bool:
                granted = local.claims.claim(key, trial, "1")
                if not granted:
                    local.waits.set()
                return granted

            def release(self, key: str) -> None:
                local.claims.release(key, trial, "1")

        return Claim()


class Held(Toy):
    """Stops in `fit` until it may go on, or dies."""

    def __init__(self, dies: bool = False) -> None:
        super().__init__()
        self.dies, self.began, self.go_on = dies, threading.Event(), threading.Event()

    def fit(self, parent: Any, kept: Any, number: int) -> dict[str, Any]:
        self.began.set()
        assert self.go_on.wait(30)
        if self.dies:
            raise ValueError("it gives up")
        return super().fit(parent, kept, number)


@pytest.mark.parametrize("dies", [False, True])
def test_a_round_that_another_trial_makes_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    monkeypatch.setattr(cached_learner, "POLL_S", 0.01)
    local, held, toy = Local(), Held(dies), Toy()
    first, second = made(tmp_path, held, "none", local.of("none")), made(tmp_path, toy, "hair", local.of("hair"))

    def makes() -> None:
        try:
            first.learn(1, ALL)
        except ValueError:
            assert dies

    makers = [threading.Thread(target=makes), threading.Thread(target=second.learn, args=(1, ALL))]
    makers[0].start()
    assert held.began.wait(30)
    makers[1].start()
    assert local.waits.wait(30)
    assert toy.trained == []
    held.go_on.set()
    for maker in makers:
        maker.join(30)
    assert (toy.trained, second.made) == (([1], True) if dies else ([], False))
    assert second.record is not None and second.record.maker == ("hair" if dies else "none")
    assert local.claims.claim(second.keys[1], "third", "1")  # nothing stays claimed


def test_the_checksum_is_that_of_the_file(tmp_path: Path) -> None:
    learner = made(tmp_path)
    learnt(learner, 1)
    weights = Archive(str(tmp_path)).read_weights(learner.keys[1])
    assert weights is not None
    assert manifest(tmp_path, learner.keys[1])["checksums"]["weights"] == weights_checksum(weights)
