"""Which chain of rounds a trial's run holds, and which of a trial's chains is the trial: the one taken up last.

A run never holds two chains. The archive's keys of its rounds tell which chain it is: each key depends on the one
before, and the first on the start.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlflow.entities import Run

from rsrl_ray.core.trial import Link, Origin, TrialKey
from rsrl_ray.tracking.names import (
    CHAIN,
    DEVICE,
    LOGGED,
    NEWEST,
    OPENED,
    TAKEN_UP,
    TRIAL,
    VERSIONS,
    key_tag,
    weights_tag,
)
from rsrl_ray.tracking.runs import key_of_run, opened


@dataclass(frozen=True)
class Chain:
    """What is logged of a chain: the key that it starts from ("" if its run does not say it), and its rounds."""

    start: str
    rounds: list[Link]

    @classmethod
    def of(cls, run: Run) -> "Chain":
        """The chain that a trial's run holds: the rounds that are wholly logged."""
        tags = run.data.tags
        numbers = range(1, int(tags.get(LOGGED, 0)) + 1)
        rounds = [Link(tags.get(key_tag(number), ""), tags.get(weights_tag(number), "")) for number in numbers]
        return cls(tags.get(CHAIN, ""), rounds)

    def agrees(self, rounds: Sequence[Link], origin: Origin) -> bool:
        """Whether these ``rounds`` can belong to this chain, as far as both are known."""
        alike = "" in (self.start, origin.start_key) or self.start == origin.start_key
        return alike and all(map(Link.agrees, self.rounds, rounds))


def origin_tags(origin: Origin) -> dict[str, str]:
    """The tags of a trial's run that say where its chain comes from."""
    if not origin.start_key:
        return {}
    return {CHAIN: origin.start_key, DEVICE: origin.device, VERSIONS: ", ".join(origin.versions)}


def difference(run: Run, origin: Origin) -> str:
    """How a chain of this ``origin`` differs from the chain of a run, in words."""
    before, now = run.data.tags, origin_tags(origin)
    if DEVICE not in before:
        return "that run does not say what its rounds were made on"
    words = {"device": DEVICE, "versions": VERSIONS}
    changed = [
        f"{word} was {before.get(tag, '')}, is {now.get(tag, '')}"
        for word, tag in words.items()
        if before.get(tag, "") != now.get(tag, "")
    ]
    return "; ".join(changed) or "device and versions are the same, something else of the machine differs"


def order(run: Run) -> tuple[int, int, float, int]:
    """What a trial's runs are sorted by, so that the chain that was taken up last comes last.

    First by the opening of the sweep, then by count, see `place_tags`. Older runs have no count. In one opening only
    one chain goes on at a time, so the last chain is the one that ended last, or that still runs.
    """
    info = run.info
    ended = math.inf if info.status == "RUNNING" else info.end_time or 0
    return opened(run), _count(run), ended, info.start_time


def place_tags(known: Iterable[Run], opening: int) -> dict[str, str]:
    """The tags of a run that is taken up now: they make it the last in the `order` of its trial's runs.

    known : all runs of the trial, deleted ones too, because people may restore them. opening : that of the sweep.
    """
    count = 1 + max(map(_count, known), default=0)
    return {OPENED: str(opening), TAKEN_UP: str(count), NEWEST: "yes"}


def newest(runs: Iterable[Run]) -> list[Run]:
    """The run of every trial whose chain was taken up last; those taken up last come last."""
    last = {run.data.tags[TRIAL]: run for run in sorted(runs, key=order)}
    return sorted(last.values(), key=order)


def newest_of_methods(runs: Iterable[Run], trials: Mapping[str, TrialKey]) -> list[Run]:
    """The run of every fold and method that was taken up last, without methods that the file has redefined.

    trials : those of the file, by id.
    """
    ids = {key: trial for trial, key in trials.items()}
    asked = [run for run in newest(runs) if ids.get(key_of_run(run), run.data.tags[TRIAL]) == run.data.tags[TRIAL]]
    return list({key_of_run(run): run for run in asked}.values())


def _count(run: Run) -> int:
    return int(run.data.tags.get(TAKEN_UP, 0))
