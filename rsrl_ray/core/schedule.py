"""When each threshold K1, K2, K3 holds (the paper's sections III and V.B)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rsrl_ray.core.value import check_count, check_number

KValues = tuple[float, ...]


@dataclass(frozen=True)
class Schedule:
    """A step function from the number of a revision to its thresholds (K1, ..., KM).

    Revision ``r`` uses network ``r`` and makes the training set of network ``r + 1``. A step holds from its revision
    until the next step. Before the first step nothing is dropped (every K is 0).

    steps : ``((first revision, (K1, ..., KM)), ...)``, ascending.
    """

    steps: tuple[tuple[int, KValues], ...]

    def __str__(self) -> str:
        """The steps in words, as MLflow and tables show them."""
        return "; ".join(f"from revision {first}: {', '.join(map(str, k))}" for first, k in self.steps)

    def thresholds(self, revision: int) -> KValues:
        """(K1, ..., KM) of ``revision`` (1, 2, ...); likelihoods, 0 to 1."""
        assert revision >= 1
        current = (0.0,) * len(self.steps[0][1])
        for first, thresholds in self.steps:
            if first <= revision:
                current = thresholds
        return current


def make_schedule(steps: Mapping[int, float | Sequence[float]], majority_classes: int = 3) -> Schedule:
    """Check ``{first revision: K or [K1, ..., KM]}`` and make the schedule; one K holds for all M classes.

    The paper's "firstly 0.9, after the 2th round 0.95" is ``{1: 0.9, 3: 0.95}``. The types of a method's steps were
    not checked before.

    Raises
    ------
    ValueError
        If there is no step, if a revision is not a whole number of 1 or more, if a K is not a number of 0 to 1, or if
        there are not M of them.
    """
    if not steps:
        raise ValueError("a schedule needs at least one step, such as {1: 0.9}")
    for revision in steps:
        check_count("revision", revision)
    return Schedule(tuple((revision, _row(revision, steps[revision], majority_classes)) for revision in sorted(steps)))


def _row(revision: int, values: object, majority_classes: int) -> KValues:
    row = values if isinstance(values, list | tuple) else [values] * majority_classes
    for k in row:
        check_number(f"revision {revision}: K", k, 0, 1)
    if len(row) != majority_classes:
        raise ValueError(
            f"revision {revision}: {len(row)} thresholds {list(row)} for {majority_classes} majority classes; give one "
            f"K for all, or {majority_classes}"
        )
    return tuple(map(float, row))
