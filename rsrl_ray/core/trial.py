"""What a trial is called."""

from typing import NamedTuple


class TrialKey(NamedTuple):
    """A trial of a sweep: one schedule on one fold."""

    fold: int
    schedule: str

    def __str__(self) -> str:
        """As messages name it."""
        return f"fold {self.fold}, {self.schedule}"
