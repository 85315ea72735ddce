"""The experiment file that `rsrl init` writes: for the scores of some photos, and a machine."""

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from rsrl_ray.config import Network, Precision, Training
from rsrl_ray.experiment_file import plain_name
from rsrl_ray.forecast import (
    ALEXNET,
    FOLDS,
    ROUNDS,
    SQUEEZENET,
    Machine,
    Scores,
    about,
    amount_of,
    duration,
    round_seconds,
    seconds_of,
)

if TYPE_CHECKING:
    from rsrl_ray.vision.speed import TrainsOn

SOLVED = """\
  # the last layer is solved in closed form, not trained: the plain solution that any other method has to beat
  ridge: {learn: {ridge: auto}, predict: {decision: shares}}
"""
DOWNLOAD = {"alexnet": "torchvision downloads 233 MB", "timm/tf_efficientnet_lite0": "timm downloads 19 MB"}


def setup(device: "TrainsOn") -> Training:
    """How the network is trained: all of it on a GPU; on a CPU its last layer, which takes minutes.

    On standardised features a small step and much weight decay keep the last layer from learning its labels by heart.
    """
    precision: Precision = "bf16" if device.bf16 else "fp32"
    if device.gpus:
        return Training(trainable="all", precision=precision, steps="all")
    return Training(
        trainable="head",
        learning_rate=0.001,
        head_factor=1.0,
        weight_decay=0.3,
        precision=precision,
        steps="weighted",
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
{_weight_decay(training)}  precision: {training.precision}
  threads: {training.threads}         # of a trial; it is part of the result, so change it before the first sweep
  {_steps(training)}

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
{SOLVED if machine.is_frozen else ""}
seed: 0
resources: {{cpus: 1, gpus: {"auto" if machine.device.gpus else 0}}}   # of a trial: a method on a fold
"""


def _weight_decay(training: Training) -> str:
    """A line, if it is not the usual one."""
    if training.weight_decay == Training.weight_decay:
        return ""
    why = "much on purpose: a last layer that learns its labels by heart cannot judge them"
    return f"  weight_decay: {training.weight_decay}  # {why}\n"


def _steps(training: Training) -> str:
    if training.steps == "weighted":
        return (
            "steps: weighted    # dropped photos weigh 0, so all methods take the same steps; kept: fewer (the paper)"
        )
    return "steps: all         # all: methods that drop photos train as long as others; kept: shorter (the paper)"


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
    if network.backbone == ALEXNET.backbone:
        more = " After pip install 'rsrl_ray[timm]', rsrl init proposes a newer network on a CPU."
    return (
        f"imagenet: {DOWNLOAD[network.backbone]} once; without internet give a file of weights (.pt, .pth, "
        f".safetensors), or none.{more}"
    )


def _about_network(file: Path, scores: Scores, machine: Machine) -> str:
    weights = _comment(_weights(machine.network))
    if machine.whole is None:
        return weights
    takes = about(seconds_of(scores, machine, machine.whole, amount_of(scores, machine, is_whole=True)))
    why = _comment(
        "On a CPU only the last layer is trained: photos pass the other layers once, and a round takes moments. Every "
        f"layer of a smaller network, with highlight maps, takes {takes}: copy this file, take out the method ridge, "
        "and change in the copy"
    )
    whole = (
        f'#   name: "{plain_name(file.absolute().stem)}-all"',
        f"#   network: {{backbone: {SQUEEZENET.backbone}, weights: imagenet, image_size: {SQUEEZENET.image_size}}}",
        "#   trainable: all",
        f"#   head_factor: {Training.head_factor:g}",
        f"#   weight_decay: {Training.weight_decay}",
        "#   steps: all",
    )
    return "\n".join((why, *whole, weights))


def _hours(scores: Scores, machine: Machine) -> str:
    """How long it takes, and how that is known."""
    amount, round_s = amount_of(scores, machine), round_seconds(scores, machine.speed)
    return (
        f"{duration(scores, machine)}: {amount.folds} folds x {amount.methods} methods x {ROUNDS} rounds, "
        f"{amount.rounds:,} of them different, {round_s:.1f} s each, {amount.at_a_time} at a time. Computed from a few "
        "batches that were timed here, as if nothing else ran."
    )


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
