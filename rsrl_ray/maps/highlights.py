"""Highlight maps of photos between two rounds (section IV), with the maps that they should differ from."""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray.config import Experiment
from rsrl_ray.core.highlight import correlations, least_correlated
from rsrl_ray.core.highlight import highlight as compare
from rsrl_ray.maps.highlight_files import COLUMNS, HighlightFiles, LoadedPhoto, PhotoMaps, row
from rsrl_ray.maps.subject import Pair, Question, Subject, find_photos, find_rounds
from rsrl_ray.photos.decoding import Progress
from rsrl_ray.photos.picture import decode_photo, quiet_pillow
from rsrl_ray.photos.source import read_bytes
from rsrl_ray.tracking.find import find_results
from rsrl_ray.vision.conv1 import conv1_maps, random_conv1
from rsrl_ray.vision.encoders import preprocessing_of
from rsrl_ray.vision.gpu_or_cpu import GpuOrCpu
from rsrl_ray.vision.network import Conv1

PhotoBatches = Iterator[tuple[list[LoadedPhoto], dict[str, str]]]

_BATCH = 32  # photos at a time, but fewer if the maps of one batch would take more than
_BATCH_BYTES = 2**28  # bytes


def highlight(experiment: Experiment, question: Question, out: Path, progress: Progress | None = None) -> pd.DataFrame:
    """Make the highlight maps of photos between two rounds, and for each its control and the photo's edges.

    The control is the map between the same two rounds, in the same fold, of a method that drops nothing. It shows what
    training again changes without a revision. ``agreement`` is the rank correlation of the two maps over their pixels.
    If it is near 1, or near -1 (the same regions with opposite signs), the map says little about the revision. A map
    that is similar to the photo's edges (`rsrl_ray.core.edges.edge_map`) says little too (Adebayo et al. 2018, Sanity
    checks for saliency maps). From the same paper is the map of random weights: between two first convolutions of the
    same shape that have learnt nothing. They are drawn once for a sweep, from its seed.

    Files in ``out``: ``highlights.csv`` and, for each photo, ``<map>.npy`` (float64, [h, w], the size of conv1's map)
    and ``<map>.png`` (over the upright photo, at its own size). ``<null_map>`` and ``<edge_map>`` are written in the
    same way, and ``<random_map>`` for the first photo only. These columns hold paths relative to ``out``, or "" if
    there is no map.

    Returns one row for each photo, with the columns `COLUMNS`. ``reason`` says why a photo has no map or no control.

    Raises
    ------
    ValueError
        If there are no such rounds or photos, or ``out`` cannot be written.
    """
    subject = find_rounds(find_results(experiment), experiment, question)
    asked = find_photos(experiment, subject, question)
    comparison = Comparison(subject, experiment, question.after_relu)
    rows: dict[str, dict[str, Any]] = {}
    with quiet_pillow(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        if question.shared_map:
            test = find_photos(experiment, subject, Question())
            comparison.share_map(_batches(pool, test, comparison, "comparing", progress))
        try:
            files = HighlightFiles(out, experiment, question, subject, asked)
            for loaded, causes in _batches(pool, asked, comparison, "mapping", progress):
                found = comparison.highlights([photo.pixels for photo in loaded])
                rows |= {photo["photo"]: photo for photo in pool.map(files.write, loaded, found)}
                rows |= {name: row(subject, name, reason=cause) for name, cause in causes.items()}
            table = pd.DataFrame([rows[name] for name in asked], columns=list(COLUMNS)).astype(COLUMNS)
            table.to_csv(out / "highlights.csv", index=False)
        except OSError as error:
            raise ValueError(f"{out}: it cannot be written ({error.strerror or error})") from error
    return table


class Comparison:
    """One convolution for all: conv1 of the two rounds, of random weights and of the control, on the same photos."""

    def __init__(self, subject: Subject, experiment: Experiment, after_relu: bool) -> None:
        generator, like = np.random.default_rng(experiment.seed), subject.pair.later
        pairs = [subject.pair, Pair(random_conv1(like, generator), random_conv1(like, generator))]
        if subject.control is not None:
            pairs.append(subject.control)
        every = [conv1 for pair in pairs for conv1 in (pair.later, pair.earlier)]
        weight, bias = (np.concatenate([getattr(conv1, name) for conv1 in every]) for name in ("weight", "bias"))
        self._conv1 = Conv1(weight, bias, every[0].stride, every[0].padding)
        self._pairs, self._after_relu = len(pairs), after_relu
        self._shared: list[int | None] = [None] * len(pairs)
        self.image_size = experiment.network.image_size
        self._colours = preprocessing_of(experiment.network)
        self._place = GpuOrCpu()

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """A picture's pixels, [S, S, 3], as the network gets them. Raises ValueError."""
        return decode_photo(data, self.image_size, interpolation=self._colours.interpolation)

    def batch_size(self) -> int:
        """How many photos are compared at a time."""
        filters, channels, height, width = self._conv1.weight.shape
        pixels = self.image_size**2 / (self._conv1.stride[0] * self._conv1.stride[1])
        return int(np.clip(_BATCH_BYTES / (8 * pixels * (filters + channels * height * width)), 1, _BATCH))

    def maps(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """[B, P, 2, K, h, w]: for each photo, rounds I and I - k of P pairs: trial, random weights, control."""
        stack = np.stack(pixels)
        maps = self._place.run(lambda device: conv1_maps(stack, self._conv1, device, self._colours))
        if self._after_relu:
            maps = np.maximum(maps, 0)
        return maps.reshape(len(maps), self._pairs, 2, -1, *maps.shape[2:])

    def highlights(self, pixels: Sequence[NDArray[np.uint8]]) -> list[PhotoMaps]:
        """The maps of each photo."""
        if not pixels:
            return []
        found = [
            [compare(pair[0], pair[1], index) for pair, index in zip(photo, self._shared, strict=True)]
            for photo in self.maps(pixels)
        ]
        return [PhotoMaps(*of_photo) for of_photo in found]

    def share_map(self, batches: PhotoBatches) -> None:
        """From now on, use one J for all photos: the map with the lowest mean correlation over these photos."""
        values = [
            [correlations(*pair) for pair in photo]
            for loaded, _ in batches
            if loaded
            for photo in self.maps([photo.pixels for photo in loaded])
        ]
        if not values:
            raise ValueError("shared_map: the fold's test photos choose the map, and none of them can be read")
        stack = np.array(values).reshape(len(values), self._pairs, -1)  # [N, P, K]
        means = np.ma.masked_invalid(stack).mean(axis=0).filled(np.nan)  # nan if it is flat on all
        self._shared = [least_correlated(mean) for mean in means]


def _batches(
    pool: ThreadPoolExecutor,
    sources: Mapping[str, str],
    comparison: Comparison,
    what: str,
    progress: Progress | None,
) -> PhotoBatches:
    """Yield batches of photos, read and decoded, each with name -> cause for those that cannot be read."""
    done = 0
    left = iter(sources.items())
    while batch := list(itertools.islice(left, comparison.batch_size())):
        loaded = list(pool.map(lambda named: _load(named, comparison), batch))
        photos = [photo for photo in loaded if isinstance(photo, LoadedPhoto)]
        yield photos, {name: cause for (name, _), cause in zip(batch, loaded, strict=True) if isinstance(cause, str)}
        done += len(batch)
        if progress is not None:
            progress(what, done, len(sources))


def _load(named: tuple[str, str], comparison: Comparison) -> LoadedPhoto | str:
    """The photo with this name and source, or why it cannot be read."""
    name, source = named
    try:
        data = read_bytes(source)
        return LoadedPhoto(name, data, comparison.decode(data))
    except ValueError as error:
        return str(error)
