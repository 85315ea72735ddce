"""The table of a round: computed by hand, and as the only file from which all else can be computed again."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from rounds.replayed import next_kept, next_trained_on
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, mean_absolute_error

from rsrl_ray import config
from rsrl_ray.core.draw import Draw
from rsrl_ray.core.folds import Fold, make_folds
from rsrl_ray.core.likelihood import Membership, likelihood, self_confidence
from rsrl_ray.core.revision import Revised
from rsrl_ray.core.rules.quantile import Quantile
from rsrl_ray.core.rules.random_share import RandomShare
from rsrl_ray.core.rules.rule import Rule
from rsrl_ray.core.rules.soft import Soft
from rsrl_ray.core.rules.thresholds import Thresholds
from rsrl_ray.core.schedule import make_schedule
from rsrl_ray.rounds import table as rounds_table
from rsrl_ray.rounds.files import RoundFiles
from rsrl_ray.rounds.loop import Plan, RoundResult, run_rounds

# Seven photos of the scores 2, 3, 4 and 7; 7 has no test photo. 6 and 5 are dropped and returned in this round.
IMAGES = ["a.jpg", "b.jpg", "sub/c.jpg", "d.jpg", "e.jpg", "f.jpg", "g.jpg"]
SCORES = np.array([2, 3, 3, 4, 3, 3, 7])
FOLD = Fold(0, np.array([0, 4, 5, 6]), np.array([1]), np.array([2, 3]))
KEPT = np.array([True, False, False, False, False, True, True])
RETURNED = np.array([False, False, False, False, False, True, False])
LOGITS = np.array(
    [
        [1.0, 0.0, 0.0, 0.0],  # train, 2 as 2
        [0.0, 0.0, 1.0, 0.0],  # validation, 3 as 4
        [0.0, 1.0, 0.0, 0.0],  # test, 3 as 3
        [0.0, 1.0, 0.0, 0.0],  # test, 4 as 3
        [0.0, -1.0, 0.0, 0.0],  # train, 3 as 2, dropped
        [0.0, 1.0, 0.0, 1.0],  # train, 3 as 3 (a tie goes to the lower score), returned
        [0.0, 0.0, 3.0, 2.0],  # train, 7 as 4
    ],
    dtype=np.float32,
)
HALF = Thresholds(make_schedule({1: 0.5}))


def _table() -> pd.DataFrame:
    return rounds_table.predictions(IMAGES, SCORES, FOLD, RoundResult(1, KEPT, RETURNED, LOGITS), "sigmoid")


def test_one_row_a_photo_by_hand() -> None:
    table = _table()
    assert table.columns.tolist() == [
        "image",
        "split",
        "score",
        "predicted",
        "kept",
        "returned",
        "self_confidence",
        "logit_2",
        "logit_3",
        "logit_4",
        "logit_7",
    ]
    assert table["image"].tolist() == IMAGES
    assert table["split"].tolist() == ["train", "validation", "test", "test", "train", "train", "train"]
    assert table["score"].tolist() == SCORES.tolist()
    assert table["predicted"].tolist() == [2, 4, 3, 3, 2, 3, 4]
    missing = pd.NA
    assert table["kept"].equals(pd.Series([True, missing, missing, missing, False, True, True], dtype="boolean"))
    assert table["returned"].equals(pd.Series([False, missing, missing, missing, False, True, False], dtype="boolean"))
    expected = 1 / (1 + np.exp(-np.array([1.0, 0, 1, 0, -1, 1, 2])))
    np.testing.assert_allclose(table["self_confidence"], expected, rtol=1e-15)
    assert table["logit_4"].dtype == np.float32
    np.testing.assert_array_equal(rounds_table.logits(table), LOGITS)


def test_the_tables_of_a_folds_rounds_share_no_column_that_is_changed() -> None:
    tables = rounds_table.RoundTables(IMAGES, SCORES, FOLD, "sigmoid")
    first = tables.table(RoundResult(1, KEPT, RETURNED, LOGITS))
    first[["image", "score"]] = "x", 0
    tables.table(RoundResult(2, ~KEPT, RETURNED, -LOGITS))
    pd.testing.assert_frame_equal(tables.table(RoundResult(3, KEPT, RETURNED, LOGITS)), _table())


def test_confusion_by_hand() -> None:
    assert rounds_table.confusion(_table(), "test").tolist() == [
        [0, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 0],
    ]


def test_metrics_by_hand() -> None:
    assert rounds_table.round_metrics(_table(), majority=1) == pytest.approx(
        {
            "test_macro_f1": 1 / 3,  # of the scores 3 and 4
            "test_total_f1": 2 / 3,
            "test_all_class_macro_f1": 1 / 6,
            "test_weighted_f1": 1 / 3,
            "test_accuracy": 1 / 2,
            "test_quadratic_kappa": 0.0,  # all are 3
            "test_mae": 1 / 2,
            "test_macro_mae": 1 / 2,
            "test_spearman": 0.0,
            "validation_macro_f1": 0.0,
            "train_accuracy": 2 / 3,  # of the three kept photos
            "train_size": 3.0,
            "majority_share": 1 / 3,  # score 3 is the largest of the training photos
            "returned": 1.0,
            "dropped": 1.0,
            "mean_logit": 10 / 28,
            "f1_2": 0.0,
            "f1_3": 2 / 3,
            "f1_4": 0.0,
            "f1_7": 0.0,
        },
        abs=0,
        rel=1e-15,
    )


def test_large_classes_are_counted_by_true_scores() -> None:
    """60 photos of each of the scores 2 and 1, of which eleven 2s are labelled 1: 49 are labelled 2."""
    true = np.repeat([2, 1], 60)
    labelled = np.where((np.arange(120) >= 49) & (np.arange(120) < 60), 1, true)
    fold = Fold(0, np.arange(20, 120), np.array([], dtype=np.int64), np.arange(20))
    kept = np.arange(120) >= 20
    logits = np.eye(2, dtype=np.float32)[np.where(np.arange(120) < 15, 1, 0)]  # 15 of the 20 test photos as 2
    judged = RoundResult(1, kept, kept & False, logits)
    table = rounds_table.predictions([f"{n}.jpg" for n in range(120)], labelled, fold, judged, "sigmoid")
    noisy = table.assign(true_score=true)
    assert rounds_table.round_metrics(noisy, 1)["test_macro_f1_50"] == pytest.approx(2 * 0.75 / 1.75)
    assert "test_macro_f1_50" not in rounds_table.round_metrics(table, 1)
    assert "test_macro_f1_50" not in rounds_table.round_metrics(noisy[::2], 1)


def test_without_validation_photos_there_is_no_validation_metric() -> None:
    fold = Fold(0, np.array([0, 1, 4, 5, 6]), np.array([], dtype=np.int64), np.array([2, 3]))
    kept = np.isin(np.arange(7), fold.train)
    table = rounds_table.predictions(IMAGES, SCORES, fold, RoundResult(1, kept, ~kept, LOGITS), "sigmoid")
    assert "validation_macro_f1" not in rounds_table.round_metrics(table, majority=1)


def test_a_score_without_training_photos_is_no_obstacle() -> None:
    # A random fold with three scores. All photos of one score are test photos.
    scores = np.array([2, 2, 2, 2, 2, 2, 3, 3, 3, 9])
    fold = Fold(0, np.arange(8), np.array([], dtype=np.int64), np.array([8, 9]))
    kept = np.arange(10) < 8
    logits = np.eye(3, dtype=np.float32)[np.searchsorted([2, 3, 9], scores)]
    table = rounds_table.predictions(
        [f"{n}.jpg" for n in range(10)], scores, fold, RoundResult(1, kept, ~kept, logits), "sigmoid"
    )
    settings = config.Revision(majority_classes=3)
    found = rounds_table.round_metrics(table, settings.majority_classes)
    assert (found["majority_share"], found["train_accuracy"]) == (1.0, 1.0)
    assert next_kept([table], HALF, settings, 0, 0).tolist() == kept.tolist()


# From the file alone


class RandomLearner:
    """Logits of very different magnitudes that favour the label, more in each round."""

    def __init__(self, labels: NDArray[np.int64], classes: int) -> None:
        self._labels, self._classes = labels, classes

    def learn(self, number: int, kept: NDArray[np.bool_]) -> NDArray[np.float32]:
        generator = np.random.default_rng(number)
        shape = (len(self._labels), self._classes)
        logits = generator.normal(size=shape) * generator.choice([1e-6, 0.1, 3.0], size=shape)
        logits[np.arange(len(self._labels)), self._labels] += number
        return logits.astype(np.float32)


SHARES = np.array([93, 697, 1488, 512, 186, 113, 9, 2, 1])
SCORE_OF = np.array([1, 2, 3, 4, 5, 6, 8, 9, 10])  # nine classes, and no photo of score 7
ALL_LABELS = np.random.default_rng(5).permutation(np.repeat(np.arange(9), -(-SHARES // 5)))
THRESHOLDS = [0.9, 0.8, 0.7]
ROUNDS = 5
HALF_AT_RANDOM = Thresholds(make_schedule({1: 0.5}), "random")
SETTINGS = {
    "sigmoid": config.Revision(),
    "centred": config.Revision(membership="centred"),
    "softmax": config.Revision(membership="softmax"),
    "two classes, guarded": config.Revision(majority_classes=2, min_kept=0.6),
}


def _schedule(settings: config.Revision) -> Rule:
    steps = {1: THRESHOLDS[: settings.majority_classes], 3: 0.95}
    return Thresholds(make_schedule(steps, settings.majority_classes))


def _rounds(settings: config.Revision, fold: Fold, rule: Rule | None = None, seed: int = 0) -> list[RoundResult]:
    learner = RandomLearner(ALL_LABELS, 9)
    return list(run_rounds(learner, ALL_LABELS, fold, rule or _schedule(settings), Plan(ROUNDS, settings, seed)))


def _read_back(
    result: RoundResult, fold: Fold, membership: Membership, path: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table of a round, and the same table read from its Parquet file."""
    names = [f"{photo:04d}.jpg" for photo in range(len(ALL_LABELS))]
    first = RoundResult(1, ~result.kept, result.kept, -result.logits)
    table, like = (
        rounds_table.predictions(names, SCORE_OF[ALL_LABELS], fold, done, membership) for done in (result, first)
    )
    RoundFiles(like, membership).write(path.parent, result, {})
    return table, pd.read_parquet(path)


@pytest.mark.parametrize("kind", ["stratified", "random"])
@pytest.mark.parametrize("name", SETTINGS)
def test_everything_is_recomputed_exactly_from_the_file(name: str, kind: str, tmp_path: Path) -> None:
    settings = SETTINGS[name]
    fold = make_folds(ALL_LABELS, Draw(5, kind, 0.1, 0))[1]  # type: ignore[arg-type]
    results = _rounds(settings, fold)
    tables: list[pd.DataFrame] = []
    for result, following in zip(results, [*results[1:], None], strict=True):
        made, read = _read_back(result, fold, settings.membership, tmp_path / "predictions.parquet")
        pd.testing.assert_frame_equal(read, made, check_exact=True)
        largest = settings.majority_classes
        assert rounds_table.round_metrics(read, largest) == rounds_table.round_metrics(made, largest)
        np.testing.assert_array_equal(rounds_table.logits(read), result.logits)
        labels = np.unique(read["score"], return_inverse=True)[1]
        confidence = self_confidence(likelihood(rounds_table.logits(read), settings.membership), labels)
        np.testing.assert_array_equal(confidence, read["self_confidence"])
        tables.append(read)
        if following is not None:
            kept = next_kept(tables, _schedule(settings), settings, 0, fold.number)
            np.testing.assert_array_equal(kept, following.kept)
    # The test proves nothing if no photo is dropped or none comes back.
    assert all(0 < np.count_nonzero(result.kept) < len(fold.train) for result in results[1:])
    assert any(result.returned.any() for result in results)
    assert any(result.revision.guarded for result in results if result.revision) or "guarded" not in name


@pytest.mark.parametrize("rule", [Quantile(0.2, "mean"), RandomShare(0.3), HALF_AT_RANDOM], ids=str)
def test_so_are_rules_that_look_back_or_draw(rule: Rule, tmp_path: Path) -> None:
    settings, fold = config.Revision(), make_folds(ALL_LABELS, Draw(5, "stratified", 0.1, 0))[1]
    results = _rounds(settings, fold, rule, seed=7)
    read = [_read_back(result, fold, "sigmoid", tmp_path / "predictions.parquet")[1] for result in results]
    for number in range(1, ROUNDS):
        kept = next_kept(read[:number], rule, settings, 7, fold.number)
        np.testing.assert_array_equal(kept, results[number].kept)
    assert len({result.kept.tobytes() for result in results}) == ROUNDS


@pytest.mark.parametrize("rule", [Soft(0.9, 2), Soft(0.95, 1, "mean")], ids=str)
def test_so_are_weights_which_stand_in_the_file_of_their_round(rule: Rule, tmp_path: Path) -> None:
    settings, fold = config.Revision(), make_folds(ALL_LABELS, Draw(5, "stratified", 0.1, 0))[1]
    results, read = _rounds(settings, fold, rule), []
    for result in results:
        made, found = _read_back(result, fold, "sigmoid", tmp_path / "predictions.parquet")
        pd.testing.assert_frame_equal(found, made, check_exact=True)
        read.append(found)
    assert "weight" not in read[0]  # round 1 trains on all photos alike
    columns = ["image", "split", "score", "predicted", "kept", "returned", "weight", "self_confidence"]
    for number in range(1, ROUNDS):
        table = read[number]
        assert list(table)[:8] == columns and table["weight"].dtype == np.float32
        weights = table["weight"].fillna(0).to_numpy()
        np.testing.assert_array_equal(weights, next_trained_on(read[:number], rule, settings, 0, fold.number))
        assert (table["weight"].isna() == (table["split"] != "train")).all()
        assert (table["kept"].fillna(False).to_numpy() == (weights > 0)).all()
        assert len(np.unique(weights)) > 10
        no_weights = table.drop(columns="weight")
        assert rounds_table.round_metrics(table, 3) == rounds_table.round_metrics(no_weights, 3)


def test_a_revision_that_only_weighs_is_not_said_to_drop_nothing() -> None:
    counts, majority = ((100, 0), (50, 0)), np.array([0, 1])
    for weights, said in ((None, ["nearly nothing dropped: 0 of 150 photos of the largest classes"]), (np.ones(1), [])):
        revision = Revised(np.ones(150, dtype=bool), (), counts, weights)
        assert rounds_table.revision_notes(revision, Soft(0.9), 1, np.array([2, 3]), majority) == said


def test_metrics_of_the_file_are_those_of_the_round(tmp_path: Path) -> None:
    fold = make_folds(ALL_LABELS, Draw(5, "stratified", 0.1, 0))[1]
    scores = SCORE_OF[ALL_LABELS]
    test, validation = fold.test, fold.validation
    for result in _rounds(config.Revision(), fold):
        _, read = _read_back(result, fold, "sigmoid", tmp_path / "predictions.parquet")
        predicted = SCORE_OF[result.logits.argmax(axis=1)]
        found = rounds_table.round_metrics(read, 3)
        exact = {
            "train_size": result.kept.sum(),
            "dropped": len(fold.train) - result.kept.sum(),
            "returned": result.returned.sum(),
            "mean_logit": result.logits.mean(dtype=np.float64),
            "train_accuracy": accuracy_score(scores[result.kept], predicted[result.kept]),
            "test_accuracy": accuracy_score(scores[test], predicted[test]),
            "majority_share": np.isin(scores[result.kept], [3, 2, 4]).mean(),
        }
        assert {name: found.pop(name) for name in exact} == exact
        per_class = f1_score(scores[test], predicted[test], labels=SCORE_OF, average=None, zero_division=0)
        assert found == pytest.approx(
            {
                "test_macro_f1": _f1(scores[test], predicted[test], "macro", np.unique(scores[test])),
                "test_all_class_macro_f1": _f1(scores[test], predicted[test], "macro", SCORE_OF),
                "test_weighted_f1": _f1(scores[test], predicted[test], "weighted", SCORE_OF),
                "test_total_f1": per_class.sum(),
                "test_macro_f1_50": _f1(scores[test], predicted[test], "macro", np.array([2, 3, 4])),
                "test_quadratic_kappa": cohen_kappa_score(
                    scores[test], predicted[test], labels=np.arange(1, 11), weights="quadratic"
                ),
                "test_mae": mean_absolute_error(scores[test], predicted[test]),
                "test_macro_mae": np.mean(
                    [np.abs(score - predicted[test][scores[test] == score]).mean() for score in np.unique(scores[test])]
                ),
                "test_spearman": spearmanr(scores[test], predicted[test]).statistic,
                "validation_macro_f1": _f1(
                    scores[validation], predicted[validation], "macro", np.unique(scores[validation])
                ),
                **{f"f1_{score}": f1 for score, f1 in zip(SCORE_OF, per_class, strict=True)},
            },
            rel=1e-14,
        )


def _f1(scores: NDArray[np.int64], predicted: NDArray[np.int64], average: str, among: NDArray[np.int64]) -> float:
    return float(f1_score(scores, predicted, labels=among, average=average, zero_division=0))


# Notes


def _notes(
    counts: tuple[tuple[int, int], ...], thresholds: tuple[float, ...], guarded: tuple[int, ...] = ()
) -> list[str]:
    """Notes on the scores 4, 3 and 5, the largest first; ``guarded`` are places among them."""
    largest = np.array([1, 0, 2])
    by_class = dict(zip(largest.tolist(), counts, strict=True))
    classes = tuple(sorted(int(largest[place]) for place in guarded))
    revision = Revised(np.ones(1, dtype=bool), classes, (by_class[0], by_class[1], by_class[2]))
    rule = Thresholds(make_schedule({1: list(thresholds)}))
    return rounds_table.revision_notes(revision, rule, 1, np.array([3, 4, 5]), largest)


def test_a_revision_that_drops_more_than_30_percent_of_a_class_is_noted() -> None:
    assert _notes(((1190, 357), (560, 168), (410, 123)), (0.9, 0.9, 0.9)) == []
    assert _notes(((1190, 1001), (560, 168), (410, 124)), (0.95, 0.9, 0.875)) == [
        "K = 0.95 drops 1,001 of 1,190 photos of score 4",
        "K = 0.875 drops 124 of 410 photos of score 5",
    ]


def test_a_guarded_class_is_noted() -> None:
    assert _notes(((1190, 1178), (558, 0), (410, 405)), (0.9, 0.9, 0.9), (0, 2)) == [
        "K = 0.9 drops 1,178 of 1,190 photos of score 4",
        "K = 0.9 drops 405 of 410 photos of score 5",
        "the guard (min_kept) kept some of score 4, 5",
    ]


def test_a_revision_that_drops_nearly_nothing_is_noted() -> None:
    assert _notes(((1190, 10), (560, 5), (450, 7)), (0.9, 0.9, 0.9)) == []  # 22 of 2,200: 1 %
    assert _notes(((1190, 10), (560, 5), (450, 6)), (0.9, 0.9, 0.9)) == [
        "nearly nothing dropped: 21 of 2,200 photos of the largest classes"
    ]


def test_dropping_nothing_on_purpose_is_not_noted() -> None:
    assert _notes(((1190, 0), (560, 0), (450, 0)), (0.0, 0.0, 0.0)) == []
