"""Whose weights must stay while a sweep runs (`archive: {weights: needed}`)."""

from collections.abc import Mapping

from rsrl_ray.sweep.scheduler import Prefix, TrialKey


class Retention:
    """Tells whose weights no trial of the sweep needs any more.

    A trial, running, waiting or finished, needs those of the deepest of its rounds that is done, by whomever: it goes
    on from there, now or when rounds are added. And those of its best round so far are kept as its model.
    """

    def __init__(self, chains: Mapping[TrialKey, tuple[Prefix, ...]]) -> None:
        self._chains = chains
        self._keys: dict[Prefix, str] = {}
        self._best: dict[TrialKey, tuple[float, str]] = {}
        self._held: set[str] = set()

    def finished(self, trial: TrialKey, number: int, key: str, value: float) -> set[str]:
        """Round ``number`` of ``trial`` is in the archive under ``key``; ``value`` is what rounds are chosen by.

        Returns the keys of rounds whose weights can go.
        """
        self._keys[self._chains[trial][number - 1]] = key
        self._held.add(key)
        if trial not in self._best or value > self._best[trial][0]:
            self._best[trial] = (value, key)
        unneeded = self._held - self._needed()
        self._held -= unneeded
        return unneeded

    def _needed(self) -> set[str]:
        needed = {key for _, key in self._best.values()}
        for rounds in self._chains.values():
            deepest = next((self._keys[prefix] for prefix in reversed(rounds) if prefix in self._keys), None)
            if deepest is not None:
                needed.add(deepest)
        return needed
