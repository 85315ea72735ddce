"""Whose weights must stay: who needs those of a round, and who needs them no more.

The storage's other sweeps, whatever their names, schedules and `archive`, note in the archive what they need, just as
this one does (`Archive.hold`). Weights are deleted once nobody holds them.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from rsrl_ray.config import digest
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.sweep.report import Report
from rsrl_ray.sweep.scheduler import Prefix


@dataclass(frozen=True)
class Holder:
    """Somebody who needs weights: ``id`` is the name in the archive, ``experiment`` and ``who`` say it to people."""

    id: str
    experiment: str
    who: str

    @property
    def words(self) -> dict[str, str]:
        """For people who look into the archive."""
        return {"experiment": self.experiment, "trial": self.who}


def trial_holder(experiment: str, trial: TrialKey, trial_id: str) -> Holder:
    """A trial, which needs its newest and its best round."""
    return Holder(digest([experiment, trial_id]), experiment, str(trial))


class Need(NamedTuple):
    """A trial's need of the round under ``key``; the whole sweep's where ``trial`` is None."""

    key: str
    trial: TrialKey | None


@dataclass(frozen=True)
class Changes:
    """Needs that have come up and needs that have gone."""

    hold: frozenset[Need] = frozenset()
    release: frozenset[Need] = frozenset()


class Retention:
    """Tells which weights the trials of a sweep need, as their rounds come in.

    A trial needs those of its newest round, to go on from when rounds are added, and of its best, as its model. A
    trial that others who share its rounds have overtaken goes on from there: that the sweep needs for it, which is one
    need for however many trials wait. Needs are counted as rounds come in: to ask a thousand trials at each result
    takes over 10 ms. A trial that was started again on another kind of device has a second chain of rounds, and needs
    newest and best of each.

    With ``keep_all`` the sweep needs every round, for ever.
    """

    def __init__(self, sweep: str, chains: Mapping[TrialKey, tuple[Prefix, ...]], keep_all: bool = False) -> None:
        """``sweep`` is its id."""
        self.sweep, self.keep_all = sweep, keep_all
        self._chains = chains
        self._sharers: defaultdict[Prefix, list[TrialKey]] = defaultdict(list)
        for trial, rounds in chains.items():
            for prefix in rounds:
                self._sharers[prefix].append(trial)
        # All by trial and start of the chain.
        self._newest: dict[tuple[TrialKey, str], tuple[int, Need]] = {}
        self._ahead: dict[tuple[TrialKey, str], tuple[int, Need]] = {}  # others have made this one for it
        self._best: dict[tuple[TrialKey, str], tuple[float, Need]] = {}
        self._needs: Counter[Need] = Counter()
        self._told: dict[Need, bool] = {}  # whether its holding or its release was told last

    def finished(self, trial: TrialKey, report: Report) -> Changes:
        """A round of ``trial`` is in the archive. Each change is told once: trials that share a round all report it.

        A round that nobody needs is released too: an earlier process of this sweep may have held it.
        """
        own, shared, chain = Need(report.key, trial), Need(report.key, None), (trial, report.origin.start_key)
        if self.keep_all:
            self._needs[shared] = 1
            return self._tell({shared}, own)
        changed = {own, shared}
        number, before = self._newest.get(chain, (0, None))
        if report.number >= number:
            self._newest[chain] = report.number, own
            changed |= self._moved(before, own)
        value, before = self._best.get(chain, (report.value, None))
        if before is None or report.value > value:
            self._best[chain] = report.value, own
            changed |= self._moved(before, own)
        for sharer in self._sharers[self._chains[trial][report.number - 1]]:
            changed |= self._overtaken((sharer, report.origin.start_key), report.number, shared)
        return self._tell(changed, own)

    def needs(self, need: Need) -> bool:
        """Whether it is still there."""
        return self._needs[need] > 0

    def _overtaken(self, chain: tuple[TrialKey, str], number: int, shared: Need) -> set[Need]:
        """Round ``number`` of the chain is made, perhaps by another trial; the needs that have changed."""
        newest, _ = self._newest.get(chain, (0, None))
        reached, before = self._ahead.get(chain, (0, None))
        if newest >= reached and before is not None:  # it has caught up
            del self._ahead[chain]
            return self._moved(before, None)
        if number <= max(newest, reached):
            return set()
        self._ahead[chain] = number, shared
        return self._moved(before, shared)

    def _moved(self, before: Need | None, now: Need | None) -> set[Need]:
        """One need goes from ``before`` to ``now``, if any; those that have changed."""
        if now is not None:
            self._needs[now] += 1
        if before is not None:
            self._needs[before] -= 1
        return {need for need in (before, now) if need is not None}

    def _tell(self, changed: set[Need], own: Need) -> Changes:
        hold = {need for need in changed if self._needs[need] and not self._told.get(need)}
        gone = {need for need in changed if not self._needs[need] and self._told.get(need, True)}
        # What was never shared is released only along with the trial's own need: to look costs a request.
        gone -= {need for need in gone if need.trial is None and need not in self._told and own not in gone}
        self._told |= dict.fromkeys(hold, True) | dict.fromkeys(gone, False)
        return Changes(frozenset(hold), frozenset(gone))
