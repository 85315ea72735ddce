"""Which trial makes a round of the archive now, so that no other trial of the sweep makes it too.

The scheduler knows that two rounds are the same only if their thresholds are. Two thresholds may also keep the same
photos, which shows only when they are applied.
"""

import contextlib
import uuid
from dataclasses import dataclass, field

from ray.exceptions import RayError

from rsrl_ray.sweep.ray_insides.connection import HeadNotes

_CLAIMED, _WAITS_FOR = "claimed", "waits"
_UNREACHABLE = (RayError, RuntimeError, OSError, AttributeError)  # what is raised if there is no Ray, or no head


@dataclass(frozen=True)
class Claims:
    """The claims of a sweep's trials on keys of the archive. Workers get a copy. ``id`` tells sweeps apart.

    If the notes cannot be reached, or there is no Ray, every claim is granted: at worst a round is trained twice.
    """

    notes: HeadNotes = field(default_factory=HeadNotes)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def ended(self, trial: str) -> None:
        """The trial's process has ended, in whatever way: its claims are void."""
        with contextlib.suppress(*_UNREACHABLE):
            for name in self.notes.names(self.name_of(_CLAIMED, "")):
                if (self.notes.get(name) or "").startswith(f"{trial} "):
                    self.notes.delete(name)
            self.notes.delete(self.name_of(_WAITS_FOR, trial))

    def waits(self, trial: str) -> bool:
        """Whether the trial waits for a round that another trial makes."""
        with contextlib.suppress(*_UNREACHABLE):
            return self.notes.get(self.name_of(_WAITS_FOR, trial)) is not None
        return False

    def close(self) -> None:
        """The sweep has ended: nothing of it stays at the head."""
        with contextlib.suppress(*_UNREACHABLE):
            for name in self.notes.names(self.name_of("")):
                self.notes.delete(name)

    def name_of(self, *parts: str) -> str:
        """The name of a note of this sweep."""
        return "/".join([self.id, *parts])


@dataclass(frozen=True)
class Attempt:
    """One attempt of a trial, which claims rounds.

    A trial that starts again is another attempt of it: the earlier attempt is dead, and its claims are void.

    claims : None if no other process makes a round of this trial; then every claim is granted.
    """

    claims: Claims | None
    trial: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def claim(self, key: str) -> bool:
        """Whether this attempt is to make the round now. If not, another trial makes it."""
        if self.claims is None:
            return True
        notes, waits = self.claims.notes, self.claims.name_of(_WAITS_FOR, self.trial)
        name = self.claims.name_of(_CLAIMED, key)
        with contextlib.suppress(*_UNREACHABLE):
            while not notes.put(name, str(self), over=False):
                maker = notes.get(name)
                if maker is None:  # it was released just now
                    continue
                if maker.split()[0] != self.trial:
                    notes.put(waits, key)
                    return False
                notes.put(name, str(self))
                break
            notes.delete(waits)
        return True

    def release(self, key: str) -> None:
        """The round is in the archive, or given up. Nothing happens if a later attempt has claimed it."""
        if self.claims is None:
            return
        notes, name = self.claims.notes, self.claims.name_of(_CLAIMED, key)
        with contextlib.suppress(*_UNREACHABLE):
            if notes.get(name) == str(self):
                notes.delete(name)

    def __str__(self) -> str:
        """As its claims name it."""
        return f"{self.trial} {self.id}"
