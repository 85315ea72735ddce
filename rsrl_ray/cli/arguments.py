"""What several commands read from the command line in the same way."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from rsrl_ray.config import Experiment


@dataclass(frozen=True)
class GivenWords:
    """What a command was asked for: an experiment file, its first word, and knobs and switches over it."""

    file: Path
    knobs: "Namespace"
    experiment: "Experiment"


def asked(words: list[str], parser: "ArgumentParser") -> GivenWords:
    """Read the words of a command; ``parser`` is one of `rsrl_ray.experiment_file.experiment_parser`."""
    from rsrl_ray.experiment_file import as_experiment, parse

    if any(word in ("-h", "--help") for word in words):
        parser.print_help()
        raise SystemExit(0)
    if not words or words[0].startswith("-"):
        raise ValueError("give the experiment file first, such as experiments/paper.yaml; --help says more")
    knobs = parse(words[0], words[1:], parser)
    return GivenWords(Path(words[0]), knobs, as_experiment(knobs, parser))


def experiment_of(words: list[str], prog: str, description: str) -> "Experiment":
    """The experiment of a command that takes its file and knobs over it, and nothing else."""
    from rsrl_ray.experiment_file import experiment_parser

    usage = "%(prog)s EXPERIMENT.yaml [--KNOB VALUE ...]"
    return asked(words, experiment_parser(prog=prog, usage=usage, description=description)).experiment


def add_ray(parser: argparse.ArgumentParser) -> None:
    """Add the option that says on which Ray a command runs."""
    parser.add_argument(
        "--ray",
        default="auto",
        metavar="new|auto|ADDRESS",
        help="The Ray to run on. new: begin one here, even if another one runs. ADDRESS, such as 10.0.0.5:6379: "
        "join it. auto: join the one in RAY_ADDRESS, else the one that `ray start` began on this machine, "
        "else begin one.",
    )
