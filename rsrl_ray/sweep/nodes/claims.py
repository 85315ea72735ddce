"""Which trial makes a round of the archive now, so that no other trial of the sweep makes it too.

The scheduler knows only which rounds will be the same because their thresholds are; that two thresholds keep the same
photos turns out when they have been applied.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ray.exceptions import RayError

from rsrl_ray.sweep.ray_insides import HeadNotes

_CLAIMED, _WAITS_FOR = "claimed", "waits"
_UNREACHABLE = (RayError, RuntimeError, OSError, AttributeError)  # what is raised if there is no Ray, or no head

T = TypeVar("T")


@dataclass(frozen=True)
class Claims:
    """The claims of a sweep's trials on keys of the archive; travels to workers. ``id`` tells sweeps apart.

    A trial that starts again is another attempt of it: its earlier attempt is dead, and its claims are void. If the
    notes cannot be reached, or there is no Ray, all is granted: at worst a round is trained twice.
    """

    notes: HeadNotes = field(default_factory=HeadNotes)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def claim(self, key: str, trial: str, attempt: str) -> bool:
        """Whether the round is now this attempt's to make; if not, another trial makes it."""
        return self._ask(lambda: self._claim(key, trial, attempt), True)

    def release(self, key: str, trial: str, attempt: str) -> None:
        """The round is in the archive, or given up; nothing happens where a later attempt has claimed it."""
        name = self._name(_CLAIMED, key)
        if self._ask(lambda: self.notes.get(name), None) == f"{trial} {attempt}":
            self._ask(lambda: self.notes.delete(name), None)

    def ended(self, trial: str) -> None:
        """The trial's process has ended, however: its claims are void."""
        self._ask(lambda: self._end(trial), None)
        self._ask(lambda: self.notes.delete(self._name(_WAITS_FOR, trial)), None)

    def waits(self, trial: str) -> bool:
        """Whether the trial waits for a round that another one makes."""
        return self._ask(lambda: self.notes.get(self._name(_WAITS_FOR, trial)) is not None, False)

    def close(self) -> None:
        """The sweep has ended: nothing of it stays at the head."""
        self._ask(self._clear, None)

    def _claim(self, key: str, trial: str, attempt: str) -> bool:
        name, mine, waits = self._name(_CLAIMED, key), f"{trial} {attempt}", self._name(_WAITS_FOR, trial)
        while not self.notes.add(name, mine):
            maker = self.notes.get(name)
            if maker is None:  # released just now
                continue
            if maker.split()[0] != trial:
                self.notes.put(waits, key)
                return False
            self.notes.put(name, mine)
            break
        self.notes.delete(waits)
        return True

    def _end(self, trial: str) -> None:
        for name in self.notes.names(self._name(_CLAIMED, "")):
            if (self.notes.get(name) or "").startswith(f"{trial} "):
                self.notes.delete(name)

    def _clear(self) -> None:
        for name in self.notes.names(self._name("")):
            self.notes.delete(name)

    def _name(self, *parts: str) -> str:
        return "/".join([self.id, *parts])

    def _ask(self, question: Callable[[], T], otherwise: T) -> T:
        try:
            return question()
        except _UNREACHABLE:
            return otherwise


@dataclass(frozen=True)
class Attempt:
    """One attempt of a trial."""

    claims: Claims
    trial: str
    attempt: str

    def claim(self, key: str) -> bool:
        """See `Claims.claim`."""
        return self.claims.claim(key, self.trial, self.attempt)

    def release(self, key: str) -> None:
        """See `Claims.release`."""
        self.claims.release(key, self.trial, self.attempt)
