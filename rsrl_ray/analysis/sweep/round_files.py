"""What is read from the ``predictions.parquet`` of a round; little of it is held."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rsrl_ray.analysis.sweep.arrays import TEST_PHOTO
from rsrl_ray.core.metrics import confusion_matrix
from rsrl_ray.photos.table import public_name
from rsrl_ray.rounds.table import SPLITS
from rsrl_ray.tracking.names import predictions_path
from rsrl_ray.tracking.read import Artifacts

TRUE_SCORE = "true_score"
PREDICTED, CONFIDENCE = "predicted", "self_confidence"


@dataclass(frozen=True)
class ReadPhotos:
    """The photos of a sweep and their true scores, [N]; are_noisy : whether trials have other scores."""

    images: tuple[str, ...]
    scores: NDArray[np.int64]
    are_noisy: bool

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """The distinct scores, ascending, [C]."""
        return np.unique(self.scores)

    @cached_property
    def score_type(self) -> "np.dtype[Any]":
        """The smallest that holds all scores."""
        low, high = int(self.classes[0]), int(self.classes[-1])
        # A number below 0 asks for a signed type, which holds n if it holds -1 - n.
        return np.min_scalar_type(min(low, -1 - high))


@dataclass(frozen=True)
class TrialFold:
    """Splits and scores of the photos, [N] each, as the trials of a fold have them."""

    split: NDArray[np.int8]
    scores: NDArray[np.int64]


@dataclass(frozen=True)
class ReadRound:
    """What is held of a round.

    kept : [N / 8], bits. confusion : of the test photos, [C, C].
    predicted, self_confidence : [N], None if they are not held.
    """

    kept: NDArray[np.uint8]
    confusion: NDArray[np.int32]
    predicted: NDArray[Any] | None
    self_confidence: NDArray[np.float32] | None


def read_fold(artifacts: Artifacts) -> TrialFold:
    """The fold of a trial; it is the same for all trials of the fold."""

    def read(file: Path) -> TrialFold:
        table = _columns(file, ["split", "score"])
        split = np.asarray(pc.index_in(table["split"].cast(pa.string()), pa.array(SPLITS)), dtype=np.int8)
        return TrialFold(split, table["score"].to_numpy().astype(np.int64))

    return artifacts.read(predictions_path(1), read)


def read_photos(file: Path) -> ReadPhotos:
    """The photos of the table of any round."""
    are_noisy = TRUE_SCORE in pq.read_schema(file).names
    score = TRUE_SCORE if are_noisy else "score"
    table = _columns(file, ["image", score])
    images = tuple(map(public_name, table["image"].to_pylist()))  # those of older versions hold keys
    return ReadPhotos(images, table[score].to_numpy().astype(np.int64), are_noisy)


def read_round(artifacts: Artifacts, number: int, fold: TrialFold, photos: ReadPhotos, is_held: bool) -> ReadRound:
    """Read a round of a trial. is_held : whether predictions and self-confidences are held too."""

    def read(file: Path) -> ReadRound:
        table = _columns(file, [PREDICTED, "kept", CONFIDENCE] if is_held else [PREDICTED, "kept"])
        kept = pc.fill_null(table["kept"], False).to_numpy().astype(np.bool_)
        predicted, tests = table[PREDICTED].to_numpy(), fold.split == TEST_PHOTO
        labels, assigned = (np.searchsorted(photos.classes, scores[tests]) for scores in (photos.scores, predicted))
        return ReadRound(
            np.packbits(kept),
            confusion_matrix(labels, assigned, len(photos.classes)).astype(np.int32),
            predicted.astype(photos.score_type) if is_held else None,
            table[CONFIDENCE].to_numpy().astype(np.float32) if is_held else None,
        )

    return artifacts.read(predictions_path(number), read)


def read_column(artifacts: Artifacts, column: str, kind: "np.dtype[Any]", number: int) -> NDArray[Any]:
    """A column of a round, [N]."""
    values = artifacts.read(predictions_path(number), lambda file: _columns(file, [column])[column].to_numpy())
    return np.asarray(values, dtype=kind)


def _columns(file: Path, names: Sequence[str]) -> pa.Table:
    # `pq.read_table` makes a data set of the file first: five times as long, for ten thousand small files.
    with pq.ParquetFile(file, pre_buffer=False) as opened:
        return opened.read(columns=list(names), use_threads=False)
