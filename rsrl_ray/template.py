"""The experiment file that `rsrl init` writes: for the scores of some photos, and a machine."""

import contextlib
import math
import os
import textwrap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from rsrl_ray.config import Network, Training
from rsrl_ray.experiment_file import plain_name

if TYPE_CHECKING:
    from rsrl_ray.vision.speed import Speed, TrainsOn

FOLDS, ROUNDS = 5, 20
HELD_OUT_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)  # shares to choose rounds on: the first of which every fold has a photo
METHODS, EQUAL_ROUNDS = 4, 3  # in the file; those that train round 1 alike, and so share it
START_S, ROUND_S = 20.0, 0.1  # until the first round begins, and a round's bookkeeping, as measured (LOG.md)
ALEXNET = Network("alexnet", "imagenet", 224)
SQUEEZENET = Network("squeezenet1_1", "imagenet", 128)  # with all its layers, what a CPU can train
DOWNLOAD = {"alexnet": "torchvision downloads 233 MB", "timm/tf_efficientnet_lite0": "timm downloads 19 MB"}


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
        """Trials that are trained at a time: one a GPU, or one a core."""
        return self.device.gpus or self.cores


def setup(device: "TrainsOn") -> Training:
    """How the network is trained: all of it on a GPU; on a CPU its last layer, which takes minutes."""
    return Training(
        trainable="all" if device.gpus else "head",
        precision="bf16" if device.bf16 else "fp32",
        steps="all",
    )


def compose(photos: Path, file: Path, scores: Scores, machine: Machine, commands: list[str]) -> str:
    """The file's text; ``commands`` : what to run, in order."""
    training = setup(machine.device)
    sizes = ", ".join(f"{score} ({size:,})" for score, size in scores.sizes.items())
    majority = ", ".join(map(str, scores.majority))
    card = {
        "photos": _wrapped(f"{scores.photos:,}, with the scores {sizes}"),
        "machine": [f"{machine.cores} CPU cores, {machine.device.name}"],
        "command": commands,
        "hours": _wrapped(_hours(scores, machine)),
    }
    relative = os.path.relpath(os.path.abspath(photos), os.path.abspath(file.parent))
    return f"""\
# Do methods that drop photos, or a loss made for rare scores, score photos better than training on all of them?
#
{_card(card)}
name: {_quoted(plain_name(file.absolute().stem))}
photos: {_quoted(relative)}   # paths are relative to this file
storage: results   # all that a sweep makes: a folder, s3://... or gs://...

{_comment(_about_folds(scores))}
folds: {{count: {scores.folds}, repeats: {scores.repeats}, validation: {scores.validation}}}

{_about_network(file, scores, machine)}
{_network(file, machine.network)}
training:
  trainable: {training.trainable}
  epochs: {training.epochs}
  batch_size: {training.batch_size}
  learning_rate: {training.learning_rate}
  head_factor: {training.head_factor:g}    # the new last layer learns this many times as fast
  precision: {training.precision}
  threads: {training.threads}         # of a trial; it is part of the result, so change it before the first sweep
  steps: {training.steps}         # all: methods that drop photos train as long as others; kept: shorter (the paper)

# Photos are dropped from the common scores only, those with more photos than the average: {majority}.
revision: {{majority_classes: {len(scores.majority)}}}
rounds: {ROUNDS}   # networks in a row, each trained on from the one before

# A method: which photos are dropped, how networks are trained, how their output becomes a score. All of them, by
# example, are in experiments/README.md.
schedules:
  none: {{1: 0.0}}             # drops nothing: what the others are compared with
  paper: {{1: 0.9, 3: 0.95}}   # drops photos whose score has a likelihood below 0.9; from the third time on, 0.95
methods:
  # drops as many as `paper` would, but at random: does it matter which?
  as_many_at_random: {{revise: {{thresholds: {{1: 0.9, 3: 0.95}}, pick: random}}}}
  # drops nothing: rare scores weigh more in the loss, and the output of several rounds is averaged and adjusted to them
  balanced_adjusted: {{loss: {{balanced: 0.5, ordinal: 1.0}}, predict: {{average: half, logit_adjustment: validation}}}}

seed: 0
resources: {{cpus: 1, gpus: {"auto" if machine.device.gpus else 0}}}   # of a trial: a method on a fold
"""


def about(seconds: float) -> str:
    """``about 5 minutes``, ``about 2.5 hours``."""
    if seconds < 90 * 60:
        minutes = max(1, round(seconds / 60))
        return f"about {minutes} minute{'s' * (minutes > 1)}"
    hours = seconds / 3600
    return f"about {hours:,.{0 if hours >= 10 else 1}f} hours"


def _about_folds(scores: Scores) -> str:
    count, repeats, rarest = scores.folds, scores.repeats, scores.rarest
    if repeats == 1:
        return f"Each of {count} folds is tested on another part of the photos, in which every score is."
    return (
        f"The rarest score, {rarest}, has {scores.sizes[rarest]} photos: with {count} folds one is in each test set, "
        f"and dealing {repeats} times makes {count * repeats} folds. With count: {FOLDS} and repeats: 1 networks train "
        f"on more photos, and some folds are not tested on {rarest}."
    )


def _network(file: Path, network: Network) -> str:
    """The line of the network; a file of weights is relative to the experiment file."""
    weights = network.weights
    if network.weights_file is not None:
        weights = _quoted(os.path.relpath(network.weights_file, os.path.abspath(file.parent)))
    more = ", head: linear" if network.head == "linear" else ""
    more += ", standardise: true" if network.standardise else ""
    return f"network: {{backbone: {network.backbone}, weights: {weights}, image_size: {network.image_size}{more}}}"


def _weights(network: Network) -> str:
    """Where the network's weights come from, and what other networks there are."""
    if network.weights_file is not None:
        return f"The weights are those of {network.weights_file.name}, which lies here: nothing is downloaded."
    more = ""
    if network == ALEXNET:
        more = " After pip install 'rsrl_ray[timm]', rsrl init proposes a newer network on a CPU."
    return (
        f"imagenet: {DOWNLOAD[network.backbone]} once; without internet give a file of weights (.pt, .pth, "
        f".safetensors), or none.{more}"
    )


def _about_network(file: Path, scores: Scores, machine: Machine) -> str:
    weights = _comment(_weights(machine.network))
    if machine.whole is None:
        return weights
    why = _comment(
        "On a CPU only the last layer is trained: photos pass the other layers once, and a round takes moments. Every "
        "layer of a smaller network, with highlight maps, takes "
        f"{about(_seconds(scores, machine, machine.whole))}: copy this file, and change in the copy"
    )
    whole = (
        f'#   name: "{plain_name(file.absolute().stem)}-all"',
        f"#   network: {{backbone: {SQUEEZENET.backbone}, weights: imagenet, image_size: {SQUEEZENET.image_size}}}",
        "#   trainable: all",
    )
    return "\n".join((why, *whole, weights))


def duration(scores: Scores, machine: Machine) -> str:
    """How long the file's sweep takes, in words."""
    return about(_seconds(scores, machine, machine.speed))


def _hours(scores: Scores, machine: Machine) -> str:
    """How long it takes, and how that is known."""
    folds, rounds, at_a_time = _amount(scores, machine)
    round_s = _round_seconds(scores, machine.speed)
    return (
        f"{duration(scores, machine)}: {folds} folds x {METHODS} methods x {ROUNDS} rounds, {rounds:,} of them "
        f"different, {round_s:.1f} s each, {at_a_time} at a time. Computed from a few batches that were timed here, as "
        "if nothing else ran."
    )


def _seconds(scores: Scores, machine: Machine, speed: "Speed") -> float:
    _, rounds, at_a_time = _amount(scores, machine)
    before = scores.photos * (machine.photo_s / machine.cores + speed.frozen / machine.at_a_time)
    return START_S + before + math.ceil(rounds / at_a_time) * _round_seconds(scores, speed)


def _amount(scores: Scores, machine: Machine) -> tuple[int, int, int]:
    """Folds, rounds that have to be trained, and how many at a time."""
    folds = scores.folds * scores.repeats
    return folds, folds * (METHODS * ROUNDS - EQUAL_ROUNDS + 1), min(machine.at_a_time, folds * METHODS)


def _round_seconds(scores: Scores, speed: "Speed") -> float:
    trained = Training.epochs * scores.photos * (1 - 1 / scores.folds) * (1 - scores.validation)
    return trained * speed.training + scores.photos * speed.judging + ROUND_S


def _card(rows: dict[str, list[str]]) -> str:
    """``# word      text``, as the files of experiments/ begin."""
    lines = [(word if number == 0 else "", line) for word, part in rows.items() for number, line in enumerate(part)]
    return "\n".join(f"# {word:<9} {line}" for word, line in lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 106, break_long_words=False, break_on_hyphens=False)


def _comment(text: str) -> str:
    return "\n".join(f"# {line}" for line in textwrap.wrap(text, 116, break_on_hyphens=False))


def _quoted(text: str) -> str:
    """A string of YAML."""
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10**6).strip()
