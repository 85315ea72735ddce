"""`rsrl init`: an experiment file for photos and the machine that it is called on."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from rsrl_ray.display import Display
from rsrl_ray.experiment_file import plain_name

if TYPE_CHECKING:
    from rsrl_ray.forecast import Machine
    from rsrl_ray.photos.table import Table

TRIED = 8  # photos that are read and decoded, to see whether they can be, and how long it takes


def write_first_file(photos: Path, file: Path | None, display: Display) -> Path:
    """Write an experiment file that fits photos and this machine, and say what to run next; see `rsrl_ray.init`.

    Raises
    ------
    ValueError
        If the file is there already or cannot be written, the table cannot be read or has one score, or a GPU is full.
    """
    from rsrl_ray.forecast import Scores, duration
    from rsrl_ray.photos.table import read_table
    from rsrl_ray.template import compose
    from rsrl_ray.terminal import pasted

    file = file or Path(f"{plain_name(photos.absolute().stem)}.yaml")
    if file.exists():
        raise ValueError(
            f"{file} is there already; move it away, or name another: rsrl init {pasted(photos)} mine.yaml"
        )
    table = read_table(photos)
    sizes = _sizes(table)
    scores = Scores({score: size for score, size in sizes.items() if size > 1})
    if len(scores.sizes) < 2:
        raise ValueError(f"{photos}: fewer than two scores with two photos or more, so there is nothing to tell apart")
    with display.started("timing this machine"):
        machine, notes = _look(table, len(scores.sizes), [photos.parent, file.absolute().parent])
    if left_out := len(table.images) + len(table.problems) - scores.photos:
        notes.append(f"{left_out:,} rows of the table are no good and not counted; `rsrl check` says why")
    pasted_photos, written = pasted(photos), pasted(file)
    skip = " --skip_bad" if left_out else ""
    commands = [f"rsrl check {pasted_photos}", f"rsrl sweep {written}{skip}", f"rsrl analyze {written}"]
    _write(file, compose(photos, file, scores, machine, commands))
    for note in notes:
        display.said(f"note: {note}")
    display.said(f"written: {file}; look at it, change what you like, then run")
    for command in commands:
        display.said(f"  {command}")
    display.said(f"the sweep takes {duration(scores, machine)} here")
    return file


def _sizes(table: "Table") -> dict[int, int]:
    """Photos of each score, by the table alone."""
    import numpy as np

    sound = [row for row in range(len(table.images)) if row not in table.faults]
    found, counts = np.unique(table.scores[sound], return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _write(file: Path, text: str) -> None:
    try:
        content = text.encode()
        with file.open("xb") as opened:
            opened.write(content)
    except (OSError, UnicodeEncodeError) as error:
        raise ValueError(f"{file} cannot be written: {error}") from error


def _look(table: "Table", classes: int, folders: Sequence[Path]) -> "tuple[Machine, list[str]]":
    """What the machine has, and notes on the photos that were tried. folders : where files of weights may lie."""
    from rsrl_ray.forecast import ALEXNET, FROZEN_ALEXNET, SQUEEZENET, Machine
    from rsrl_ray.template import setup
    from rsrl_ray.vision.memory import OutOfMemory
    from rsrl_ray.vision.proposal import network_here
    from rsrl_ray.vision.speed import device, speed

    here = device()
    training = setup(here)
    try:
        network = ALEXNET if here.gpus else network_here(folders) or FROZEN_ALEXNET
        fast = speed(network, training, classes, here.kind)
    except OutOfMemory as error:
        raise ValueError(
            f"the GPU, on which a network is timed, is full ({error}); wait until it is free, or choose another one by "
            "the environment variable CUDA_VISIBLE_DEVICES"
        ) from error
    all_layers = replace(training, trainable="all", steps="all")
    whole = None if here.gpus else speed(SQUEEZENET, all_layers, classes, here.kind)
    photo_s, causes = _try(table.sources[:: -(-len(table.sources) // TRIED)], network.image_size)
    notes = [f"{len(causes)} of the photos that were tried are no good: {causes[0]}"] if causes else []
    return Machine(here, _cores(), fast, whole, photo_s, network), notes


def _try(sources: Sequence[str], size: int) -> tuple[float, list[str]]:
    """Seconds that a photo takes to be read and decoded, by those that are good; why the others are not."""
    from rsrl_ray.photos.picture import decode_photo
    from rsrl_ray.photos.source import read_bytes

    took, causes = [], []
    for source in sources:
        began = time.perf_counter()
        try:
            decode_photo(read_bytes(source), size)
        except ValueError as error:
            causes.append(f"{source}: {error}")
        else:
            took.append(time.perf_counter() - began)
    return (median(took) if took else 0.0), causes


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
