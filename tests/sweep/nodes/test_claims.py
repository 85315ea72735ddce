"""Who makes a round: one trial at a time, whatever happens to it."""

from typing import Any

import pytest
import ray

from rsrl_ray.sweep.nodes.claims import Attempt, Claims
from rsrl_ray.sweep.ray_insides import HeadNotes


class Here(HeadNotes):
    """Notes of this process."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, name: str, text: str) -> bool:
        return self.texts.setdefault(name, text) is text

    def put(self, name: str, text: str) -> None:
        self.texts[name] = text

    def get(self, name: str) -> str | None:
        return self.texts.get(name)

    def delete(self, name: str) -> None:
        self.texts.pop(name, None)

    def names(self, prefix: str) -> list[str]:
        return [name for name in self.texts if name.startswith(prefix)]


def test_a_round_is_one_trials_at_a_time() -> None:
    claims = Claims(Here())
    assert claims.claim("key", "none", "1")
    assert claims.claim("key", "none", "1")  # asked again
    assert not claims.claim("key", "hair", "1")
    assert claims.claim("other", "hair", "1")
    claims.release("key", "none", "1")
    assert claims.claim("key", "hair", "1")
    assert not claims.claim("key", "none", "1")


def test_claims_of_a_trial_that_died_are_void() -> None:
    claims = Claims(Here())
    assert claims.claim("key", "none", "1")
    assert not claims.claim("key", "hair", "1")
    claims.ended("none")
    assert claims.claim("key", "hair", "1")
    claims.ended("nobody")


def test_a_later_attempt_of_the_same_trial_takes_its_claim_over() -> None:
    claims = Claims(Here())
    assert claims.claim("key", "none", "1")
    assert claims.claim("key", "none", "2")
    claims.release("key", "none", "1")  # of a process that was thought dead
    assert not claims.claim("key", "hair", "1")
    claims.release("key", "none", "2")
    assert claims.claim("key", "hair", "1")


def test_who_waits_is_known() -> None:
    claims = Claims(Here())
    claims.claim("key", "none", "1")
    assert not claims.waits("hair")
    claims.claim("key", "hair", "1")
    assert (claims.waits("hair"), claims.waits("none")) == (True, False)
    claims.release("key", "none", "1")
    assert claims.waits("hair")  # it has not noticed yet
    claims.claim("key", "hair", "1")
    assert not claims.waits("hair")
    claims.claim("key", "none", "2")
    claims.ended("none")
    assert not claims.waits("none")


def test_a_sweep_that_has_ended_leaves_nothing_and_another_ones_claims_stay() -> None:
    here = Here()
    ours, theirs = Claims(here), Claims(here)
    assert ours.claim("key", "none", "1") and theirs.claim("key", "none", "1")
    ours.ended("none")
    assert not theirs.claim("key", "hair", "1")
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
    assert claims.claim("key", "none", "1") and not claims.waits("none")
    claims.release("key", "none", "1")
    claims.ended("none")
    claims.close()
    alone = Attempt(Claims(), "none", "1")  # no Ray
    assert alone.claim("key")
    alone.release("key")
