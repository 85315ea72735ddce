"""The archive before the learner, with a learner whose weights and logits are a few numbers."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweep.nodes.test_claims import Here

from rsrl_ray.core.trial import Device
from rsrl_ray.method import Learning
from rsrl_ray.rounds.loop import NextRound
from rsrl_ray.store.archive import Archive, Record, weights_checksum
from rsrl_ray.store.holders import Holder
from rsrl_ray.store.storage import StorageError
from rsrl_ray.sweep.nodes.claims import Attempt, Claims
from rsrl_ray.sweep.task import Trainer
from rsrl_ray.sweep.trial import cached_learner, together
from rsrl_ray.sweep.trial.cached_learner import CachedLearner, ChainStart, RoundState
from rsrl_ray.sweep.trial.together import Need, learn_all
from rsrl_ray.sweep.trial.trainers import fit_all
from rsrl_ray.vision.network import Conv1

ALL = np.ones(4, dtype=bool)
START = {"w": np.zeros(3, np.float32)}
CPU = Device("cpu")


@dataclass
class Toy:
    """A trainer that counts what it trains. ``drift`` is what this machine's weights have, and its logits lack."""

    drift: float = 0.0
    trained: list[int] = field(default_factory=list)
    device: Device = CPU

    def fit(self, parent: Any, kept: Any, number: int) -> dict[str, Any]:
        self.trained.append(number)
        return {"w": parent["w"] + np.array([number, kept.sum(), self.drift], np.float32)}

    def logits(self, weights: Any) -> Any:
        return np.tile(weights["w"][:2], (4, 1))

    def conv1(self, weights: Any) -> Conv1:
        return Conv1(np.zeros((1, 3, 2, 2), np.float32), np.zeros(1, np.float32), (1, 1), (0, 0))


def made(
    root: Path, toy: Any = None, attempt: Attempt | None = None, cold: bool = False, device: Device = CPU
) -> CachedLearner:
    trainer: Trainer = Toy() if toy is None else toy
    attempt = attempt or Attempt(Claims(Here()), "one", "1")
    holder = Holder(f"holder-{attempt.trial}", "experiment", attempt.trial)
    start = ChainStart("start", START, Learning(warm_start="cold" if cold else "all"), device=device)
    return CachedLearner(trainer, Archive(str(root)), start, holder, attempt)


def learn(learner: CachedLearner, number: int, weights: Any = None) -> Record:
    """The round, which is not written yet if it was trained."""
    (record,) = learn_together([learner], number, weights)
    return record


def learn_together(learners: list[CachedLearner], number: int, weights: Any = None) -> list[Record]:
    """The same round of several trials."""
    needs = [Need(learner, NextRound(number, ALL, ~ALL, None, weights)) for learner in learners]
    learn_all(needs, fit_all)
    for need in needs:
        if need.error:
            raise ValueError(need.error)
    return [need.learner.learnt for need in needs if need.learner.learnt is not None]


def learnt(learner: CachedLearner, rounds: int, first: int = 1) -> list[Record]:
    """The rounds, each written before the next is learnt."""
    told = []
    for number in range(first, rounds + 1):
        told.append(learn(learner, number))
        learner.keep(told[-1])
    return told


def made_now(rounds: list[Record]) -> list[bool]:
    return [not learnt.is_written for learnt in rounds]


def notes(rounds: list[Record]) -> list[str]:
    return [note for learnt in rounds for note in learnt.notes]


def keys(rounds: list[Record]) -> list[str]:
    return [learnt.key for learnt in rounds]


def manifest(root: Path, key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "rounds" / key[:2] / key / "manifest.json").read_text())
    return found


def drop(root: Path, key: str) -> None:
    Archive(str(root)).release(key, "holder-one")
    assert Archive(str(root)).read_weights(key) is None


def test_rounds_are_shared_until_a_trial_is_balanced(tmp_path: Path) -> None:
    toys = plain, late = Toy(), Toy()
    shared = learnt(made(tmp_path, plain), 4)
    start = ChainStart("start", START, Learning(sampling="class_balanced", balanced_from=3), device=CPU)
    attempt = Attempt(Claims(Here()), "late", "1")
    own = learnt(CachedLearner(late, Archive(str(tmp_path)), start, Holder("late", "experiment", "late"), attempt), 4)
    assert [toy.trained for toy in toys] == [[1, 2, 3, 4], [3, 4]]
    assert keys(own)[:2] == keys(shared)[:2] and not {*keys(own)[2:]} & {*keys(shared)}


def test_a_round_says_what_it_was_trained_from_and_who_holds_it(tmp_path: Path) -> None:
    learnt_now = learnt(made(tmp_path), 3)
    assert made_now(learnt_now) == [True, True, True]
    rounds = [manifest(tmp_path, key) for key in keys(learnt_now)]
    assert [found["parent"] for found in rounds] == ["", *(found["checksums"]["weights"] for found in rounds[:2])]
    held = sorted(tmp_path.glob("rounds/*/*/held/*"))
    assert [path.name for path in held] == ["holder-one"] * 3
    assert json.loads(held[0].read_text()) == {"experiment": "experiment", "trial": "one"}


def test_what_is_found_is_not_made(tmp_path: Path) -> None:
    learnt(made(tmp_path), 2)
    toy = Toy()
    again = learnt(made(tmp_path, toy), 3)
    assert made_now(again) == [False, False, True]
    assert toy.trained == [3]
    assert notes(again) == []


def test_a_trial_that_starts_again_trains_with_the_weights_of_photos_that_the_archive_holds(tmp_path: Path) -> None:
    weights = np.array([1, 0.1, 1 / 3, 0], dtype=np.float32)  # their sum is in the toy's weights
    nearly = np.nextafter(weights, np.float32(2))

    def rounds(learner: CachedLearner, *given: Any) -> list[Record]:
        return [learner.keep(learn(learner, number, each)) for number, each in enumerate(given, 1)]

    first = rounds(made(tmp_path), None, weights)
    drop(tmp_path, first[1].key)
    toy = Toy()
    again = rounds(made(tmp_path, toy), None, weights, weights)
    assert toy.trained == [2, 3]  # round 2 only for its weights: it has the same bits, or it would fail
    assert notes(again) == ["round 2 made again, because the weights were not kept"]
    assert keys(again)[:2] == keys(first)
    for record in again[1:]:
        assert record.kept.dtype == np.float32
        np.testing.assert_array_equal(record.kept, weights)
    assert keys(rounds(made(tmp_path), None, nearly))[1] != first[1].key != keys(rounds(made(tmp_path), None, None))[1]


def test_cold_rounds_are_trained_from_no_parent(tmp_path: Path) -> None:
    rounds = learnt(made(tmp_path, cold=True), 2)
    assert manifest(tmp_path, rounds[1].key)["parent"] == ""


def test_a_child_of_other_weights_is_trained_again(tmp_path: Path) -> None:
    first, second = keys(learnt(made(tmp_path), 2))
    folder = tmp_path / "rounds" / first[:2] / first
    (folder / "manifest.json").write_text("{")  # and it is made again by another machine of the same kind
    toy = Toy(drift=1.0)
    other = learnt(made(tmp_path, toy), 2)
    assert made_now(other) == [True, True]
    assert toy.trained == [1, 2]
    assert notes(other)[-1] == "round 2 in the archive was trained from other weights; trained again"
    assert manifest(tmp_path, second)["parent"] == manifest(tmp_path, first)["checksums"]["weights"]


def test_a_child_that_does_not_say_what_it_was_trained_from_is_taken(tmp_path: Path) -> None:
    """As rounds do that were written before this was noted."""
    archive = Archive(str(tmp_path))
    for key in keys(learnt(made(tmp_path), 2)):
        record, weights = archive.read(key), archive.read_weights(key)
        assert record is not None and weights is not None
        archive.write(key, cached_learner.replace(record, parent=None), weights)
    again = learnt(made(tmp_path), 3)
    assert made_now(again) == [False, False, True]
    parent = manifest(tmp_path, again[1].key)["checksums"]["weights"]
    assert manifest(tmp_path, again[2].key)["parent"] == parent


def test_a_round_of_a_machine_that_computes_otherwise_is_trained_again_and_one_that_does_not_say_is_taken(
    tmp_path: Path,
) -> None:
    """Both machines can have the plain name where the note of the first one is gone."""
    one, other, untold = (Device("cpu", probe) for probe in ("1f", "2e", ""))
    first = learnt(made(tmp_path, device=one), 2)
    assert made_now(learnt(made(tmp_path, device=one), 2)) == [False, False]
    assert made_now(learnt(made(tmp_path, device=untold), 2)) == [False, False]
    again = learnt(made(tmp_path, device=other), 2)
    assert made_now(again) == [True, True] and keys(again) == keys(first)
    said = "round {} in the archive is from a machine with other bits; trained again"
    assert notes(again) == [said.format(1), said.format(2)]
    assert [manifest(tmp_path, key)["probe"] for key in keys(again)] == ["2e", "2e"]
    learnt(made(tmp_path / "old", device=untold), 1)
    assert made_now(learnt(made(tmp_path / "old", device=other), 1)) == [False]


def test_what_is_to_be_said_of_a_device_is_said_in_its_first_round(tmp_path: Path) -> None:
    assert notes(learnt(made(tmp_path, device=Device("cpu", "1f", ("its note was damaged",))), 2)) == [
        "its note was damaged"
    ]


def test_a_parent_that_is_made_again_has_the_same_logits_and_the_same_weights(tmp_path: Path) -> None:
    for key in keys(learnt(made(tmp_path), 2)):
        drop(tmp_path, key)
    toy = Toy()
    again = learnt(made(tmp_path, toy), 3)
    assert made_now(again) == [False, False, True]
    assert toy.trained == [1, 2, 3]
    assert notes(again) == ["rounds 1 to 2 made again, because the weights were not kept"]
    other = made(tmp_path, Toy(drift=1e-3))  # its logits are the same
    assert made_now(learnt(other, 3)) == [False, False, False]
    drop(tmp_path, again[2].key)
    other.ask(4, ALL)
    assert other.seek() is RoundState.CLAIMED
    with pytest.raises(ValueError, match=r"^round 1 was made again, because its weights were not kept"):
        other.parent()


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
    for key in keys(learnt(made(tmp_path, Slow()), 2)):
        drop(tmp_path, key)
    again = learnt(made(tmp_path, Slow()), 3)
    assert again[2].seconds == 305  # not with those of rounds 1 and 2, made before it


def test_a_round_is_trained_before_the_last_one_is_written_and_waits_for_it_to_say_so(tmp_path: Path) -> None:
    class Told(Toy):
        def logits(self, weights: Any) -> Any:
            trained.set()
            return super().logits(weights)

    trained = threading.Event()
    learner = made(tmp_path, Told())
    first = learn(learner, 1)
    trained.clear()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(learn, learner, 2)
        assert trained.wait(30)
        assert not list(tmp_path.glob("rounds/*/*/manifest.json"))
        written = learner.keep(first)
        coming.result(30)
    assert learner.learnt is not None
    assert learner.learnt.parent == written.weights == manifest(tmp_path, first.key)["checksums"]["weights"]


def test_a_round_that_cannot_be_written_frees_its_place_and_ends_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local, held = Local(), Held()
    learner = made(tmp_path, held, attempt=local.of("one"))
    held.go_on.set()
    first = learn(learner, 1)
    held.go_on.clear()
    held.began.clear()

    def full(*arguments: Any) -> None:
        raise StorageError("no space")

    monkeypatch.setattr(Archive, "write", full)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(learn, learner, 2)
        assert held.began.wait(30)
        with pytest.raises(StorageError, match="no space"):
            learner.keep(first)
        held.go_on.set()
        with pytest.raises(ValueError, match="no space"):
            coming.result(30)
    second = cached_learner.round_key(first.key, ALL, 2)
    assert all(Attempt(local.claims, "another", "1").claim(key) for key in (first.key, second))
    with pytest.raises(ValueError, match="the trial has ended"):
        learn(learner, 3)


class Local:
    """Claims without Ray, and a learner that stops in a round."""

    def __init__(self) -> None:
        self.claims, self.waits = Claims(Here()), threading.Event()

    def of(self, trial: str) -> Attempt:
        waits = self.waits

        class Watched(Attempt):
            def claim(self, key: str) -> bool:
                granted = super().claim(key)
                if not granted:
                    waits.set()
                return granted

        return Watched(self.claims, trial, "1")


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
    monkeypatch.setattr(together, "POLL_S", 0.01)
    local, held, toy = Local(), Held(dies), Toy()
    first, second = made(tmp_path, held, local.of("none")), made(tmp_path, toy, local.of("hair"))

    def makes() -> None:
        try:
            learnt(first, 1)
        except ValueError:
            assert dies

    makers = [threading.Thread(target=makes), threading.Thread(target=learnt, args=(second, 1))]
    makers[0].start()
    assert held.began.wait(30)
    makers[1].start()
    assert local.waits.wait(30)
    assert toy.trained == []
    held.go_on.set()
    for maker in makers:
        maker.join(30)
    found = second.learnt
    assert found is not None
    assert (toy.trained, not found.is_written) == (([1], True) if dies else ([], False))
    assert found.maker == ("hair" if dies else "none")
    assert Attempt(local.claims, "third", "1").claim(found.key)  # nothing stays claimed


def test_the_checksum_is_that_of_the_file(tmp_path: Path) -> None:
    (key,) = keys(learnt(made(tmp_path), 1))
    weights = Archive(str(tmp_path)).read_weights(key)
    assert weights is not None
    assert manifest(tmp_path, key)["checksums"]["weights"] == weights_checksum(weights)
