"""When each threshold K1, K2, K3 holds (the paper's sections III and V.B)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KValues = tuple[float, ...]


@dataclass(frozen=True)
class Schedule:
    """A step function from the number of a revision to its thresholds (K1, ..., KM).

    Revision ``r`` uses network ``r`` and makes the training set of network ``r + 1``. A step holds from its
    revision until the next step; before the first one nothing is dropped (every K is 0).

    steps : ``((first revision, (K1, ..., KM)), ...)``, ascending.
    """

    steps: tuple[tuple[int, KValues], ...]

    def __str__(self) -> str:
        """The steps in words, as MLflow and tables show them."""
        return "; ".join(f"from revision {first}: {', '.join(map(str, k))}" for first, k in self.steps)

    def thresholds(self, revision: int) -> KValues:
        """(K1, ..., KM) of ``revision`` (1, 2, ...), on the likelihood's scale 0 to 1."""
        assert revision >= 1
        current = (0.0,) * len(self.steps[0][1])
        for first, thresholds in self.steps:
            if first <= revision:
                current = thresholds
        return current


def make_schedule(steps: Mapping[int, float | Sequence[float]], majority_classes: int = 3) -> Schedule:
    """Check ``{first revision: K or [K1, ..., KM]}`` and make the schedule; one K holds for all M classes.

    The paper's "firstly 0.9, after the 2th round 0.95" is ``{1: 0.9, 3: 0.95}``.

    Raises
    ------
    ValueError
        If there is no step, a revision is no whole number or below 1, a K is no number or lies outside 0 to 1, or
        their number is not M.
    """
    if not steps:
        raise ValueError("a schedule needs at least one step, such as {1: 0.9}")
    checked = []
    for revision in _revisions(steps):
        row = _row(revision, steps[revision], majority_classes)
        if revision < 1:
            raise ValueError(f"revision {revision}: revisions are counted from 1")
        if len(row) != majority_classes:
            raise ValueError(
                f"revision {revision}: {len(row)} thresholds {list(row)} for {majority_classes} majority classes; "
                f"give one K for all, or {majority_classes}"
            )
        if not all(0 <= k <= 1 for k in row):
            raise ValueError(f"revision {revision}: K must lie between 0 and 1, not {list(row)}")
        checked.append((revision, row))
    return Schedule(tuple(checked))


def _revisions(steps: Mapping[int, object]) -> list[int]:
    """Ascending. A method's steps come as the file has them: nobody has checked their types."""
    for revision in steps:
        if isinstance(revision, bool) or not isinstance(revision, int):
            raise ValueError(f"revision {revision!r}: revisions are whole numbers, counted from 1")
    return sorted(steps)


def _row(revision: int, values: object, majority_classes: int) -> KValues:
    row = values if isinstance(values, list | tuple) else [values] * majority_classes
    for k in row:
        if isinstance(k, bool) or not isinstance(k, int | float):
            raise ValueError(f"revision {revision}: K must be a number, or a list of {majority_classes}, not {k!r}")
    return tuple(map(float, row))
