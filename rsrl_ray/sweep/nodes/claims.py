"""Which trial makes a round of the archive now, so that no other trial of the sweep makes it too.

The scheduler knows only which rounds will be the same since their thresholds are; that two thresholds keep the same
photos turns out when they have been applied.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from ray._private import worker
from ray.exceptions import RayError

_NAMESPACE = b"rsrl_ray"
_HELD, _WAITS = "held", "waits"
_REFUSALS = (RayError, RuntimeError, OSError, AttributeError)  # what is raised where there is no Ray, or no head

T = TypeVar("T")


class Notes(Protocol):
    """Short texts by name that all processes of a sweep see."""

    def add(self, name: str, text: str) -> bool:
        """Write the text unless there is one; whether it was written."""
        ...

    def put(self, name: str, text: str) -> None:
        """Write the text over what is there."""
        ...

    def get(self, name: str) -> str | None:
        """The text, or None."""
        ...

    def delete(self, name: str) -> None:
        """Delete it, if it is there."""
        ...

    def names(self, prefix: str) -> list[str]:
        """All names that begin so."""
        ...


class HeadNotes:
    """Notes at Ray's head, which keeps such for its own libraries: an actor would be one process more."""

    def add(self, name: str, text: str) -> bool:
        """See `Notes`."""
        return bool(_head().internal_kv_put(name.encode(), text.encode(), False, _NAMESPACE) == 1)

    def put(self, name: str, text: str) -> None:
        """See `Notes`."""
        _head().internal_kv_put(name.encode(), text.encode(), True, _NAMESPACE)

    def get(self, name: str) -> str | None:
        """See `Notes`."""
        found = _head().internal_kv_get(name.encode(), _NAMESPACE)
        return None if found is None else found.decode()

    def delete(self, name: str) -> None:
        """See `Notes`."""
        _head().internal_kv_del(name.encode(), False, _NAMESPACE)

    def names(self, prefix: str) -> list[str]:
        """See `Notes`."""
        return [name.decode() for name in _head().internal_kv_keys(prefix.encode(), _NAMESPACE)]


def _head() -> Any:
    """The client of Ray's head that this process is connected with; `ray.experimental.internal_kv` may have another."""
    connected: Any = worker.global_worker
    return connected.gcs_client


@dataclass(frozen=True)
class Claims:
    """The claims of a sweep's trials on keys of the archive; travels to workers. ``id`` tells sweeps apart.

    A trial that starts again is another attempt of it: its earlier attempt is dead, and so are its claims. Where the
    notes cannot be reached all is granted: at worst a round is trained twice.
    """

    notes: Notes = field(default_factory=HeadNotes)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def claim(self, key: str, trial: str, attempt: str) -> bool:
        """Whether the round is now this attempt's to make; if not, another trial makes it."""
        return self._ask(lambda: self._claim(key, trial, attempt), True)

    def release(self, key: str, trial: str, attempt: str) -> None:
        """The round is in the archive, or given up; nothing happens where a later attempt has claimed it."""
        name = self._name(_HELD, key)
        if self._ask(lambda: self.notes.get(name), None) == f"{trial} {attempt}":
            self._ask(lambda: self.notes.delete(name), None)

    def ended(self, trial: str) -> None:
        """The trial's process has ended, however: its claims are void."""
        self._ask(lambda: self._end(trial), None)
        self._ask(lambda: self.notes.delete(self._name(_WAITS, trial)), None)

    def waits(self, trial: str) -> bool:
        """Whether the trial waits for a round that another one makes."""
        return self._ask(lambda: self.notes.get(self._name(_WAITS, trial)) is not None, False)

    def close(self) -> None:
        """The sweep has ended: nothing of it stays at the head."""
        self._ask(self._clear, None)

    def _claim(self, key: str, trial: str, attempt: str) -> bool:
        name, mine, waits = self._name(_HELD, key), f"{trial} {attempt}", self._name(_WAITS, trial)
        while not self.notes.add(name, mine):
            holder = self.notes.get(name)
            if holder is None:  # released just now
                continue
            if holder.split()[0] != trial:
                self.notes.put(waits, key)
                return False
            self.notes.put(name, mine)
            break
        self.notes.delete(waits)
        return True

    def _end(self, trial: str) -> None:
        for name in self.notes.names(self._name(_HELD, "")):
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
        except _REFUSALS:
            return otherwise


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
    """One attempt of a trial; without claims all is granted."""

    claims: Claims | None
    trial: str
    attempt: str

    def claim(self, key: str) -> bool:
        """See `Claims.claim`."""
        return self.claims is None or self.claims.claim(key, self.trial, self.attempt)

    def release(self, key: str) -> None:
        """See `Claims.release`."""
        if self.claims is not None:
            self.claims.release(key, self.trial, self.attempt)
