"""Which trial makes a round of the archive now, so that no other trial of the sweep makes it too.

The scheduler knows only which rounds will be the same since their thresholds are; that two thresholds keep the same
photos turns out when they have been applied.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


class Claims:
    """The claims of a sweep's trials on keys of the archive; an actor, so that all of them ask the same one.

    A trial that starts again is another attempt of it: its earlier attempt is dead, and so are its claims.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, str]] = {}  # key -> trial, attempt
        self._waiting: dict[str, str] = {}  # trial -> key

    def claim(self, key: str, trial: str, attempt: str) -> bool:
        """Whether the round is now this attempt's to make; if not, another trial makes it."""
        holder, _ = self._held.get(key, (trial, attempt))
        if holder != trial:
            self._waiting[trial] = key
            return False
        self._waiting.pop(trial, None)
        self._held[key] = trial, attempt
        return True

    def release(self, key: str, trial: str, attempt: str) -> None:
        """The round is in the archive, or given up; nothing happens where a later attempt has claimed it."""
        if self._held.get(key) == (trial, attempt):
            del self._held[key]

    def ended(self, trial: str) -> None:
        """The trial's process has ended, however: its claims are void."""
        self._waiting.pop(trial, None)
        self._held = {key: holder for key, holder in self._held.items() if holder[0] != trial}

    def waits(self, trial: str) -> bool:
        """Whether the trial waits for a round that another one makes."""
        return trial in self._waiting


class Claim(Protocol):
    """One attempt of a trial, as it claims rounds."""

    def claim(self, key: str) -> bool:
        """See `Claims.claim`."""
        ...

    def release(self, key: str) -> None:
        """See `Claims.release`."""
        ...


@dataclass(frozen=True)
class Attempt:
    """One attempt of a trial, whose claims go to the sweep's actor; without it, or where it is gone, all is granted."""

    claims: "ActorHandle[Claims] | None"
    trial: str
    attempt: str

    def claim(self, key: str) -> bool:
        """See `Claims.claim`."""
        if self.claims is None:
            return True
        try:
            return bool(ray.get(self.claims.claim.remote(key, self.trial, self.attempt)))
        except RayError:
            return True

    def release(self, key: str) -> None:
        """See `Claims.release`."""
        if self.claims is not None:
            self.claims.release.remote(key, self.trial, self.attempt)


def start_claims() -> "ActorHandle[Claims]":
    """`Claims` as an actor on this node; it ends with this process."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(Claims)
    handle: ActorHandle[Claims] = actor.options(num_cpus=0, scheduling_strategy=here).remote()
    return handle


def void_claims(claims: "ActorHandle[Claims] | None", trial: str) -> None:
    """See `Claims.ended`."""
    if claims is not None:
        claims.ended.remote(trial)


def waits_for_another(claims: "ActorHandle[Claims] | None", trial: str) -> bool:
    """See `Claims.waits`; False where nobody answers."""
    try:
        return claims is not None and bool(ray.get(claims.waits.remote(trial), timeout=10))
    except RayError:
        return False
