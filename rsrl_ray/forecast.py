"""How long a first sweep takes: of photos with these scores, on a machine that was timed."""

import contextlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rsrl_ray.config import Network, Training

if TYPE_CHECKING:
    from rsrl_ray.vision.speed import Speed, TrainsOn

FOLDS, ROUNDS = 5, 20
HELD_OUT_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)  # shares to choose rounds on: the first of which every fold has a photo
METHODS, EQUAL_ROUNDS = 4, 3  # in the file that are trained; those that train round 1 alike, and so share it
START_S, ROUND_S = 20.0, 0.1  # until the first round begins, and a round's bookkeeping, as measured (LOG.md)
ALEXNET = Network("alexnet", "imagenet", 224)
FROZEN_ALEXNET = Network("alexnet", "imagenet", 224, standardise=True)
SQUEEZENET = Network("squeezenet1_1", "imagenet", 128)  # with all its layers, what a CPU can train


@dataclass(frozen=True)
class Scores:
    """How many photos each score has, ascending by score; 2 scores and 2 photos of each at least."""

    sizes: dict[int, int]

    @property
    def photos(self) -> int:
        """How many there are."""
        return sum(self.sizes.values())

    @property
    def rarest(self) -> int:
        """The score with the fewest photos."""
        return min(self.sizes, key=lambda score: self.sizes[score])

    @property
    def majority(self) -> list[int]:
        """The scores with more photos than scores have on average, largest first; one at least."""
        largest = sorted(self.sizes, key=lambda score: -self.sizes[score])
        return [score for score in largest if self.sizes[score] * len(self.sizes) > self.photos] or largest[:1]

    @property
    def folds(self) -> int:
        """As many as put a photo of the rarest score into every test set, 5 at most."""
        return min(FOLDS, self.sizes[self.rarest])

    @property
    def repeats(self) -> int:
        """How often photos are dealt, so that there are 5 folds or more to compare methods on."""
        return math.ceil(FOLDS / self.folds)

    @cached_property
    def validation(self) -> float:
        """The share that is held out to choose rounds on: more than usual if that would be no photo."""
        import numpy as np  # late: help answers at once

        from rsrl_ray.core.draw import Draw
        from rsrl_ray.core.folds import make_folds

        labels = np.repeat(np.arange(len(self.sizes)), list(self.sizes.values()))
        for share in HELD_OUT_SHARES:
            with contextlib.suppress(ValueError):
                make_folds(labels, Draw(self.folds, "stratified", share, 0, self.repeats))
                return share
        return HELD_OUT_SHARES[0]  # of so few photos nothing can be held out: `rsrl sweep` says so


@dataclass(frozen=True)
class Machine:
    """What a sweep has here.

    cores : of the CPU. speed : of what the file trains. whole : on a CPU, of `SQUEEZENET` with all its layers.
    photo_s : seconds to read and decode a photo on one core. network : what the file trains.
    """

    device: "TrainsOn"
    cores: int
    speed: "Speed"
    whole: "Speed | None"
    photo_s: float
    network: Network = ALEXNET

    @property
    def at_a_time(self) -> int:
        """Processes that train at a time: one a GPU, or one a core."""
        return self.device.gpus or self.cores

    @property
    def is_frozen(self) -> bool:
        """Whether the last layer alone is trained: the methods of a fold in one process, and one more is solved."""
        return not self.device.gpus


def about(seconds: float) -> str:
    """``about 5 minutes``, ``about 2.5 hours``."""
    if seconds < 90 * 60:
        minutes = max(1, round(seconds / 60))
        return f"about {minutes} minute{'s' * (minutes > 1)}"
    hours = seconds / 3600
    return f"about {hours:,.{0 if hours >= 10 else 1}f} hours"


def duration(scores: Scores, machine: Machine) -> str:
    """How long the file's sweep takes, in words."""
    return about(seconds_of(scores, machine, machine.speed, amount_of(scores, machine)))


@dataclass(frozen=True)
class Amount:
    """rounds : that have to be made. at_a_time : how many of them."""

    folds: int
    methods: int
    rounds: int
    at_a_time: int


def amount_of(scores: Scores, machine: Machine, is_whole: bool = False) -> Amount:
    """Of the file, or of a copy that trains all layers. All rounds of a layer that is solved are one."""
    folds, trained = scores.folds * scores.repeats, METHODS * ROUNDS - EQUAL_ROUNDS + 1
    if is_whole or not machine.is_frozen:
        return Amount(folds, METHODS, folds * trained, min(machine.at_a_time, folds * METHODS))
    return Amount(folds, METHODS + 1, folds * (trained + 1), min(machine.at_a_time, folds))


def seconds_of(scores: Scores, machine: Machine, speed: "Speed", amount: Amount) -> float:
    """How long so many rounds take, with what comes before them."""
    before = scores.photos * (machine.photo_s / machine.cores + speed.frozen / machine.at_a_time)
    return START_S + before + math.ceil(amount.rounds / amount.at_a_time) * round_seconds(scores, speed)


def round_seconds(scores: Scores, speed: "Speed") -> float:
    """How long one round takes."""
    trained = Training.epochs * scores.photos * (1 - 1 / scores.folds) * (1 - scores.validation)
    return trained * speed.training + scores.photos * speed.judging + ROUND_S
