"""Who makes a round: one trial at a time, whatever happens to it."""

import pytest
import ray

from rsrl_ray.sweep.claims import Attempt, Claims, start_claims, void_claims, waits_for_another


def test_a_round_is_one_trials_at_a_time() -> None:
    claims = Claims()
    assert claims.claim("key", "none", "1")
    assert claims.claim("key", "none", "1")  # asked again
    assert not claims.claim("key", "hair", "1")
    assert claims.claim("other", "hair", "1")
    claims.release("key", "none", "1")
    assert claims.claim("key", "hair", "1")
    assert not claims.claim("key", "none", "1")


def test_claims_of_a_trial_that_died_are_void() -> None:
    claims = Claims()
    assert claims.claim("key", "none", "1")
    assert not claims.claim("key", "hair", "1")
    claims.ended("none")
    assert claims.claim("key", "hair", "1")
    claims.ended("nobody")


def test_a_later_attempt_of_the_same_trial_takes_its_claim_over() -> None:
    claims = Claims()
    assert claims.claim("key", "none", "1")
    assert claims.claim("key", "none", "2")
    claims.release("key", "none", "1")  # of a process that was thought dead
    assert not claims.claim("key", "hair", "1")
    claims.release("key", "none", "2")
    assert claims.claim("key", "hair", "1")


def test_who_waits_is_known() -> None:
    claims = Claims()
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


@pytest.mark.usefixtures("ray_session")
def test_the_actor_and_what_happens_once_it_is_gone() -> None:
    claims = start_claims()
    none, hair = Attempt(claims, "none", "1"), Attempt(claims, "hair", "1")
    assert none.claim("key")
    assert not hair.claim("key")
    assert waits_for_another(claims, "hair")
    void_claims(claims, "none")
    assert hair.claim("key")
    hair.release("key")
    assert none.claim("key")
    ray.kill(claims)
    assert hair.claim("key")  # at worst a round is trained twice
    none.release("key")
    assert not waits_for_another(claims, "hair")


def test_without_an_actor_all_is_granted() -> None:
    alone = Attempt(None, "none", "1")
    assert alone.claim("key")
    alone.release("key")
    void_claims(None, "none")
    assert not waits_for_another(None, "none")
