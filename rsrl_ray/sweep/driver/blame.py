"""Whose fault a failure is: the trial's, or that of the node on which it was."""

from collections import Counter, defaultdict
from collections.abc import Collection

from rsrl_ray.core.trial import Block

_DEATHS = 2  # in a row, during set-up on one node; anybody may have killed a single process


class Blame:
    """The ledger of a sweep's failures, by block (mostly of a single trial), round and node.

    A crash counts against the trial, in the round that it was making, unless the node of the trial is lost. If a set-up
    fails before the first round, it counts against the node, which gets no more trials. If no node could set up the
    trial, it is the trial's fault, until a node cannot set up a second trial either.
    """

    def __init__(self) -> None:
        self._on: dict[Block, str] = {}  # the node that a trial was started on
        self._known: set[str] = set()  # processes that have started
        self._new: set[Block] = set()  # trials in a new process, which has not reported yet
        self._crashes: defaultdict[tuple[Block, int], list[str]] = defaultdict(list)  # their nodes, by round
        self._refusals: defaultdict[str, dict[Block, str]] = defaultdict(dict)  # by node, after its last good set-up
        self._deaths: Counter[str] = Counter()  # set-ups that died, also after the last good one
        self._faulty: set[Block] = set()  # trials that no node could set up

    def started(self, trial: Block, node: str, process: str) -> None:
        """The trial has a process, which may have run another trial before."""
        self._on[trial] = node
        if process not in self._known:
            self._known.add(process)
            self._new.add(trial)

    def reported(self, trial: Block) -> None:
        """The trial is set up. If its process is new, its node can set trials up, whatever happened before."""
        if trial in self._new:
            self._new.remove(trial)
            self._refusals.pop(self._on[trial], None)
            self._deaths.pop(self._on[trial], None)

    def has_started(self, trial: Block) -> bool:
        """Whether it has had a process since its last failure."""
        return trial in self._on

    def crashed(self, trial: Block, number: int, node: str) -> None:
        """Its process has ended in this round; ``node`` is used only if the trial had not started yet."""
        self._crashes[trial, number].append(self._on.pop(trial, node))
        self._new.discard(trial)

    def own_crashes(self, trial: Block, number: int, lost: Collection[str]) -> int:
        """How many crashes in this round were not on a ``lost`` node."""
        return sum(node not in lost for node in self._crashes[trial, number])

    def refused(self, trial: Block, node: str, reason: str, nodes: Collection[str], died: bool = False) -> bool:
        """The node could not set up the trial; whether it is the node's fault.

        nodes : those with room for the trial. died : whether the process ended for an unknown reason.
        """
        self._on.pop(trial, None)
        self._new.discard(trial)
        if died:
            self._deaths[node] += 1
        if (died and self._deaths[node] < _DEATHS) or trial in self._refusals[node]:  # it was refused there before
            return False
        self._refusals[node][trial] = reason
        if all(other in self.out or trial in self._refusals.get(other, {}) for other in nodes):
            self._faulty.add(trial)
        return node in self.out

    @property
    def out(self) -> dict[str, str]:
        """The nodes that get no more trials, and why."""
        return {
            node: list(refusals.values())[-1]
            for node, refusals in self._refusals.items()
            if len(refusals) > 1 or refusals.keys() - self._faulty
        }
