"""The demo: graded photos without a download, and a table of what its sweep found."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from rich.console import Group
from rich.text import Text

from rsrl_ray.analysis.numbers.frames import Frames
from rsrl_ray.store.files import write_whole
from rsrl_ray.terminal import cell, make_table

SIZES = {2: 93, 3: 697, 4: 1488, 5: 512, 6: 186, 7: 113, 8: 9, 9: 2}  # photos a score, of the paper's 3,100
DEMO_PHOTOS = 2500  # of the demo, about: SIZES scaled down, but 2 photos of a score at least
SPREAD = 0.02  # standard deviation of a degradation's severity within a score; two scores are 1/7 apart
PIXELS = 96  # height and width of a photo
QUICKSTART = "quickstart.yaml"
ABOUT = """Made by `rsrl demo`: crops of two photographs that scikit-learn ships, the darker, noisier, more blurred and
tilted the lower their score. The scores in photos.csv are right; quickstart.yaml has a fifth of the labels 3, 4 and 5
made wrong by one while networks are trained (noise), to see whether these are the photos that are dropped.
"""
WORDS = (
    "F: the F-measure averaged over the scores, from 0 to 1, on photos that no network was trained on.",
    "chosen network: each is trained on from the one before; this one does best on photos held out for it.",
    "photos dropped: those that a network finds unlike their label, so that the next one is trained without them; "
    "counted again for every network and fold.",
)


def prepare(folder: Path, seed: int = 0) -> Path:
    """Make the demo's photos in ``folder``, if they are not there yet; return the experiment file.

    Makes ``about.txt``, ``images/*.jpg``, ``photos.csv`` (image, score) and ``quickstart.yaml``, in this order: what
    was interrupted before ``photos.csv`` was there is made again.

    Raises
    ------
    ValueError
        If the folder holds ``images`` or ``photos.csv`` of somebody else, or a demo of version 0.1 or before, whose
        labels were wrong in ``photos.csv`` itself.
    """
    photos, about, experiment = (folder / name for name in ("photos.csv", "about.txt", QUICKSTART))
    images = folder / "images"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; give `rsrl demo` a folder")
    if (folder / "shifted.csv").exists():
        raise ValueError(f"{folder} holds the demo of an earlier version; give `rsrl demo` another folder")
    if not about.exists() and (photos.exists() or images.exists()):
        raise ValueError(f"{folder} holds photos that are not the demo's; give `rsrl demo` another folder")
    if not photos.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(about, ABOUT)
        table = labels(np.random.default_rng([seed, 0]))
        images.mkdir(exist_ok=True)
        pictures = graded(table["score"].to_numpy(), np.random.default_rng([seed, 1]))
        for name, picture in zip(table["image"], pictures, strict=True):
            picture.save(folder / name, quality=92)
        write_whole(photos, table.to_csv(index=False))
    if not experiment.exists():
        write_whole(experiment, _quickstart())
    return experiment


def labels(generator: np.random.Generator) -> pd.DataFrame:
    """The demo's photos in random order: image and score, in the paper's shares."""
    counts = {score: max(2, round(size * DEMO_PHOTOS / sum(SIZES.values()))) for score, size in SIZES.items()}
    scores = generator.permutation(np.repeat(list(counts), list(counts.values())))
    names = [f"images/{number:04}.jpg" for number in range(1, len(scores) + 1)]
    return pd.DataFrame({"image": names, "score": scores})


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
    """The experiment file: inside the package if it was installed, else the checkout's."""
    packaged = resources.files("rsrl_ray") / QUICKSTART
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(__file__).parents[1] / "experiments" / QUICKSTART).read_text(encoding="utf-8")


def outcome(frames: Frames) -> pd.DataFrame:
    """Of each method, which the rows are named after, what came out in the demo's sweep.

    first, chosen : macro F on the test photos of network 1, and of the chosen one; means over the folds.
    dropped : photos dropped, each counted in every round and fold that did without it. wrong : how many of these have
    a wrong label.
    """
    rounds, noise = frames.rounds, frames.noise
    chosen = frames.summary[frames.summary["criterion"] == frames.criterion].set_index("method")
    columns = {
        "first": rounds[rounds["round"] == 1].groupby("method")["test_macro_f1"].mean(),
        "chosen": chosen["macro_f1_mean"],
        "dropped": rounds.groupby("method")["dropped"].sum(),
        "wrong": (noise["precision"] * noise["dropped"]).groupby(noise["method"]).sum(),
    }
    return pd.DataFrame(columns).reindex(frames.begun())


def summary(frames: Frames) -> Group:
    """The closing page: macro F of each method, and whether the labels dropped were the wrong ones."""
    found, title = outcome(frames), f"What came out (mean of {frames.rounds['fold'].nunique()} folds)"
    columns = ("method", "F, first network", "F, chosen network", "photos dropped", "wrong labels")
    table = make_table(columns, left=["method"], title=title)
    for method, row in found.iterrows():
        drops = (f"{row['dropped']:,.0f}", f"{row['wrong'] / row['dropped']:.1%}") if row["dropped"] else ("0", "")
        table.add_row(cell(method), f"{row['first']:.3f}", f"{row['chosen']:.3f}", *drops)
    return Group(table, *map(Text, (*_findings(found, frames.noise), "", *WORDS)))


def _findings(found: pd.DataFrame, noise: pd.DataFrame) -> list[str]:
    """What the outcome says of dropping."""
    dropped, folds = found["dropped"].sum(), noise.drop_duplicates("fold")
    if not dropped:
        return ["No photo was dropped."]
    at_random = folds["flipped"].sum() / folds["candidates"].sum()  # only the three largest classes can be dropped
    return [
        f"{found['wrong'].sum() / dropped:.1%} of the dropped photos have a wrong label. Dropped at random it would be "
        f"{at_random:.1%}: so many labels of the common scores were made wrong on purpose.",
        *(
            f"{method} drops nothing: a method that does no better than it has gained nothing by dropping."
            for method in found.index[found["dropped"] == 0]
        ),
    ]
