"""The demo: graded photos without a download, and one page on what came of the sweep over them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from rich.console import Group
from rich.table import Table
from rich.text import Text

from rsrl_ray.core.revision import majority_classes
from rsrl_ray.core.selection import TEST, VALIDATION, chosen_round
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.round_table import round_metrics
from rsrl_ray.store.files import write_whole

SIZES = {2: 93, 3: 697, 4: 1488, 5: 512, 6: 186, 7: 113, 8: 9, 9: 2}  # photos a score, of the paper's 3,100
PHOTOS = 2500  # of the demo, about: SIZES scaled down, but 2 photos of a score at least
SHIFTED = 0.2  # share of the labels 3, 4 and 5 that are one away from the true score
BESIDE = {3: (4,), 4: (3, 5), 5: (4,)}  # the true scores that a shifted label can stand for
SPREAD = 0.02  # standard deviation of a degradation's severity within a score; two scores are 1/7 apart
PIXELS = 96  # height and width of a photo
MAJORITY = 3  # largest classes, those that a revision drops from
EXPERIMENT = "quickstart.yaml"

Trials = Mapping[TrialKey, Sequence[pd.DataFrame]]  # rounds' predictions


def prepare(folder: Path, seed: int = 0) -> Path:
    """Make the demo's photos in ``folder``, where they are not there yet; the experiment file.

    Makes ``shifted.csv`` (image, score as given, true score), ``images/*.jpg``, ``photos.csv`` (image, score) and
    ``quickstart.yaml``, in this order: what was interrupted before ``photos.csv`` was there is made again.

    Raises
    ------
    ValueError
        Where the folder holds ``images`` or ``photos.csv`` of somebody else.
    """
    photos, shifted, experiment = (folder / name for name in ("photos.csv", "shifted.csv", EXPERIMENT))
    images = folder / "images"
    if not shifted.exists() and (photos.exists() or images.exists()):
        raise ValueError(f"{folder} holds photos that are not the demo's; give `rsrl demo` another folder")
    if not photos.exists():
        folder.mkdir(parents=True, exist_ok=True)
        table = labels(np.random.default_rng([seed, 0]))
        write_whole(shifted, table.to_csv(index=False))
        images.mkdir(exist_ok=True)
        pictures = graded(table["true_score"].to_numpy(), np.random.default_rng([seed, 1]))
        for name, picture in zip(table["image"], pictures, strict=True):
            picture.save(folder / name, quality=92)
        write_whole(photos, table[["image", "score"]].to_csv(index=False))
    if not experiment.exists():
        write_whole(experiment, _quickstart())
    return experiment


def labels(generator: np.random.Generator) -> pd.DataFrame:
    """The demo's photos in random order: image, score (as given) and true_score.

    The scores as given have the paper's shares. Of the scores 3, 4 and 5, a share `SHIFTED` each is wrong by
    one: the true score is the one above or below, among the same three.
    """
    rows = []
    for score, size in SIZES.items():
        count = max(2, round(size * PHOTOS / sum(SIZES.values())))
        beside = BESIDE.get(score, ())
        wrong = round(SHIFTED * count) if beside else 0
        rows += [(score, beside[place % len(beside)] if place < wrong else score) for place in range(count)]
    scores = generator.permutation(np.array(rows))
    names = [f"images/{number:04}.jpg" for number in range(1, len(scores) + 1)]
    return pd.DataFrame({"image": names, "score": scores[:, 0], "true_score": scores[:, 1]})


def graded(scores: NDArray[np.int64], generator: np.random.Generator) -> Iterator[Image.Image]:
    """A picture for every score, [N]: a crop of a photograph, degraded the more the lower its score.

    The photographs are the two that scikit-learn ships, a Chinese temple and a flower.
    """
    from sklearn.datasets import load_sample_images  # takes seconds to import

    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    best, worst = max(SIZES), min(SIZES)
    for score in scores:
        photograph = photographs[generator.integers(len(photographs))]
        yield degraded(photograph, (best - score) / (best - worst), generator)


def degraded(photograph: Image.Image, severity: float, generator: np.random.Generator) -> Image.Image:
    """A random crop, tilted, blurred, too dark and noisy by about ``severity``: 0 (untouched) to 1."""
    tilt, blur, darkness, noise = np.maximum(severity + generator.normal(0, SPREAD, 4), 0) if severity else np.zeros(4)
    picture = _crop(photograph, float(25 * tilt * generator.choice([-1, 1])), generator)
    if generator.random() < 0.5:
        picture = ImageOps.mirror(picture)
    picture = picture.filter(ImageFilter.GaussianBlur(float(3 * blur)))
    pixels = np.asarray(picture) * (1 - 0.8 * darkness) + generator.normal(0, 30 * noise, (PIXELS, PIXELS, 3))
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _crop(photograph: Image.Image, degrees: float, generator: np.random.Generator) -> Image.Image:
    """A square of random size and place, turned by ``degrees``, `PIXELS` wide."""
    around = PIXELS * 3 // 2  # turned by any angle, a square of this side covers one of `PIXELS`
    side = int(generator.integers(around, min(photograph.size)))
    left, top = (int(generator.integers(length - side)) for length in photograph.size)
    box = (left, top, left + side, top + side)
    square = photograph.resize((around, around), Image.Resampling.BICUBIC, box)
    return ImageOps.crop(square.rotate(degrees, Image.Resampling.BICUBIC), (around - PIXELS) // 2)


def _quickstart() -> str:
    """The experiment file: inside the package where it was installed, else the checkout's."""
    packaged = resources.files("rsrl_ray") / EXPERIMENT
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(__file__).parents[1] / "experiments" / EXPERIMENT).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Line:
    """A schedule in the closing table.

    first, chosen, last : macro F on the test photos after round 1, the round with the best macro F on the
    validation photos (the earlier of equals) and the last one; means over the folds.
    train_size : photos that the chosen round was trained on, mean over the folds.
    dropped : photos dropped, each counted in every round and fold that did without it.
    shifted : share of shifted labels among these; nan where nothing was dropped.
    """

    schedule: str
    folds: int
    first: float
    chosen: float
    last: float
    train_size: float
    dropped: int
    shifted: float


@dataclass(frozen=True)
class Outcome:
    """What came out of the demo.

    lines : one for each schedule.
    dropped : photos dropped by all schedules together, each counted in every round and trial.
    shifted_dropped, shifted_majority, shifted_all : share of shifted labels among these; among the training photos
    of the three largest classes, the only ones that can be dropped; and among all photos. nan where there are none.
    """

    lines: tuple[Line, ...]
    dropped: int
    shifted_dropped: float
    shifted_majority: float
    shifted_all: float


def summary(trials: Trials, folder: Path) -> Group:
    """The closing page: macro F of each schedule, and whether the labels dropped were the shifted ones.

    trials : by fold and schedule, the predictions of its rounds, in order (see `rsrl_ray.round_table`).
    folder : that of `prepare`.
    """
    return render(outcome(trials, pd.read_csv(folder / "shifted.csv")))


def outcome(trials: Trials, truth: pd.DataFrame) -> Outcome:
    """The outcome, from the trials' predictions and the photos' true scores (image, score, true_score)."""
    shifted = set(truth["image"][truth["score"] != truth["true_score"]])
    schedules: dict[str, list[Sequence[pd.DataFrame]]] = {}
    folds = {}
    for trial, rounds in trials.items():
        if rounds:
            schedules.setdefault(trial.schedule, []).append(rounds)
            folds[trial.fold] = rounds[0]
    dropped = [image for group in schedules.values() for image in _dropped(group)]
    return Outcome(
        lines=tuple(_line(schedule, group, shifted) for schedule, group in schedules.items()),
        dropped=len(dropped),
        shifted_dropped=_share(dropped, shifted),
        shifted_majority=_share([image for table in folds.values() for image in _majority(table)], shifted),
        shifted_all=_share(list(truth["image"]), shifted),
    )


def render(outcome: Outcome) -> Group:
    """The outcome for the terminal: a table and what to read from it."""
    table = Table(title="Macro F on the test photos, mean over the folds", title_justify="left")
    table.add_column("schedule", no_wrap=True)
    for column in ("folds", "round 1", "chosen", "last", "photos", "dropped", "shifted"):
        table.add_column(column, justify="right")
    for line in outcome.lines:
        scores = (f"{score:.3f}" for score in (line.first, line.chosen, line.last))
        drops = (f"{line.dropped:,}", f"{line.shifted:.1%}") if line.dropped else ("0", "")
        table.add_row(Text(line.schedule), str(line.folds), *scores, f"{line.train_size:,.0f}", *drops)
    note = (
        "chosen: the round that is best on the validation photos; photos: how many it was trained on; dropped: photos, "
        "counted in every round and fold; shifted: share of these whose label was shifted by one on purpose."
    )
    return Group(table, Text(note), Text(_verdict(outcome)))


def _verdict(outcome: Outcome) -> str:
    if not outcome.dropped:
        return "No photo was dropped."
    return (
        f"Shifted labels: {outcome.shifted_dropped:.1%} of all {outcome.dropped:,} dropped photos, against "
        f"{outcome.shifted_majority:.1%} of the three largest classes (the fair comparison: only these can be dropped) "
        f"and {outcome.shifted_all:.1%} of all photos."
    )


def _line(schedule: str, group: Sequence[Sequence[pd.DataFrame]], shifted: set[str]) -> Line:
    """A schedule's line; group : the rounds of its folds."""
    rows = []
    for rounds in group:
        scores = [round_metrics(table, MAJORITY) for table in rounds]
        curves = {name: np.array([score.get(name, np.nan) for score in scores]) for name in (VALIDATION, TEST)}
        chosen = scores[chosen_round(curves, len(scores)) - 1]
        rows.append((scores[0][TEST], chosen[TEST], scores[-1][TEST], chosen["train_size"]))
    first, best, last, size = (float(mean) for mean in np.mean(rows, axis=0))
    dropped = _dropped(group)
    return Line(schedule, len(rows), first, best, last, size, len(dropped), _share(dropped, shifted))


def _dropped(group: Iterable[Sequence[pd.DataFrame]]) -> list[str]:
    """The photos that a trial's round did without, as often as one did."""
    return [image for rounds in group for table in rounds for image in table["image"][table["kept"].eq(False)]]


def _majority(table: pd.DataFrame) -> Iterable[str]:
    """The training photos of the largest classes."""
    train = table[table["split"] == "train"]
    classes, labels = np.unique(train["score"], return_inverse=True)
    return train["image"][train["score"].isin(classes[majority_classes(labels, MAJORITY)])]


def _share(images: Sequence[str], shifted: set[str]) -> float:
    return sum(image in shifted for image in images) / len(images) if images else float("nan")
