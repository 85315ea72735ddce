"""Which chain of rounds a trial's run holds: a run never holds two.

A chain is known by the archive's keys of its rounds, each of which depends on the one before, and by their start.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mlflow.entities import Run

from rsrl_ray.core.trial import Link, Origin
from rsrl_ray.tracking.names import CHAIN, DEVICE, LOGGED, VERSIONS, key_tag, weights_tag


@dataclass(frozen=True)
class Chain:
    """What is logged of a chain: the key that it starts from ("" where its run does not say), and its rounds."""

    start: str
    rounds: list[Link]

    @classmethod
    def of(cls, run: Run) -> "Chain":
        """The chain that a trial's run holds, as far as it is wholly logged."""
        tags = run.data.tags
        numbers = range(1, int(tags.get(LOGGED, 0)) + 1)
        rounds = [Link(tags.get(key_tag(number), ""), tags.get(weights_tag(number), "")) for number in numbers]
        return cls(tags.get(CHAIN, ""), rounds)

    def agrees(self, rounds: Sequence[Link], origin: Origin) -> bool:
        """Whether these ``rounds`` can be of this chain, as far as both are known."""
        alike = "" in (self.start, origin.start_key) or self.start == origin.start_key
        return alike and all(map(Link.agrees, self.rounds, rounds))


def origin_tags(origin: Origin) -> dict[str, str]:
    """What a trial's run says of where its chain comes from."""
    if not origin.start_key:
        return {}
    return {CHAIN: origin.start_key, DEVICE: origin.device, VERSIONS: ", ".join(origin.versions)}


def difference(run: Run, origin: Origin) -> str:
    """In words, in what a chain of this ``origin`` differs from that of a run."""
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
