"""Whose fault it is that a trial fails: its own, or that of the node that it was on."""

from collections import Counter, defaultdict
from collections.abc import Collection

from rsrl_ray.core.trial import TrialKey

_DEATHS = 2  # in a row, in set-ups on one node: a single process may have been killed by anybody


class Blame:
    """The ledger of a sweep's failures, by trial, round and node.

    A crash counts against its trial, in the round that was made then, unless the node that held the trial is lost. A
    set-up that fails, before the first round, counts against the node, which gets no more trials; only a trial that no
    node could set up is itself at fault, until a second one cannot be set up there either.
    """

    def __init__(self) -> None:
        self._on: dict[TrialKey, str] = {}  # the node that a trial was started on
        self._known: set[str] = set()  # processes
        self._new: set[TrialKey] = set()  # trials in a new process, which has not reported yet
        self._crashes: defaultdict[tuple[TrialKey, int], list[str]] = defaultdict(list)  # by round: on which nodes
        self._refusals: defaultdict[str, dict[TrialKey, str]] = defaultdict(dict)  # by node, since a set-up succeeded
        self._deaths: Counter[str] = Counter()  # likewise
        self._faulty: set[TrialKey] = set()  # trials that no node could set up

    def started(self, trial: TrialKey, node: str, process: str) -> None:
        """The trial has a process, which may have had another trial before."""
        self._on[trial] = node
        if process not in self._known:
            self._known.add(process)
            self._new.add(trial)

    def reported(self, trial: TrialKey) -> None:
        """It is set up: where its process is new, its node can set trials up, whatever was before."""
        if trial in self._new:
            self._new.remove(trial)
            self._refusals.pop(self._on[trial], None)
            self._deaths.pop(self._on[trial], None)

    def has_started(self, trial: TrialKey) -> bool:
        """Whether it has had a process since it failed last."""
        return trial in self._on

    def crashed(self, trial: TrialKey, number: int, node: str) -> None:
        """Its process has ended in this round; ``node`` is asked only if it had none yet."""
        self._crashes[trial, number].append(self._on.pop(trial, node))
        self._new.discard(trial)

    def own_crashes(self, trial: TrialKey, number: int, lost: Collection[str]) -> int:
        """How many crashes in this round no loss of a node explains; ``lost``: the nodes that are gone."""
        return sum(node not in lost for node in self._crashes[trial, number])

    def refused(self, trial: TrialKey, node: str, reason: str, nodes: Collection[str], died: bool = False) -> bool:
        """The node could not set up the trial; whether it is the node's fault.

        nodes : those with room for the trial. died : the process has ended, and it is not known why.
        """
        self._on.pop(trial, None)
        self._new.discard(trial)
        self._deaths[node] += died
        if (died and self._deaths[node] < _DEATHS) or trial in self._refusals[node]:  # where it should not be again
            return False
        self._refusals[node][trial] = reason
        if all(other in self.out or trial in self._refusals.get(other, {}) for other in nodes):
            self._faulty.add(trial)
        return node in self.out

    @property
    def out(self) -> dict[str, str]:
        """The nodes that get no more trials: why."""
        return {
            node: list(refusals.values())[-1]
            for node, refusals in self._refusals.items()
            if len(refusals) > 1 or refusals.keys() - self._faulty
        }
