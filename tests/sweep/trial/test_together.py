"""The same round of several trials: what they share is made once, and each fails by itself."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweep.nodes.test_claims import Here
from sweep.trial.test_cached_learner import ALL, Toy, learn_together, made, manifest

from rsrl_ray.rounds.loop import NextRound
from rsrl_ray.store.archive import Archive
from rsrl_ray.store.storage import StorageError
from rsrl_ray.sweep.nodes.claims import Attempt, Claims
from rsrl_ray.sweep.task import Trained, Trainer
from rsrl_ray.sweep.trial import together
from rsrl_ray.sweep.trial.cached_learner import CachedLearner
from rsrl_ray.sweep.trial.together import Need, learn_all
from rsrl_ray.sweep.trial.trainers import fit_all
from rsrl_ray.vision.lesson import NotFinite

FEW = ALL & (np.arange(4) < 3)


@dataclass
class Counted:
    """Trains all at once, and says how many."""

    counts: list[int] = field(default_factory=list)

    def __call__(self, trainers: Any, parents: Any, kept: Any, number: int) -> list[Trained | NotFinite]:
        self.counts.append(len(trainers))
        return fit_all(trainers, parents, kept, number)


def three(root: Path, trainer: Trainer | None = None) -> list[CachedLearner]:
    """Trials of one process, which make no claims."""
    return [made(root, trainer, Attempt(None, name, "1")) for name in ("none", "hair", "firm")]


def needs(learners: list[CachedLearner], number: int, masks: list[Any]) -> list[Need]:
    return [Need(one, NextRound(number, mask, ~mask, None)) for one, mask in zip(learners, masks, strict=True)]


def test_trials_that_need_the_same_round_make_it_once_and_go_on_apart(tmp_path: Path) -> None:
    learners, counted = three(tmp_path), Counted()
    first = needs(learners, 1, [ALL, ALL, FEW])
    learn_all(first, counted)
    assert [need.made for need in first] == [True, False, True]
    records = [one.learnt for one in learners if one.learnt is not None]
    assert [record.maker for record in records] == ["none", "none", "firm"]
    second = needs(learners, 2, [ALL, FEW, FEW])  # the parents are not written yet
    kept = [one.keep(record) for one, record in zip(learners, records, strict=True)]
    assert kept[0].weights == kept[1].weights != kept[2].weights
    learn_all(second, counted)
    for one in learners:
        assert one.learnt is not None
        one.keep(one.learnt)
        parent = manifest(tmp_path, one.learnt.parent_key)["checksums"]["weights"]
        assert manifest(tmp_path, one.learnt.key)["parent"] == parent
    assert counted.counts == [2, 3]
    held = [sorted(path.name for path in (tmp_path / "rounds" / r.key[:2] / r.key / "held").iterdir()) for r in kept]
    assert held == [["holder-hair", "holder-none"]] * 2 + [["holder-firm"]]
    alone = learn_together([made(tmp_path / "alone")], 1)[0]
    assert alone.logits.tobytes() == records[1].logits.tobytes()


def test_a_round_that_cannot_be_written_ends_those_that_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learners = three(tmp_path)
    learn_together(learners, 1)

    def full(*arguments: Any) -> None:
        raise StorageError("no space")

    monkeypatch.setattr(Archive, "write", full)
    for one in learners:
        assert one.learnt is not None
        with pytest.raises(StorageError, match="no space"):
            one.keep(one.learnt)
    after = needs(learners, 2, [ALL] * 3)
    learn_all(after, fit_all)
    assert {need.error for need in after} == {"the trial has ended"}


def test_what_fails_for_one_trial_fails_for_those_that_need_the_same_round_and_for_no_other(tmp_path: Path) -> None:
    class Few(Toy):
        def fit(self, parent: Any, kept: Any, number: int) -> Any:
            if kept.all():
                raise NotFinite("a weight is not finite")
            return super().fit(parent, kept, number)

    found = needs(three(tmp_path, Few()), 1, [ALL, ALL, FEW])
    learn_all(found, fit_all)
    assert [need.error for need in found] == ["a weight is not finite"] * 2 + [""]
    wrong = needs(three(tmp_path), 2, [ALL, ALL, FEW])
    with wrong[0].failing():
        raise ValueError  # as a rule of a user may
    assert wrong[0].error == "ValueError"


def test_what_was_made_is_written_before_another_process_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Because that one may wait for it in turn."""
    claims = Claims(Here())
    mine = [made(tmp_path, None, Attempt(claims, name, "1")) for name in ("none", "firm")]
    other = made(tmp_path, None, Attempt(claims, "other", "1"))
    other.ask(1, FEW)
    other.seek()

    def pause(seconds: float) -> None:
        assert len(list(tmp_path.glob("rounds/*/*/manifest.json"))) == 1
        other.take(Trained(other.trainer.fit(other.parent(), FEW, 1), np.zeros((4, 2), np.float32)), 0.0)
        other.write()

    monkeypatch.setattr(together, "pause", pause)
    found = needs(mine, 1, [ALL, FEW])
    learn_all(found, fit_all)
    assert [(need.made, need.error) for need in found] == [(True, ""), (False, "")]
    assert [one.learnt.maker for one in mine if one.learnt is not None] == ["none", "other"]


def test_a_loss_that_raises_fails_its_own_trial_alone(tmp_path: Path) -> None:
    def strict(trainers: Any, parents: Any, kept: Any, number: int) -> list[Trained | NotFinite]:
        if any(mask.all() for mask in kept):
            raise ValueError("my.Loss: KeyError: 3")
        return fit_all(trainers, parents, kept, number)

    found = needs(three(tmp_path), 1, [ALL, FEW, ~ALL])
    learn_all(found, strict)
    assert [need.error for need in found] == ["my.Loss: KeyError: 3", "", ""]


def test_nobody_waits_for_a_round_of_a_process_that_ends(tmp_path: Path) -> None:
    learners = three(tmp_path)
    learn_together(learners, 1)
    learners[0].abandon()
    after = needs(learners, 2, [FEW, ALL, ALL])
    learn_all(after, fit_all)
    assert {need.error for need in after} == {"the trial has ended", "the process ends"}
