"""The rows of `benchmark.py`, and what they share: each measures one ratio or difference, once a turn."""

import argparse
import json
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml
from heads import LAYERS, bare_seconds, own_seconds
from measured import LARGE, SMALL, Swept, bookkeeping, made_photos, run, swept

from rsrl_ray.core.selection import TEST
from rsrl_ray.sweep.nodes.cluster import KEEP_MEMORY

HERE = Path(__file__).parent
PLAIN = (sys.executable, str(HERE / "plain.py"))
BARE = ("env", *(f"{name}={value}" for name, value in KEEP_MEMORY.items()), *PLAIN, "bare")
START = (  # prints when it has started all that a sweep needs
    "import time, torch, torchvision, mlflow, ray; from ray import tune; "
    "ray.init(include_dashboard=False, log_to_driver=False); print(time.time())"
)
SCHEDULES = {"paper": {1: 0.9, 3: 0.95}, "strict": {1: [0.95, 0.95, 0.9]}, "none": {1: 0.0}}
ONE_MORE = {"largest": {1: [0.9, 0.0, 0.0]}}  # drops from one class, so that its rounds are its own
NONE = ("--schedules", "{none: {1: 0.0}}")
ALONE = ("--folds.use", "[0]", *NONE)
FEW, MANY = 3_100, 255_000
MIB = 2**20


@dataclass(frozen=True)
class Figure:
    """What a turn measured, and in words what it is made of."""

    value: float
    note: str


class Bench:
    """What the rows share: sizes, photos, and the product's sweeps, each of which is run once a turn."""

    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self.given, self.folder = given, folder
        self._swept: dict[str, Swept] = {}

    @property
    def width(self) -> int:
        """Trials at a time."""
        return min(os.cpu_count() or 1, int(self.given.folds) * len(SCHEDULES))

    @cached_property
    def photos(self) -> Path:
        """The table of the photos."""
        given: Path | None = self.given.photos
        return given.resolve() if given else made_photos(self.folder / "photos", self.given.photos_count, SMALL)

    @cached_property
    def large_photos(self) -> Path:
        """The table of the photos of 12 megapixels."""
        return made_photos(self.folder / "large", self.given.large_count, LARGE)

    def file(self, name: str) -> Path:
        """A new experiment file, in a folder of its own."""
        given, file = self.given, self.folder / name / "experiment.yaml"
        knobs = {
            "name": "benchmark",
            "photos": str(self.photos),
            "folds": {"count": given.folds},
            "network": {"backbone": given.backbone, "weights": given.weights, "image_size": given.image_size},
            "training": {"precision": given.precision},
            "rounds": given.rounds,
            "schedules": SCHEDULES,
        }
        file.parent.mkdir()
        file.write_text(yaml.safe_dump(knobs))
        return file

    def swept(self, turn: int, name: str = "sweep", knobs: Sequence[str] = ()) -> Swept:
        """The sweep of this name and turn; it is run if it was not yet. knobs : go over the file's."""
        place = f"{name}-{turn}"
        if place not in self._swept:
            self._swept[place] = swept(self.file(place), *knobs)
        return self._swept[place]

    def many_methods(self, turn: int) -> Swept:
        """10,000 rounds of the methods of bench.yaml, whose last layers train in lockstep; run once a turn."""
        place = f"many-{turn}"
        if place not in self._swept:
            file, bench = self.file(place), yaml.safe_load((HERE / "bench.yaml").read_text())
            knobs = yaml.safe_load(file.read_text())
            knobs |= {name: bench[name] for name in ("folds", "rounds", "schedules", "methods")}
            if self.given.backbone.startswith("squeezenet"):
                knobs["network"]["head"] = "linear"
            knobs["training"] |= {"trainable": "head", "steps": "weighted", "epochs": 3}
            file.write_text(yaml.safe_dump(knobs))
            self._swept[place] = swept(file)
        return self._swept[place]


def sweep(bench: Bench, turn: int) -> Figure:
    """Seconds of the plain way's command by those of the product's, start-up and end included."""
    return _times(bench, turn, "sweep", plain=["sweep"])


def large(bench: Bench, turn: int) -> Figure:
    """The same with 12-megapixel photos."""
    photos = ("--photos", str(bench.large_photos))
    return _times(bench, turn, "large", plain=["sweep", *photos], own=photos)


def head(bench: Bench, turn: int) -> Figure:
    """The same if only the last layer learns; the plain way computes what comes before it in every epoch."""
    return _times(bench, turn, "head", plain=["frozen"], own=("--training.trainable", "head"))


def _times(bench: Bench, turn: int, name: str, plain: Sequence[str], own: Sequence[str] = ()) -> Figure:
    """``plain`` : what the plain way does, and its knobs; ``own`` : knobs of the product."""
    file = bench.file(f"{name}-plain-{turn}")
    ran = run([*PLAIN, plain[0], str(file), *plain[1:]])
    shutil.rmtree(file.parent)  # a checkpoint for each round of each trial
    product = bench.swept(turn, name, own)
    plain_f1, own_f1 = json.loads(ran.printed[0].splitlines()[-1])[TEST], product.rounds[TEST].mean()
    times = f"{ran.seconds:.0f} against {product.ran.seconds:.0f} s"
    return Figure(ran.seconds / product.ran.seconds, f"{times}, mean test macro F {plain_f1:.3f} and {own_f1:.3f}")


def inside(bench: Bench, turn: int) -> Figure:
    """Photos a second, trained and judged, inside the rounds of one trial alone by those of the bare loop."""
    alone, ran = bench.swept(turn, "alone", ALONE), run([*BARE, str(bench.file(f"bare-{turn}")), *ALONE])
    seconds = statistics.median(json.loads(ran.printed[0].splitlines()[-1])["seconds"])
    bare = alone.rounds["photos"].iloc[0] / seconds
    return Figure(alone.rate / bare, f"{alone.rate:.0f} of {bare:.0f} photos/s")


def two(bench: Bench, turn: int) -> Figure:
    """Photos a second inside the rounds of two trials at a time by twice those of one alone."""
    alone = bench.swept(turn, "alone", ALONE).rate
    both = bench.swept(turn, "two", ("--folds.use", "[0, 1]", *NONE)).rate
    return Figure(both / alone / 2, f"{both:.0f} against {alone:.0f} photos/s")


def width(bench: Bench, turn: int) -> Figure:
    """Seconds of the trained rounds, shared out to all trials at a time, by those of the whole command."""
    own = bench.swept(turn)
    least, each = own.made["seconds"].sum() / bench.width, own.made["seconds"].median()
    return Figure(float(least / own.ran.seconds), f"{least:.0f} of {own.ran.seconds:.0f} s, rounds of {each:.1f} s")


def distinct(bench: Bench, turn: int) -> Figure:
    """Rounds that were trained by those that differ in fold or in kept photos so far."""
    own = bench.swept(turn)
    different = len(own.rounds[["fold", "chain"]].drop_duplicates())
    return Figure(len(own.made) / different, f"{len(own.made)} of {different}; {len(own.rounds)} with those shared")


def one_more(bench: Bench, turn: int) -> Figure:
    """Seconds of the command that adds a schedule by those until its first new round and of its new rounds."""
    own = swept(bench.swept(turn).file, "--schedules", json.dumps(SCHEDULES | ONE_MORE))
    new = own.made[own.made["begun"] > own.ran.began]
    if new.empty:
        raise ValueError("the added schedule kept the photos that others have kept, so that no round is new")
    start, rounds = new["begun"].min() - own.ran.began, new["seconds"].sum() / min(bench.width, new["fold"].nunique())
    parts = f"{start:.0f} s until the first of {len(new)} new rounds, {rounds:.0f} s for them"
    return Figure(own.ran.seconds / (start + rounds), f"{own.ran.seconds:.0f} s; {parts}")


def first(bench: Bench, turn: int) -> Figure:
    """Seconds from the command to the first round's beginning less those of imports and ``ray.init`` alone."""
    own, alone = bench.swept(turn), run([sys.executable, "-c", START])
    begun, started = own.rounds["begun"].min() - own.ran.began, float(alone.printed[0].splitlines()[-1]) - alone.began
    return Figure(begun - started, f"{begun:.1f} less {started:.1f} s")


def memory(bench: Bench, turn: int) -> Figure:
    """PSS of the trials' processes by that of as many bare loops, as if these had the decoded photos once together."""
    folds = list(range(min(bench.width, bench.given.folds)))
    knobs = ("--folds.use", str(folds), *NONE, "--rounds", "2")
    own = swept(bench.file(f"memory-{turn}"), *knobs, looked_at="ray::ResourceTrainable")  # not Ray's agents
    files = [bench.file(f"memory-bare-{turn}-{fold}") for fold in folds]
    bare = run(*([*BARE, str(file), *knobs] for file in files), looked_at="plain.py bare")
    pixels = int(own.rounds["judged"].iloc[0]) * bench.given.image_size**2 * 3
    least = bare.memory - len(folds) * 4 * pixels + pixels  # a bare loop holds them as float32
    return Figure(own.ran.memory / least, f"{own.ran.memory / MIB:.0f} of {least / MIB:.0f} MiB, {len(folds)} trials")


def many(bench: Bench, turn: int) -> Figure:
    """Seconds of a round's bookkeeping with 255,000 photos; its note compares a photo's with those of 3,100."""
    few, lots = (bookkeeping(bench.folder / f"{count}-{turn}", count) for count in (FEW, MANY))
    seconds = lots.trial_s + lots.driver_s
    times = seconds / MANY * FEW / (few.trial_s + few.driver_s)
    parts = f"trial {lots.trial_s:.2f}, driver {lots.driver_s:.2f} s, a photo {times:.2f} times that of {FEW:,}"
    return Figure(seconds, f"{parts}; {lots.memory / MIB:.0f} MiB ({few.memory / MIB:.1f})")


def lockstep(bench: Bench, turn: int) -> Figure:
    """Rounds a second of 16 last layers in lockstep, trained and judged, by those of a bare loop over tensors."""
    bare, own = bare_seconds() / LAYERS, own_seconds() / LAYERS
    return Figure(bare / own, f"{1000 * own:.0f} against {1000 * bare:.0f} ms a round")


def blocks(bench: Bench, turn: int) -> Figure:
    """Rounds a second of the methods of bench.yaml on frozen features, 25 folds, 20 rounds each: all of the command."""
    own = bench.many_methods(turn)
    return Figure(len(own.rounds) / own.ran.seconds, f"{len(own.rounds):,} rounds in {own.ran.seconds:.0f} s")


def analysis(bench: Bench, turn: int) -> Figure:
    """Seconds of `rsrl analyze` on the sweep of ``blocks``; the note has the memory of all its processes, the page."""
    out = bench.folder / f"analysis-{turn}"
    command = [sys.executable, "-m", "rsrl_ray.cli", "analyze", str(bench.many_methods(turn).file), "--out", str(out)]
    ran = run(command, looked_at="python")
    page = (out / "index.html").stat().st_size
    shutil.rmtree(out)
    return Figure(ran.seconds, f"{ran.memory / 2**30:.1f} GiB, page of {page / 1e6:.1f} MB")


@dataclass(frozen=True)
class Row:
    """A row of the table; ``measure`` measures a turn, ``unit`` is what a difference is in."""

    name: str
    against: str
    to_reach: str
    measure: Callable[[Bench, int], Figure]
    unit: str = ""

    def line(self, bench: Bench) -> str:
        """Measure all turns; the row as Markdown. Of a row that fails it says why."""
        figures = []
        for turn in range(bench.given.repeats):
            try:
                figures.append(self.measure(bench, turn))
            except Exception as error:  # the hours of other rows are not to be lost by it
                print(f"{self.measure.__name__}, turn {turn + 1}: {error!r}", flush=True)
                return f"| {self.name} | {self.against} | {self.to_reach} | failed | {type(error).__name__} |"
            done = f"{self.measure.__name__}, turn {turn + 1}: {figures[-1].value:.2f}{self.unit}"
            print(f"{done} ({figures[-1].note})", flush=True)
        figures.sort(key=lambda figure: figure.value)
        middle = figures[(len(figures) - 1) // 2]
        spread = f"{figures[0].value:.2f} to {figures[-1].value:.2f}"
        measured = f"{middle.value:.2f}{self.unit} ({spread})"
        return f"| {self.name} | {self.against} | {self.to_reach} | {measured} | {middle.note} |"


ROWS = (
    Row("a sweep, 256-pixel JPEGs", "the plain way", "6", sweep),
    Row("the same, 12-megapixel JPEGs", "the plain way", "15", large),
    Row("the same, `trainable: head`", "the plain way, trunk frozen, not cached", "30", head),
    Row("inside a round, one trial alone", "a bare loop over tensors", "0.95", inside),
    Row("two trials on two cores", "twice one trial alone", "0.9", two),
    Row("sum of a sweep's rounds / width", "the whole sweep", "0.85 for rounds of 10 s and more", width),
    Row("rounds trained", "distinct by kept photos", "1.00", distinct),
    Row("one schedule more", "its start-up and its own new rounds", "1.05", one_more),
    Row("the first round begins after the command", "imports and `ray.init`", "within 3 s", first, " s"),
    Row("memory of a node's trials", "one copy of the photos, one bare loop a trial", "within 1.15", memory),
    Row("16 last layers in lockstep", "a bare loop with batched products", "0.8", lockstep),
    Row("rounds on frozen features, all included", "7 one trial at a time", "35 a second", blocks, "/s"),
    Row(f"a round's bookkeeping, {MANY:,} photos", f"{FEW:,}, a photo", "under 2 s", many, " s"),
    Row("`analyze` of 10,000 rounds", "nothing", "120 s, 4 GiB, page under 10 MB", analysis, " s"),
)
