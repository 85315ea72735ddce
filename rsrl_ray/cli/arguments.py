"""What several commands read from the command line in the same way."""

import argparse
from collections.abc import Callable
from pathlib import Path


def experiment_file(words: list[str], print_help: Callable[[], None]) -> Path | None:
    """The experiment file, the first word of a command; None where help was asked for and given."""
    if any(word in ("-h", "--help") for word in words):
        print_help()
        return None
    if not words or words[0].startswith("-"):
        raise ValueError("give the experiment file first, such as experiments/paper.yaml; --help says more")
    return Path(words[0])


def add_ray(parser: argparse.ArgumentParser) -> None:
    """Let a command be told on which Ray it runs; see `rsrl_ray.api.run_sweep`."""
    parser.add_argument(
        "--ray",
        default="auto",
        metavar="new|auto|ADDRESS",
        help="The Ray to run on: new, begun here whatever runs already; ADDRESS, such as 10.0.0.5:6379; auto, that of "
        "RAY_ADDRESS, or else what `ray start` began on this machine, or else a new one.",
    )
