"""Which weights must stay: who holds those of a round, and who no longer needs them.

All sweeps of a storage, whatever their names, methods and `archive`, note in the archive what they need, as this one
does (`Archive.hold`). Weights are deleted when nobody holds them.
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
    """A trial holds the weights of the round under ``key``; if ``trial`` is None, the whole sweep does."""

    key: str
    trial: TrialKey | None


@dataclass(frozen=True)
class Changes:
    """What is newly held, and what is no longer held."""

    hold: frozenset[Hold] = frozenset()
    release: frozenset[Hold] = frozenset()


_TrialChain = tuple[TrialKey, str]  # a trial and the start of its chain of rounds


class WeightRetention:
    """Tells which weights the trials of a sweep need, as their rounds come in.

    A trial needs the weights of its newest round, to go on when rounds are added, and of its best round, as its model.
    If its method averages rounds, it needs all rounds that the best and the next round are averaged with.

    Other trials that share its rounds may have overtaken a trial. It then goes on from their round, which the sweep
    holds for it: one hold, for any number of trials that wait. Holds are counted as rounds come in, because to ask a
    thousand trials at each result takes over 10 ms. A trial that was started again on another kind of device has a
    second chain of rounds, and needs the same of each chain.

    With ``keep_all``, the sweep holds every round for ever.
    """

    def __init__(
        self,
        sweep: str,
        outlines: Mapping[TrialKey, Outline],
        keep_all: bool = False,
        predictions: Mapping[TrialKey, Prediction] | None = None,
    ) -> None:
        """``sweep`` : its id. predictions : of the trials; the largest logit for a trial that is not in it."""
        self.sweep, self.keep_all = sweep, keep_all
        self._outlines, self._predictions = outlines, predictions or {}
        self._sharers: defaultdict[Prefix, list[TrialKey]] = defaultdict(list)
        for trial, outline in outlines.items():
            for prefix in outline:
                self._sharers[prefix].append(trial)
        self._rounds: defaultdict[_TrialChain, dict[int, Hold]] = defaultdict(dict)
        self._best: dict[_TrialChain, tuple[float, int]] = {}
        self._own: dict[_TrialChain, set[Hold]] = {}
        self._ahead: dict[_TrialChain, dict[int, Hold]] = {}  # rounds that others have made and it needs
        self._held: Counter[Hold] = Counter()
        self._told: dict[Hold, bool] = {}  # the last change told: True if it is held

    def finished(self, trial: TrialKey, report: Report) -> Changes:
        """A round of ``trial`` is in the archive. Each change is told once, also if several trials report it.

        A round that nobody needs is released too, because an earlier process of this sweep may have held it.
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
        """Whether it is still held."""
        return self._held[hold] > 0

    def _wanted(self, chain: _TrialChain) -> set[Hold]:
        """What a trial itself needs."""
        rounds, newest, (_, best) = self._rounds[chain], max(self._rounds[chain]), self._best[chain]
        prediction = self._prediction(chain)
        wanted = {newest, *prediction.rounds(best), *prediction.rounds(newest + 1)}
        return {hold for number, hold in rounds.items() if number in wanted}

    def _overtaken(self, chain: _TrialChain, number: int, shared: Hold) -> set[Hold]:
        """Round ``number`` of the chain is made, perhaps by another trial; the holds that have changed.

        A trial that averages needs all rounds made for it, because nobody knows yet which of them is its best.
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
        """Somebody had the holds ``before`` and has ``now`` others; the holds that have changed."""
        self._held.update(now - before)
        self._held.subtract(before - now)
        return before ^ now

    def _tell(self, changed: set[Hold], own: Hold) -> Changes:
        held = {hold for hold in changed if self._held[hold] and not self._told.get(hold)}
        gone = {hold for hold in changed if not self._held[hold] and self._told.get(hold, True)}
        # The sweep's hold that was never told is released only together with the trial's: a release costs a request.
        gone -= {hold for hold in gone if hold.trial is None and hold not in self._told and own not in gone}
        self._told |= dict.fromkeys(held, True) | dict.fromkeys(gone, False)
        return Changes(frozenset(held), frozenset(gone))
