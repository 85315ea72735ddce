"""Which waiting trial may start: one whose next round no other trial will make soon."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ray
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from rsrl_ray.core.trial import Block
from rsrl_ray.method import Method
from rsrl_ray.sweep.driver.places import Places
from rsrl_ray.sweep.ray_insides.trials import asked_by
from rsrl_ray.sweep.report import Report, told_in

Prefix = tuple[Any, ...]  # (fold, learning, what the rule does in revision 1, 2, ...): names a round beforehand
Outline = tuple[Prefix, ...]  # the rounds that a trial will make
PENDING_AT_ONCE = 16  # so many trials may ask for resources; enough to make a cluster grow


def outline(fold: int, method: Method, rounds: int) -> Outline:
    """The rounds 1 to ``rounds`` of a trial. A name is made of the fold and of all that leads to the round.

    Methods that train alike, and whose rules have done the same so far, make the same rounds. So rounds with equal
    names are equal. How a method predicts is not part of the name.
    """
    done = tuple(method.rule.at(revision) for revision in range(1, rounds))
    return tuple((fold, method.learning.until(number + 1), *done[:number]) for number in range(rounds))


def block_of(trial: Trial) -> Block:
    """The trials that a trial of Tune carries."""
    carried = trial.config["trial"]
    return Block(carried["fold"], tuple(carried["methods"]))


def slots(trial: Trial) -> int:
    """How many trials such as this one this Ray can run at once."""
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    need = asked_by(trial).required_resources
    return min((int(there.get(name, 0) // amount) for name, amount in need.items() if amount), default=1)


class SharingScheduler(FIFOScheduler):
    """First in, first out, but a trial waits while another live trial is about to make its next round.

    A waiting trial is PAUSED, which in Ray Tune means: no actor, no resources. Ray starts every PENDING trial by
    itself, so a new trial is paused when it is added, and handed out when its turn comes. A started trial is expected
    to make all its rounds. A trial that has ended, in whatever way, is expected to make none.

    Ray asks several times for each result. So a waiting trial is checked again only if the round that it waits for is
    made, or if no trial is expected to make it any more.

    outlines : of all blocks; empty for a block that waits for none, because its trials share rounds among themselves.
    slots : how many trials such as this one can run at once. places : keeps trials away from some nodes.
    """

    def __init__(
        self,
        outlines: Mapping[Block, Outline],
        slots: Callable[[Trial], int] = slots,
        places: Places | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._outlines = outlines
        self._places = places
        self._slots_for = slots
        self._slots = 1
        self._done: set[Prefix] = set()
        self._expected: Counter[Prefix] = Counter()
        self._started: set[str] = set()
        self._order: dict[str, int] = {}  # the order in which trials were added
        self._turn: list[tuple[int, Trial]] = []  # a heap: waiting trials that may be able to start
        self._held_up: defaultdict[Prefix, list[Trial]] = defaultdict(list)  # the other waiting trials, by round

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """A new trial waits. A trial that Ray adds again after a failure goes on, and its rounds are expected."""
        if trial.trial_id not in self._order:
            self._order[trial.trial_id] = len(self._order)
            trial.status = Trial.PAUSED
            # at the end, Tune asks every trial for its folder, also those that Ctrl-C left waiting
            trial.init_local_path()  # type: ignore[no-untyped-call]
            if self._places is not None:
                self._places.assign(trial)
            self._queue(trial)
        else:
            self._expect(trial)

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        """A round is made: trials that waited for it may start."""
        rounds = self._outline(trial)
        for told in told_in(result):
            if isinstance(told, Report) and rounds:
                made = rounds[told.number - 1]
                self._done.add(made)
                self._look_again([made])
        return self.CONTINUE

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> None:
        """The trial will make no more rounds, and its process waits for another trial."""
        self._slots = self._slots_for(trial)
        self._void(trial)

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """The trial will make no more rounds, unless Ray adds it again."""
        self._void(trial)

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        """The trial will make no more rounds."""
        self._void(trial)

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """The first waiting trial that may start; or else the trial for a free process, if there is one.

        Ray gives a free process to the trial that is returned. If it is just starting another process for this trial,
        which takes seconds, Ray ends that one. So a trial whose own process is starting is skipped.
        """
        if self._places is not None:
            self._places.look(tune_controller)
        trials: list[Trial] = tune_controller.get_trials()  # type: ignore[no-untyped-call]
        pending = [trial for trial in trials if trial.status == Trial.PENDING]
        while self._turn and len(pending) < PENDING_AT_ONCE:
            _, trial = heapq.heappop(self._turn)
            needed = next((prefix for prefix in self._outline(trial) if prefix not in self._done), None)
            if needed is not None and self._expected[needed]:
                self._held_up[needed].append(trial)
            elif trial.status == Trial.PAUSED:
                self._expect(trial)
                return trial
        running = sum(trial.status == Trial.RUNNING for trial in trials)
        starting = max(0, self._slots - running - 1)  # a process is free
        return next(iter(pending[starting:] or pending), None)

    def _queue(self, trial: Trial) -> None:
        heapq.heappush(self._turn, (self._order[trial.trial_id], trial))

    def _look_again(self, prefixes: Iterable[Prefix]) -> None:
        """Queue the trials that waited for these rounds."""
        for prefix in prefixes:
            for trial in self._held_up.pop(prefix, []):
                self._queue(trial)

    def _expect(self, trial: Trial) -> None:
        if trial.trial_id not in self._started:
            self._started.add(trial.trial_id)
            self._expected.update(self._outline(trial))

    def _void(self, trial: Trial) -> None:
        if trial.trial_id in self._started:
            self._started.remove(trial.trial_id)
            self._expected.subtract(self._outline(trial))
            self._look_again(self._outline(trial))

    def _outline(self, trial: Trial) -> Outline:
        return self._outlines[block_of(trial)]
