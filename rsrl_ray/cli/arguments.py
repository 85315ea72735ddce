"""What several commands read from the command line in the same way."""

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
