"""`rsrl init`: an experiment file for photos and the machine that it is called on."""

import argparse
from pathlib import Path


def init(words: list[str]) -> int:
    """Write the file, and say what to run next."""
    parser = argparse.ArgumentParser(
        "rsrl init",
        description="Write a commented experiment file for photos: folds and majority classes that fit their scores, "
        "and a network that fits this machine. A few batches are timed, so that the file says how long the sweep "
        "takes here.",
    )
    parser.add_argument("photos", type=Path, help=".csv or .parquet (image, score), AVA.txt, or a folder per score")
    parser.add_argument(
        "file", nargs="?", type=Path, help="the experiment file (default: in this folder, named after the photos)"
    )
    asked = parser.parse_args(words)
    from rsrl_ray import api

    api.init(asked.photos, asked.file)
    return 0
