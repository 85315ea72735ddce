"""A round as a table of photos. All metrics and the next kept mask follow from it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rsrl_ray.core import metrics
from rsrl_ray.core.decisions import Decision, HeldOut
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.likelihood import Membership, likelihood, self_confidence
from rsrl_ray.core.prediction import Prediction, averaged
from rsrl_ray.core.revision import Revised, majority_classes
from rsrl_ray.core.rules.rule import KEEPS, Rule
from rsrl_ray.rounds.loop import RoundResult

SPLITS = ("train", "validation", "test")
OF_TRAINING = ("kept", "returned")  # columns that are missing for other photos
PHOTO_WEIGHT = "weight"
MUCH = 0.3  # readers are told of a revision that drops a larger share of a class


class RoundTables:
    """Makes the tables of the rounds of one fold; what they share is made once.

    A table is ``predictions.parquet``: one row for each photo. Columns: image, split (train | validation | test),
    score, predicted (a score), kept and returned (of training photos; missing for others), self_confidence, and
    logit_<score> (float32) for each class. A round of a rule that gives weights has a column weight (float32; nan for
    photos outside training) after returned: kept is weight > 0.
    """

    def __init__(self, images: Sequence[str], scores: NDArray[np.int64], fold: Fold, membership: Membership) -> None:
        """Images, scores : [N]."""
        self._classes, self._labels = np.unique(scores, return_inverse=True)
        self._membership = membership
        split = np.empty(len(scores), dtype=np.int64)
        for position, part in enumerate((fold.train, fold.validation, fold.test)):
            split[part] = position
        self._untrained = split != 0
        self._shared = {
            "image": pd.Series(list(images)).array,
            "split": pd.Categorical.from_codes(split, dtype=pd.CategoricalDtype(list(SPLITS))),
            "score": scores,
        }

    def table(self, done: RoundResult) -> pd.DataFrame:
        """The table of a round."""
        new = judged(done, self._classes, self._labels, self._membership)
        new |= {name: pd.arrays.BooleanArray(new[name] & ~self._untrained, self._untrained) for name in OF_TRAINING}
        if PHOTO_WEIGHT in new:
            new[PHOTO_WEIGHT] = np.where(self._untrained, np.float32("nan"), new[PHOTO_WEIGHT])
        return pd.DataFrame(self._shared | new)


def predictions(
    images: Sequence[str], scores: NDArray[np.int64], fold: Fold, done: RoundResult, membership: Membership
) -> pd.DataFrame:
    """The table of one round, see `RoundTables`. images, scores : [N]."""
    return RoundTables(images, scores, fold, membership).table(done)


def judged(
    done: RoundResult, classes: NDArray[np.int64], labels: NDArray[np.int64], membership: Membership
) -> dict[str, Any]:
    """The columns of `predictions` that differ from round to round, [N] each; those of training photos without gaps.

    classes : [C] scores. labels : [N] class indices.
    """
    weight = {} if done.weights is None else {PHOTO_WEIGHT: done.weights}
    return {
        "predicted": classes[assigned(done)],
        "kept": done.kept,
        "returned": done.returned,
        **weight,
        "self_confidence": self_confidence(likelihood(done.logits, membership), labels),
        **{f"logit_{score}": done.logits[:, place] for place, score in enumerate(classes)},
    }


def assigned(done: RoundResult) -> NDArray[np.int64]:
    """The class index that a round assigns to each photo, [N]."""
    return done.logits.argmax(axis=1) if done.predicted is None else done.predicted.astype(np.int64)


def confusion(table: pd.DataFrame, split: str) -> NDArray[np.int64]:
    """The confusion matrix [C, C] of one split. The classes are the distinct scores of the table, ascending."""
    scores, predicted = table["score"].to_numpy(), table["predicted"].to_numpy()
    rows, classes = (table["split"] == split).to_numpy(), np.unique(scores)
    return metrics.confusion_matrix(
        np.searchsorted(classes, scores[rows]), np.searchsorted(classes, predicted[rows]), len(classes)
    )


def round_metrics(table: pd.DataFrame, majority: int) -> dict[str, float]:
    """The round's metrics by their names in MLflow.

    ``*_macro_f1`` is the mean F of the classes that have photos in the split, ``test_total_f1`` the sum.
    ``train_accuracy`` is over the kept photos, on which the network was trained. ``majority_share`` is the share of
    the ``majority`` largest classes in the kept photos. ``mean_logit`` is over all photos and classes. A metric that
    is not defined is left out, such as ``validation_macro_f1`` if there are no validation photos.

    ``test_macro_f1_50`` is the mean F of the classes that have 50 photos or more by true score, in all splits
    together. It is left out if no such class has test photos. For scores as ordered numbers there are quadratic kappa,
    the mean absolute error over photos and over classes, and Spearman's rho: `rsrl_ray.core.metrics.OrdinalScores`.
    """
    test, scores = confusion(table, "test"), table["score"].to_numpy()
    classes, labels = np.unique(scores, return_inverse=True)
    train = (table["split"] == "train").to_numpy()
    largest = classes[majority_classes(labels[train], majority)]
    true = table["true_score"].to_numpy() if "true_score" in table else scores
    large = metrics.large_classes(np.searchsorted(classes, true), len(classes))
    kept = table["kept"].to_numpy(dtype=bool, na_value=False)
    values = {
        "test_macro_f1": metrics.macro_f1(test),
        "test_total_f1": metrics.total_f1(test),
        "test_all_class_macro_f1": metrics.all_class_macro_f1(test),
        "test_weighted_f1": metrics.weighted_f1(test),
        "test_accuracy": metrics.accuracy(test),
        "train_accuracy": float((scores == table["predicted"].to_numpy())[kept].mean()),
        "train_size": float(kept.sum()),
        "majority_share": metrics.sharing_rate(scores[kept], largest),
        "returned": float(table["returned"].sum()),
        "dropped": float(train.sum() - kept.sum()),
        "mean_logit": float(logits(table).mean(dtype=np.float64)),
        "validation_macro_f1": metrics.macro_f1(confusion(table, "validation")),
        "test_macro_f1_50": metrics.macro_f1_of(test, large),
    }
    ordinal = vars(metrics.ordinal_scores(test, classes))
    values |= {f"test_{name}": value for name, value in ordinal.items()}
    f1 = metrics.class_scores(test).f1
    values |= {f"f1_{score}": float(f) for score, f in zip(classes, f1, strict=True)}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def decision_of(tables: Sequence[pd.DataFrame], prediction: Prediction) -> Decision:
    """What a prediction learns from the rounds that it averages. ``tables`` : of these rounds, oldest first."""
    table = tables[-1]
    classes, labels = np.unique(table["score"], return_inverse=True)
    train, held = ((table["split"] == split).to_numpy() for split in SPLITS[:2])
    counts = np.bincount(labels[train], minlength=len(classes))
    seen = HeldOut(counts, np.flatnonzero(held), labels[held], np.flatnonzero(train))
    return prediction.learn(averaged([logits(each) for each in tables]), seen)


def logits(table: pd.DataFrame) -> NDArray[np.float32]:
    """The logits of the table, [N, C], with classes in ascending order of score."""
    columns = [table[f"logit_{score}"].to_numpy(np.float32) for score in np.unique(table["score"])]
    return np.stack(columns, axis=1)  # in C order, because sums depend on it


def revision_notes(
    revision: Revised, rule: Rule, number: int, scores: NDArray[np.int64], majority: NDArray[np.int64]
) -> list[str]:
    """What readers should know of revision ``number``: it drops much of a class, or nearly nothing, or was guarded.

    A threshold K on logits that were trained with softmax is fragile: it can drop nearly all of a class or nearly none.

    scores : [C], of the classes. majority : [M] classes, largest first.
    """
    notes = []
    others = np.setdiff1d(np.arange(len(scores)), majority)
    for place, label in enumerate((*majority, *others)):
        size, dropped = revision.counts[label]
        if dropped > MUCH * size:
            what = rule.says(number, min(place, len(majority) - 1))
            notes.append(f"{what} drops {dropped:,} of {size:,} photos of score {scores[label]}")
    guarded = [str(scores[label]) for label in (*majority, *others) if label in revision.guarded]
    if guarded:
        notes.append(f"the guard (min_kept) kept some of score {', '.join(guarded)}")
    size, dropped = (sum(revision.counts[label][part] for label in majority) for part in (0, 1))
    if rule.at(number) != KEEPS and revision.weights is None and dropped < size / 100:
        notes.append(f"nearly nothing dropped: {dropped:,} of {size:,} photos of the largest classes")
    return notes
