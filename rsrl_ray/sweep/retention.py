"""Whose weights must stay while a sweep runs (`archive: {weights: needed}`)."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from rsrl_ray.sweep.scheduler import Prefix, TrialKey


class Retention:
    """Tells whose weights no trial of the sweep needs any more.

    A trial, running, waiting or finished, needs those of the deepest of its rounds that is done, by whomever: it goes
    on from there, now or when rounds are added. And those of its best round so far are kept as its model. How many
    trials need a round is counted as rounds come in: to ask a thousand trials at each result takes over 10 ms.
    """

    def __init__(self, chains: Mapping[TrialKey, tuple[Prefix, ...]]) -> None:
        self._chains = chains
        self._sharers: defaultdict[Prefix, list[TrialKey]] = defaultdict(list)
        for trial, rounds in chains.items():
            for prefix in rounds:
                self._sharers[prefix].append(trial)
        self._deepest: dict[TrialKey, tuple[int, str]] = {}
        self._best: dict[TrialKey, tuple[float, str]] = {}
        self._needs: Counter[str] = Counter()
        self._gone: set[str] = set()

    def finished(self, trial: TrialKey, number: int, key: str, value: float) -> set[str]:
        """Round ``number`` of ``trial`` is in the archive under ``key``; ``value`` is what rounds are chosen by.

        Returns the keys of rounds whose weights can go, each once: trials that share a round all report it.
        """
        changed = {key}
        for sharer in self._sharers[self._chains[trial][number - 1]]:
            before, known = self._deepest.get(sharer, (0, ""))
            if number >= before:
                self._deepest[sharer] = (number, key)
                changed.add(self._moved(known, key))
        if trial not in self._best or value > self._best[trial][0]:
            _, known = self._best.get(trial, (value, ""))
            self._best[trial] = (value, key)
            changed.add(self._moved(known, key))
        unneeded = {key for key in changed - self._gone if key and not self._needs[key]}
        self._gone |= unneeded
        return unneeded

    def _moved(self, before: str, now: str) -> str:
        """One need goes from the key ``before`` (none where empty) to ``now``; the key it left."""
        self._needs[now] += 1
        if before:
            self._needs[before] -= 1
        return before
