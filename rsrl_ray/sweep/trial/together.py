"""The next round of several trials of a fold: each is found in the archive, or trained together with the others."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rsrl_ray.core.arrays import MaskOrWeights
from rsrl_ray.rounds.loop import NextRound
from rsrl_ray.sweep.task import FitAll, Trained, Trainer
from rsrl_ray.sweep.trial.cached_learner import CachedLearner, RoundState
from rsrl_ray.vision.lesson import NotFinite
from rsrl_ray.vision.network import Weights

POLL_S = 0.25  # between two looks for a round that another process makes


@dataclass
class Need:
    """A round that a trial needs, once its rule has decided what it is trained on.

    made : whether it was trained for this trial just now. error : why it was not learnt, or empty.
    """

    learner: CachedLearner
    asked: NextRound | None = None
    made: bool = False
    error: str = ""

    @contextlib.contextmanager
    def failing(self) -> Iterator[None]:
        """The body fails for this trial alone."""
        try:
            yield
        except (NotFinite, ValueError) as error:
            self.error = str(error) or type(error).__name__  # without its frames, which hold what is on the GPU
            self.learner.give_up()

    @property
    def round(self) -> NextRound:
        """The round, which is known."""
        assert self.asked is not None
        return self.asked


def learn_all(needs: Sequence[Need], fit_all: FitAll) -> None:
    """Learn these rounds, all of one number.

    If two trials need the same round, the first one makes it. If a trial of another process makes it, that is waited
    for, after what was trained here is written: the other one may wait for that.

    Raises
    ------
    OutOfMemory
        For all of them; see `rsrl_ray.sweep.task.Trainer` for what else ends the process.
    """
    left = list(needs)
    while left:
        makers: dict[str, Need] = {}
        sharers: list[tuple[Need, Need]] = []
        awaited = []
        for need in left:
            with need.failing():
                key = need.learner.ask(need.round.number, need.round.trained_on)
                if key in makers:
                    sharers.append((need, makers[key]))
                    continue
                state = need.learner.seek()
                if state is RoundState.CLAIMED:
                    makers[key] = need
                elif state is RoundState.AWAITED:
                    awaited.append(need)
        _train(list(makers.values()), fit_all)
        for need, maker in sharers:
            need.error = maker.error
            if not maker.error:
                need.learner.adopt(maker.learner)
        if awaited:
            for need in makers.values():
                with need.failing():
                    need.learner.write()
            pause(POLL_S)
        left = awaited


def _train(makers: Sequence[Need], fit_all: FitAll) -> None:
    """Train the rounds that these trials have claimed."""
    ready, parents = [], []
    try:
        for need in makers:
            with need.failing():
                parents.append(need.learner.parent())
                ready.append(need)
        if not ready:
            return
        began = time.monotonic()
        trainers, masks = [need.learner.trainer for need in ready], [need.round.trained_on for need in ready]
        found = _fitted(fit_all, trainers, parents, masks, ready[0].round.number)
        share = (time.monotonic() - began) / len(ready)
        for need, trained in zip(ready, found, strict=True):
            with need.failing():
                if isinstance(trained, Exception):
                    raise trained
                need.learner.take(trained, share)
                need.made = True
    except BaseException:
        for need in makers:
            need.learner.give_up()
        raise


def _fitted(  # the arguments of `FitAll`
    fit_all: FitAll,
    trainers: Sequence[Trainer],
    parents: Sequence[Weights],
    masks: Sequence[MaskOrWeights],
    number: int,
) -> Sequence[Trained | Exception]:
    """What ``fit_all`` returns; if it raises ValueError, each is fitted by itself, because one may be to blame."""
    try:
        return fit_all(trainers, parents, masks, number)
    except ValueError as error:
        if len(trainers) == 1:
            return [error]
    every = zip(trainers, parents, masks, strict=True)
    return [_fitted(fit_all, [one], [parent], [mask], number)[0] for one, parent, mask in every]


def pause(seconds: float) -> None:
    """Wait for another process."""
    time.sleep(seconds)
