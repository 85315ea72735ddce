"""Who makes a round: one trial at a time, whatever happens to it."""

from typing import Any

import pytest
import ray

from rsrl_ray.sweep.nodes.claims import Attempt, Claims
from rsrl_ray.sweep.ray_insides.connection import HeadNotes


class Here(HeadNotes):
    """Notes of this process."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def put(self, name: str, text: str, over: bool = True) -> bool:
        new = name not in self.texts
        if new or over:
            self.texts[name] = text
        return new

    def get(self, name: str) -> str | None:
        return self.texts.get(name)

    def delete(self, name: str) -> None:
        self.texts.pop(name, None)

    def names(self, prefix: str) -> list[str]:
        return [name for name in self.texts if name.startswith(prefix)]


def test_a_round_is_one_trials_at_a_time() -> None:
    claims = Claims(Here())
    assert Attempt(claims, "none", "1").claim("key")
    assert Attempt(claims, "none", "1").claim("key")  # asked again
    assert not Attempt(claims, "hair", "1").claim("key")
    assert Attempt(claims, "hair", "1").claim("other")
    Attempt(claims, "none", "1").release("key")
    assert Attempt(claims, "hair", "1").claim("key")
    assert not Attempt(claims, "none", "1").claim("key")


def test_claims_of_a_trial_that_died_are_void() -> None:
    claims = Claims(Here())
    assert Attempt(claims, "none", "1").claim("key")
    assert not Attempt(claims, "hair", "1").claim("key")
    claims.ended("none")
    assert Attempt(claims, "hair", "1").claim("key")
    claims.ended("nobody")


def test_a_later_attempt_of_the_same_trial_takes_its_claim_over() -> None:
    claims = Claims(Here())
    assert Attempt(claims, "none", "1").claim("key")
    assert Attempt(claims, "none", "2").claim("key")
    Attempt(claims, "none", "1").release("key")  # of a process that was thought dead
    assert not Attempt(claims, "hair", "1").claim("key")
    Attempt(claims, "none", "2").release("key")
    assert Attempt(claims, "hair", "1").claim("key")


def test_who_waits_is_known() -> None:
    claims = Claims(Here())
    Attempt(claims, "none", "1").claim("key")
    assert not claims.waits("hair")
    Attempt(claims, "hair", "1").claim("key")
    assert (claims.waits("hair"), claims.waits("none")) == (True, False)
    Attempt(claims, "none", "1").release("key")
    assert claims.waits("hair")  # it has not noticed yet
    Attempt(claims, "hair", "1").claim("key")
    assert not claims.waits("hair")
    Attempt(claims, "none", "2").claim("key")
    claims.ended("none")
    assert not claims.waits("none")


def test_a_sweep_that_has_ended_leaves_nothing_and_another_ones_claims_stay() -> None:
    here = Here()
    ours, theirs = Claims(here), Claims(here)
    assert Attempt(ours, "none", "1").claim("key") and Attempt(theirs, "none", "1").claim("key")
    ours.ended("none")
    assert not Attempt(theirs, "hair", "1").claim("key")
    ours.close()
    assert set(here.texts) == {f"{theirs.id}/claimed/key", f"{theirs.id}/waits/hair"}


@pytest.mark.usefixtures("ray_session")
def test_the_notes_are_at_rays_head_and_workers_see_them() -> None:
    claims = Claims()
    hair = Attempt(claims, "hair", "1")

    @ray.remote(num_cpus=0)
    def claimed(claims: Claims) -> bool:
        return Attempt(claims, "none", "1").claim("key")

    assert ray.get(claimed.remote(claims))
    assert not hair.claim("key")
    assert claims.waits("hair")
    claims.ended("none")
    assert hair.claim("key") and not claims.waits("hair")
    hair.release("key")
    assert ray.get(claimed.remote(claims))
    claims.close()
    assert claims.notes.names(claims.id) == []


def test_where_nobody_answers_all_is_granted() -> None:
    class Gone(Here):
        def __getattribute__(self, name: str) -> Any:
            raise ray.exceptions.RpcError("the head is gone")

    claims = Claims(Gone())
    assert Attempt(claims, "none", "1").claim("key") and not claims.waits("none")
    Attempt(claims, "none", "1").release("key")
    claims.ended("none")
    claims.close()
    alone = Attempt(Claims(), "none", "1")  # no Ray
    assert alone.claim("key")
    alone.release("key")
