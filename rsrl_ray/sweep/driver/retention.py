"""Whose weights must stay: who holds those of a round, and who needs them no more.

The storage's other sweeps, whatever their names, methods and `archive`, note in the archive what they need, just as
this one does (`Archive.hold`). Weights are deleted once nobody holds them.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from rsrl_ray.core.prediction import LARGEST_LOGIT, Prediction
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.sweep.driver.scheduler import Outline, Prefix
from rsrl_ray.sweep.report import Report


class Hold(NamedTuple):
    """A trial holds the weights of the round under ``key``; the whole sweep does where ``trial`` is None."""

    key: str
    trial: TrialKey | None


@dataclass(frozen=True)
class Changes:
    """What is held now, and was not; what is held no more."""

    hold: frozenset[Hold] = frozenset()
    release: frozenset[Hold] = frozenset()


_TrialChain = tuple[TrialKey, str]  # a trial and the start of its chain of rounds


class WeightRetention:
    """Tells which weights the trials of a sweep need, as their rounds come in.

    A trial needs those of its newest round, to go on from when rounds are added, and of its best, as its model; where
    its method averages rounds, it needs all those that the best and the next round are averaged with. A trial that
    others who share its rounds have overtaken goes on from there: that the sweep holds for it, which is one hold for
    however many trials wait. Holds are counted as rounds come in: to ask a thousand trials at each result takes over
    10 ms. A trial that was started again on another kind of device has a second chain of rounds, and needs the like of
    each.

    With ``keep_all`` the sweep holds every round, for ever.
    """

    def __init__(
        self,
        sweep: str,
        outlines: Mapping[TrialKey, Outline],
        keep_all: bool = False,
        predictions: Mapping[TrialKey, Prediction] | None = None,
    ) -> None:
        """``sweep`` is its id. predictions : of the trials; the largest logit if it is None."""
        self.sweep, self.keep_all = sweep, keep_all
        self._outlines, self._predictions = outlines, predictions or {}
        self._sharers: defaultdict[Prefix, list[TrialKey]] = defaultdict(list)
        for trial, outline in outlines.items():
            for prefix in outline:
                self._sharers[prefix].append(trial)
        self._rounds: defaultdict[_TrialChain, dict[int, Hold]] = defaultdict(dict)
        self._best: dict[_TrialChain, tuple[float, int]] = {}
        self._own: dict[_TrialChain, set[Hold]] = {}
        self._ahead: dict[_TrialChain, dict[int, Hold]] = {}  # rounds that others have made for it
        self._held: Counter[Hold] = Counter()
        self._told: dict[Hold, bool] = {}  # whether its holding or its release was told last

    def finished(self, trial: TrialKey, report: Report) -> Changes:
        """A round of ``trial`` is in the archive. Each change is told once: trials that share a round all report it.

        A round that nobody needs is released too: an earlier process of this sweep may have held it.
        """
        own, shared, chain = Hold(report.key, trial), Hold(report.key, None), (trial, report.origin.start_key)
        if self.keep_all:
            self._held[shared] = 1
            return self._tell({shared}, own)
        self._rounds[chain][report.number] = own
        if chain not in self._best or report.value > self._best[chain][0]:
            self._best[chain] = report.value, report.number
        before, wanted = self._own.get(chain, set()), self._wanted(chain)
        self._own[chain] = wanted
        changed = {own, shared} | self._moved(before, wanted)
        for sharer in self._sharers[self._outlines[trial][report.number - 1]]:
            changed |= self._overtaken((sharer, report.origin.start_key), report.number, shared)
        return self._tell(changed, own)

    def is_held(self, hold: Hold) -> bool:
        """Whether it is still there."""
        return self._held[hold] > 0

    def _wanted(self, chain: _TrialChain) -> set[Hold]:
        """What a trial needs itself."""
        rounds, newest, (_, best) = self._rounds[chain], max(self._rounds[chain]), self._best[chain]
        prediction = self._prediction(chain)
        wanted = {newest, *prediction.rounds(best), *prediction.rounds(newest + 1)}
        return {hold for number, hold in rounds.items() if number in wanted}

    def _overtaken(self, chain: _TrialChain, number: int, shared: Hold) -> set[Hold]:
        """Round ``number`` of the chain is made, perhaps by another trial; the holds that have changed.

        What was made for a trial that averages is needed whole: it is not known yet which of its rounds is its best.
        """
        newest, before = max(self._rounds[chain], default=0), self._ahead.get(chain, {})
        ahead = {place: hold for place, hold in {**before, number: shared}.items() if place > newest}
        if ahead and not self._prediction(chain).averages:
            ahead = {max(ahead): ahead[max(ahead)]}
        self._ahead[chain] = ahead
        return self._moved(set(before.values()), set(ahead.values()))

    def _prediction(self, chain: _TrialChain) -> Prediction:
        return self._predictions.get(chain[0], LARGEST_LOGIT)

    def _moved(self, before: set[Hold], now: set[Hold]) -> set[Hold]:
        """One who had the holds ``before`` has those of ``now``; those that have changed."""
        self._held.update(now - before)
        self._held.subtract(before - now)
        return before ^ now

    def _tell(self, changed: set[Hold], own: Hold) -> Changes:
        held = {hold for hold in changed if self._held[hold] and not self._told.get(hold)}
        gone = {hold for hold in changed if not self._held[hold] and self._told.get(hold, True)}
        # What was never shared is released only along with the trial's own hold: to look costs a request.
        gone -= {hold for hold in gone if hold.trial is None and hold not in self._told and own not in gone}
        self._told |= dict.fromkeys(held, True) | dict.fromkeys(gone, False)
        return Changes(frozenset(held), frozenset(gone))
