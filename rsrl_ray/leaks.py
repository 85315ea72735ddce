"""Near-duplicates across folds: photos that a network is tested on after it was trained on nearly the same photo."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray.config import Experiment
from rsrl_ray.core.arrays import Labels
from rsrl_ray.core.digest import array_digest
from rsrl_ray.core.errors import system_words
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.similarity import SimilarPairs, divided, joined, share_divided, similar_pairs
from rsrl_ray.display import Display
from rsrl_ray.identity import GivenFeatures, features_key, sweep_id
from rsrl_ray.photos.folds import describe_folds, folds_of
from rsrl_ray.photos.photo_set import PhotoSet, load_photos
from rsrl_ray.photos.readers import GROUP, TABLE_COLUMNS
from rsrl_ray.photos.row_file import RowFile
from rsrl_ray.photos.table import read_table
from rsrl_ray.store.holders import data_holder, hold_file
from rsrl_ray.store.location import FEATURES, PHOTOS, URI, Location, cache_folder
from rsrl_ray.vision.describing import Describer, as_vectors
from rsrl_ray.vision.encoders import decoder_of
from rsrl_ray.vision.evaluation import EVALUATION_BATCH
from rsrl_ray.vision.features import FeatureFiles, parts
from rsrl_ray.vision.frozen import frozen_weights
from rsrl_ray.vision.network import StartingNetwork, starting_weights
from rsrl_ray.vision.reproducible import versions

UNTRAINED = "no training"  # in place of a device, in the key of features that are compared only


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of photos that are nearly the same, by the cosine of their features.

    least : the smallest cosine that counts. similar : all pairs, also those that no fold divides.
    tested_in : [R, N], the number of the fold that tests a photo, for each deal.
    random_layers : layers that had no weights and started random, which makes cosines worth less.
    """

    experiment: Experiment
    photos: PhotoSet
    least: float
    similar: SimilarPairs
    tested_in: Labels
    random_layers: tuple[str, ...]

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Those in different folds, the most similar first: image, other, cosine, and the score and fold of both.

        With several deals the folds are those of the first deal that divides the pair.
        """
        apart = divided(self.similar, self.tested_in)
        chosen = np.asarray(apart.any(axis=0))
        pairs, deal = self.similar.of(chosen), apart[:, chosen].argmax(axis=0)
        names, scores = np.array(self.photos.images, dtype=object), self.photos.scores
        columns = {"image": names[pairs.first], "other": names[pairs.second], "cosine": pairs.cosine}
        for prefix, rows in (("", pairs.first), ("other_", pairs.second)):
            columns |= {f"{prefix}score": scores[rows], f"{prefix}fold": self.tested_in[deal, rows]}
        return pd.DataFrame(columns)

    @property
    def share(self) -> float:
        """The share of photos whose near-duplicate is in another fold, mean over the deals."""
        return share_divided(self.similar, self.tested_in)

    def grouped(self) -> "SimilarGroups":
        """The photos in groups that hold near-duplicates together, with the folds that are dealt then.

        Raises
        ------
        ValueError
            If these groups cannot be dealt to folds.
        """
        before = np.arange(len(self.photos.images)) if self.photos.groups is None else self.photos.groups
        photos = replace(self.photos, groups=joined(self.similar, before), group_names="similar")
        folds = folds_of(self.experiment, photos)
        return SimilarGroups(self.experiment, photos, folds, describe_folds(photos, self.experiment.draw(), folds))

    def write(self, folder: Path) -> Path:
        """Write ``near_duplicates.csv`` and, if there are any, the sheet ``near_duplicates.png``, whose path this is.

        Raises
        ------
        ValueError
            If the folder cannot be written to.
        """
        from rsrl_ray.analysis.figures.sheets import PHOTO_PIXELS, pair_sheet  # late: Matplotlib
        from rsrl_ray.analysis.figures.small_photos import SmallPhotos
        from rsrl_ray.analysis.figures.style import DPI

        picture = folder / "near_duplicates.png"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.pairs.to_csv(picture.with_suffix(".csv"), index=False, float_format="%.6g")
            picture.unlink(missing_ok=True)
            if len(self.pairs):
                photos = SmallPhotos(self.experiment.photos, PHOTO_PIXELS)
                pair_sheet(self.pairs, self.least, photos).savefig(picture, dpi=DPI)
        except OSError as error:
            raise ValueError(f"{folder}: it cannot be written ({system_words(error)})") from error
        return picture


@dataclass(frozen=True)
class SimilarGroups:
    """Photos whose groups hold near-duplicates together, and what was a group before.

    photos : with these groups. folds : all folds that are dealt then. notes : what is unusual about them.
    """

    experiment: Experiment
    photos: PhotoSet
    folds: list[Fold]
    notes: list[str]

    @property
    def groups(self) -> Labels:
        """The group of each photo, [N], numbered from 0."""
        assert self.photos.groups is not None
        return self.photos.groups

    @property
    def sizes(self) -> list[int]:
        """Photos in each group, the largest first."""
        return sorted(np.bincount(self.groups).tolist(), reverse=True)

    def write(self, file: Path) -> None:
        """Write a table of the photos, with the columns image, score and group.

        Images have the names of the experiment's table, if the file is in the folder that these are relative to; else
        they have absolute paths. A group has the first name that one of its photos had before.

        Raises
        ------
        ValueError
            If the file is there already or cannot be written.
        """
        table, sources = read_table(self.experiment.photos), self.photos.sources
        assert table.images == self.photos.images, "no photo was left out"
        is_there = file.absolute().parent == Path(table.root)
        images = [
            image if is_there and not URI.match(image) else source
            for image, source in zip(table.images, sources, strict=True)
        ]
        names = group_names(self.groups, table.groups or [""] * len(images))
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow((*TABLE_COLUMNS, GROUP))
        rows.writerows(zip(images, table.scores.tolist(), names, strict=True))
        try:
            with file.open("xb") as opened:
                opened.write(text.getvalue().encode())
        except (OSError, UnicodeEncodeError) as error:
            raise ValueError(f"{file} cannot be written: {error}") from error


def group_names(groups: Labels, before: Sequence[str]) -> list[str]:
    """A name for the group of each photo; "" if it is alone and had no name before. groups : [N]. before : N names."""
    sizes = np.bincount(groups)
    named: dict[int, str] = {}
    for group, name in zip(groups.tolist(), before, strict=True):
        if name:
            named.setdefault(group, name)
    taken = set(named.values())
    free = (name for number in range(1, 2 * len(before) + 2) if (name := f"similar-{number}") not in taken)
    for group in groups.tolist():
        if sizes[group] > 1 and group not in named:
            named[group] = next(free)
    return [named.get(group, "") for group in groups.tolist()]


def find_near_duplicates(experiment: Experiment, least: float, display: Display) -> NearDuplicates:
    """See `rsrl_ray.near_duplicates`.

    Raises
    ------
    ValueError
        If the network has no weights, the photos have problems, or nothing can be kept in storage.
    """
    if experiment.network.weights == "none":
        raise ValueError(
            "network.weights: none, and features of a network that has learnt nothing mean nothing; name weights"
        )
    if not 0 < least <= 1:
        raise ValueError(f"the cosine of near-duplicates: {least:g}; give a number above 0, up to 1")
    with display.started("looking at the photos"):
        photos = load_photos(
            experiment.photos,
            decoder_of(experiment),
            cache_folder(Location(experiment.storage)) / PHOTOS,
            progress=display.progress,
        )
    folds = folds_of(experiment, photos)
    start = starting_weights(experiment.network, len(photos.classes), [experiment.seed, 0])
    with display.started("passing photos through the network"):
        features = _features(experiment, photos, start, display)
    with display.started("comparing photos"):
        similar = similar_pairs(features, least, partial(display.progress, "comparing"))
    tested_in = _tested_in(folds, len(photos.images), experiment.folds.count)
    return NearDuplicates(experiment, photos, least, similar, tested_in, start.random_layers)


def _tested_in(folds: Sequence[Fold], photos: int, count: int) -> Labels:
    """The number of the fold that tests a photo, for each deal of ``count`` folds, [R, photos]."""
    tested = np.full((len(folds) // count, photos), -1, dtype=np.int64)
    for fold in folds:
        tested[fold.number // count, fold.test] = fold.number
    return tested


def _features(
    experiment: Experiment, photos: PhotoSet, start: StartingNetwork, display: Display
) -> NDArray[np.float32]:
    """The features [N, D] of all photos: those that a sweep has kept, those of an earlier call, or new ones."""
    frozen = array_digest(frozen_weights(start.weights, start.head, "head"))
    own = _files(experiment, photos, frozen, UNTRAINED)
    for files in (own, *(_files(experiment, photos, frozen, device) for device in ("cpu", "cuda"))):
        file = files.find(None)
        if file is not None:
            break
    else:
        file = _made(own, Describer(experiment, len(photos.classes), start.weights), photos, display)
    sweep = sweep_id(experiment, photos, array_digest(start.weights))
    for path in (photos.pixels_path, file.path):
        hold_file(path, data_holder(experiment, sweep))
    rows = file.open()
    assert rows is not None, file
    return as_vectors(rows)


def _files(experiment: Experiment, photos: PhotoSet, frozen: str, device: str) -> FeatureFiles:
    count, backbone = len(photos.images), experiment.network.backbone
    given = GivenFeatures(photos.fingerprint, count, frozen, device, EVALUATION_BATCH, versions(backbone))
    head = replace(experiment, training=replace(experiment.training, trainable="head"))
    return FeatureFiles(cache_folder(Location(experiment.storage)) / FEATURES, features_key(head, given), count)


def _made(files: FeatureFiles, describer: Describer, photos: PhotoSet, display: Display) -> RowFile:
    pixels = photos.pixels()
    file = files.file(UNTRAINED, describer.vectors(pixels[:1]).shape[1:], "<f4")
    batches = parts(files.count, files.count)
    file.write(lambda rows: list(describer.vectors(pixels[rows.start : rows.stop])), display.progress, None, 1, batches)
    return file
