"""What `benchmark.py` measures with: commands, what is tracked of a sweep, made photos, a round's bookkeeping."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from PIL import Image

from rsrl_ray import config
from rsrl_ray.core.draw import Draw
from rsrl_ray.core.folds import make_folds
from rsrl_ray.core.revision import revise
from rsrl_ray.core.rules.thresholds import Thresholds
from rsrl_ray.core.schedule import make_schedule
from rsrl_ray.core.selection import TEST
from rsrl_ray.demo import SIZES, graded
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.identity import round_key
from rsrl_ray.rounds.files import RoundFiles
from rsrl_ray.rounds.loop import RoundResult, seen_after
from rsrl_ray.rounds.table import predictions, round_metrics
from rsrl_ray.store.archive import Archive, Record
from rsrl_ray.tracking.find import find_results
from rsrl_ray.tracking.names import key_tag

LOOK_S = 0.5  # between two looks at the memory of processes
SMALL, LARGE = (256, 256), (4000, 3000)  # width and height in pixels of made photos
GRAIN = 0.1  # share of noise in a large photo: without it a JPEG is small, and quickly decoded


@dataclass(frozen=True)
class Ran:
    """Commands that were run at once.

    began : Unix time. seconds : until the last has ended. printed : what each printed.
    memory : bytes of PSS, at its highest, of the processes that were looked at.
    """

    began: float
    seconds: float
    printed: list[str]
    memory: int


def run(*commands: Sequence[str], looked_at: str = "") -> Ran:
    """Run commands at once until all have ended.

    looked_at : part of the command lines of the processes, at or below the commands, whose memory is measured.

    Raises
    ------
    RuntimeError
        With the last words of a command that fails.
    """
    with contextlib.ExitStack() as stack:
        outs, errors = ([stack.enter_context(tempfile.TemporaryFile("w+")) for _ in commands] for _ in range(2))
        began, clock = time.time(), time.perf_counter()
        processes = [
            subprocess.Popen(command, stdout=out, stderr=error, text=True)
            for command, out, error in zip(commands, outs, errors, strict=True)
        ]
        memory = _ended(processes, looked_at)
        seconds = time.perf_counter() - clock
        for file in (*outs, *errors):
            file.seek(0)
        printed = [out.read() for out in outs]
        for process, said, error in zip(processes, printed, errors, strict=True):
            if process.returncode:
                raise RuntimeError(f"{process.args!r}: status {process.returncode}\n{(said + error.read())[-2000:]}")
    return Ran(began, seconds, printed, memory)


def _ended(processes: list[subprocess.Popen[str]], looked_at: str) -> int:
    """Wait until all have ended; the memory that `Ran` has."""
    memory = 0
    try:
        while looked_at and any(process.poll() is None for process in processes):
            memory = max(memory, sum(pss(process.pid, looked_at) for process in processes))
            time.sleep(LOOK_S)
        for process in processes:
            process.wait()
    except BaseException:  # a sweep that went on would spoil whatever is measured next
        for process in processes:
            process.terminate()
            process.wait()
        raise
    return memory


def pss(pid: int, looked_at: str) -> int:
    """Bytes of PSS of the processes, at or below ``pid``, whose command line has this part."""
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                if looked_at in " ".join(process.cmdline()):
                    total += process.memory_full_info().pss
    return total


@dataclass(frozen=True)
class Swept:
    """A sweep of the product: its file, how its command ran, and a row for every round of its trials.

    rounds : fold, chain (of the kept photos so far), begun (Unix time), seconds (training and judging), reused (1 if
    another trial made it), photos (trained, counted in each epoch, and judged), judged, test_macro_f1.
    """

    file: Path
    ran: Ran
    rounds: pd.DataFrame

    @property
    def made(self) -> pd.DataFrame:
        """The rounds that were trained."""
        return self.rounds[self.rounds["reused"] == 0]

    @property
    def rate(self) -> float:
        """Photos a second inside the median round; of trials in parallel, one a fold, the sum."""
        rates = self.rounds["photos"] / self.rounds["seconds"]
        return float(rates.groupby(self.rounds["fold"]).median().sum())


def swept(file: Path, *knobs: str, looked_at: str = "") -> Swept:
    """Run ``rsrl sweep`` in a fresh process and read what is tracked of it. Raises as `run` does."""
    ran = run([sys.executable, "-m", "rsrl_ray.cli", "sweep", str(file), *knobs], looked_at=looked_at)
    experiment = read_experiment(file, knobs)
    found, archive, rows = find_results(experiment), Archive(experiment.storage), []
    trials, names = list(found.trials.values()), ("seconds", "reused", "train_size", TEST)
    measures = {name: found.results.curves(trials, name) for name in names}
    for trial in trials:
        curves, chain = {name: measures[name][trial.id] for name in names}, 0
        for number in range(1, trial.rounds + 1):
            record = archive.read(trial.tags[key_tag(number)])
            assert record is not None, (trial.key, number)
            chain = hash((chain, record.kept.tobytes()))
            values = {name: curve[number - 1] for name, curve in curves.items()}
            values |= {"fold": trial.fold, "chain": chain, "begun": record.created - record.seconds}
            values["photos"] = experiment.training.epochs * values["train_size"] + len(record.kept)
            rows.append(values | {"judged": len(record.kept)})
    return Swept(file, ran, pd.DataFrame(rows))


def made_photos(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Make about ``count`` JPEGs of this width and height, with the paper's shares of scores; their table.

    They are the demo's: the lower the score, the darker, noisier, more blurred and tilted.
    """
    folder.mkdir()
    scores = np.concatenate([[score] * max(2, share * count // sum(SIZES.values())) for score, share in SIZES.items()])
    grain = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))

    def save(place: int, picture: Image.Image) -> None:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
        picture = Image.blend(picture, grain, GRAIN) if size == LARGE else picture
        picture.save(folder / f"{place}.jpg", quality=92)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(save, range(len(scores)), graded(scores, np.random.default_rng(0))))
    rows = [f"{place}.jpg,{score}" for place, score in enumerate(scores)]
    (folder / "photos.csv").write_text("\n".join(["image,score", *rows]) + "\n")
    return folder / "photos.csv"


@dataclass(frozen=True)
class Books:
    """What the bookkeeping of a round costs: seconds in the trial and in the driver, bytes of both at their highest."""

    trial_s: float
    driver_s: float
    memory: int


def bookkeeping(folder: Path, count: int) -> Books:
    """Measure the bookkeeping of a round with ``count`` made-up photos; nothing is trained, and MLflow not told.

    The trial makes the table of photos, metrics and the next kept photos, and writes to the archive in ``folder``; the
    driver reads from there and writes the round's files. `tracemalloc` counts bytes in a round of its own.
    """
    scores = np.resize(np.repeat(list(SIZES), list(SIZES.values())), count)
    generator, images = np.random.default_rng(0), [f"images/{number}.jpg" for number in range(count)]
    labels, archive, settings = np.searchsorted(list(SIZES), scores), Archive(str(folder)), config.Revision()
    fold = make_folds(labels, Draw(5, "stratified", 0.1, 0))[0]
    kept = np.isin(np.arange(count), fold.train)
    conv1 = {"weight": np.zeros((64, 3, 11, 11), np.float32), "bias": np.zeros(64, np.float32)}
    logits = generator.normal(size=(count, len(SIZES))).astype(np.float32)
    first = predictions(images, scores, fold, RoundResult(1, kept, ~kept, logits), settings.membership)
    files = RoundFiles(first, settings.membership)
    key, known, rule = round_key("", kept, 1), (images, scores, fold), Thresholds(make_schedule({1: 0.9}))

    def trial() -> None:
        table = predictions(*known, RoundResult(1, kept, ~kept, logits), settings.membership)
        round_metrics(table, settings.majority_classes)
        revise(rule, seen_after(1, [logits[fold.train]], kept[fold.train], labels[fold.train], settings))
        archive.write(key, Record(1, logits, kept, conv1, "", 0.0, 0.0), {"weight": logits[:1]})

    def driver() -> None:
        record = archive.read(key)
        assert record is not None
        files.write(folder, RoundResult(1, kept, ~kept, record.logits), record.conv1)

    tracemalloc.start()
    trial()
    driver()
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Books(_seconds(trial), _seconds(driver), memory)


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
