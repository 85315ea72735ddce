"""One round as a table of photos, from which every metric and the next kept mask follow."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray import config
from rsrl_ray.core import metrics
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.revision import Membership, Revision, likelihood, majority_classes, self_confidence
from rsrl_ray.core.schedule import Thresholds
from rsrl_ray.rounds import revise_round

SPLITS = ("train", "validation", "test")


def predictions(
    images: Sequence[str],
    scores: NDArray[np.int64],
    fold: Fold,
    kept: NDArray[np.bool_],
    returned: NDArray[np.bool_],
    logits: NDArray[np.float32],
    membership: Membership,
) -> pd.DataFrame:
    """``predictions.parquet``: one row per photo.

    Columns: image, split (train | validation | test), score, predicted (score), kept and returned (training photos;
    missing for the others), self_confidence, and logit_<score> (float32) for every class.

    images, scores, kept, returned : [N]; logits : [N, C], C the number of distinct scores.
    """
    classes, labels = np.unique(scores, return_inverse=True)
    split = np.empty(len(scores), dtype=np.int64)
    for position, part in enumerate((fold.train, fold.validation, fold.test)):
        split[part] = position
    train = pd.Series(split == 0)
    confidence = self_confidence(likelihood(logits, membership), labels)
    table = pd.DataFrame(
        {
            "image": list(images),
            "split": pd.Categorical.from_codes(split, dtype=pd.CategoricalDtype(list(SPLITS))),
            "score": scores,
            "predicted": classes[logits.argmax(axis=1)],
            "kept": pd.Series(kept).astype("boolean").where(train),
            "returned": pd.Series(returned).astype("boolean").where(train),
            "self_confidence": confidence,
        }
    )
    outputs = pd.DataFrame(logits, columns=[f"logit_{score}" for score in classes])
    return pd.concat([table, outputs], axis=1)


def confusion(table: pd.DataFrame, split: str) -> NDArray[np.int64]:
    """Confusion matrix [C, C] of one split; classes are the table's distinct scores, ascending."""
    scores, predicted = table["score"].to_numpy(), table["predicted"].to_numpy()
    rows, classes = (table["split"] == split).to_numpy(), np.unique(scores)
    return metrics.confusion_matrix(
        np.searchsorted(classes, scores[rows]), np.searchsorted(classes, predicted[rows]), len(classes)
    )


def class_table(table: pd.DataFrame) -> pd.DataFrame:
    """``classes.csv``: split, score, support, precision, recall, f1, for the validation and test photos."""
    parts = []
    for split in SPLITS[1:]:
        scores = metrics.class_scores(confusion(table, split))
        parts.append(
            pd.DataFrame(
                {
                    "split": split,
                    "score": np.unique(table["score"]),
                    "support": scores.support,
                    "precision": scores.precision,
                    "recall": scores.recall,
                    "f1": scores.f1,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def round_metrics(table: pd.DataFrame, majority: int) -> dict[str, float]:
    """The round's metrics by their MLflow names.

    ``*_macro_f1`` is the mean F over the classes that have photos in the split, ``test_total_f1`` the sum;
    ``train_accuracy`` is over the kept photos, those the network was trained on; ``majority_share`` is the share of
    kept photos in the ``majority`` largest classes; ``mean_logit`` is over all photos and classes.
    Without validation photos there is no ``validation_macro_f1``.
    """
    test, scores = confusion(table, "test"), table["score"].to_numpy()
    train = int((table["split"] == "train").sum())
    kept = table["kept"].to_numpy(dtype=bool, na_value=False)
    values = {
        "test_macro_f1": metrics.macro_f1(test),
        "test_total_f1": metrics.total_f1(test),
        "test_all_class_macro_f1": metrics.all_class_macro_f1(test),
        "test_weighted_f1": metrics.weighted_f1(test),
        "test_accuracy": metrics.accuracy(test),
        "train_accuracy": float((scores == table["predicted"].to_numpy())[kept].mean()),
        "train_size": float(kept.sum()),
        "majority_share": metrics.sharing_rate(scores[kept], _majority_scores(table, majority)),
        "returned": float(table["returned"].sum()),
        "dropped": float(train - kept.sum()),
        "mean_logit": float(logits(table).mean(dtype=np.float64)),
    }
    if (table["split"] == "validation").any():
        values["validation_macro_f1"] = metrics.macro_f1(confusion(table, "validation"))
    f1 = metrics.class_scores(test).f1
    return values | {f"f1_{score}": float(f) for score, f in zip(np.unique(table["score"]), f1, strict=True)}


def next_kept(table: pd.DataFrame, thresholds: Thresholds, settings: config.Revision) -> NDArray[np.bool_]:
    """The next round's kept mask, [N] bool, from this round's table alone."""
    _, labels = np.unique(table["score"], return_inverse=True)
    train = (table["split"] == "train").to_numpy()
    majority = majority_classes(labels[train], settings.majority_classes)
    revision = revise_round(logits(table)[train], labels[train], majority, thresholds, settings)
    kept = np.zeros(len(table), dtype=bool)
    kept[train] = revision.kept
    return kept


def logits(table: pd.DataFrame) -> NDArray[np.float32]:
    """The table's logits, [N, C], classes ascending by score."""
    columns = table[[f"logit_{score}" for score in np.unique(table["score"])]]
    return np.ascontiguousarray(columns, dtype=np.float32)


def revision_notes(revision: Revision, thresholds: Thresholds, majority_scores: Sequence[int]) -> list[str]:
    """What a reader should know of a revision: a guarded class, more than half of a class gone, or nearly nothing.

    K on softmax-trained logits is fragile both ways: the same K can drop almost all of a class or almost none.
    """
    notes = []
    for score, threshold, (size, dropped) in zip(majority_scores, thresholds, revision.counts, strict=True):
        if dropped > size / 2:
            notes.append(f"K = {threshold:g} drops {dropped:,} of {size:,} photos of score {score}")
    if revision.guarded:
        notes.append(f"the guard (min_kept) kept some of score {_listed(majority_scores, revision.guarded)}")
    size, dropped = (sum(column) for column in zip(*revision.counts, strict=True))
    if any(thresholds) and dropped < size / 100:
        notes.append(f"nearly nothing dropped: {dropped:,} of {size:,} photos of the largest classes")
    return notes


def _majority_scores(table: pd.DataFrame, count: int) -> NDArray[np.int64]:
    classes, labels = np.unique(table["score"], return_inverse=True)
    return classes[majority_classes(labels[table["split"] == "train"], count)]


def _listed(scores: Sequence[int], places: Sequence[int]) -> str:
    return ", ".join(str(scores[place]) for place in places)
