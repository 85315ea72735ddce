"""Every value of the frames against numbers worked out by hand from the sweep of conftest.py."""

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rsrl_ray.analysis.numbers.frames import LARGEST_CLASS, summarise
from rsrl_ray.analysis.numbers.histories import ledger_parts
from rsrl_ray.analysis.numbers.measures import choose
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.core.selection import CRITERIA, Criterion
from rsrl_ray.core.trial import TrialKey

NAN = math.nan
ROOT2 = math.sqrt(2)


def row(frame: pd.DataFrame, **where: Any) -> dict[str, Any]:
    """The one row with these values."""
    for name, value in where.items():
        frame = frame[frame[name] == value]
    (found,) = frame.to_dict("records")
    return found


def without_validation(sweep: Sweep) -> Sweep:
    trials = {
        key: dataclasses.replace(trial, metrics=trial.metrics.drop(columns="validation_macro_f1"))
        for key, trial in sweep.trials.items()
    }
    return dataclasses.replace(sweep, trials=trials, chooses="test")


def chosen(sweep: Sweep, method: str, criterion: Criterion) -> dict[int, int]:
    """By fold."""
    return {key.fold: number for key, number in choose(sweep.trials_of(method), criterion).items()}


def test_rounds_chosen_by_each_criterion(by_hand: Sweep) -> None:
    assert {criterion: chosen(by_hand, "paper", criterion) for criterion in CRITERIA} == {
        "validation": {0: 1, 1: 2},
        "validation_mean": {0: 2, 1: 2},  # the mean curve is 0.5, 0.6, 0
        "last": {0: 3, 1: 3},
        "oracle": {0: 2, 1: 2},
    }
    assert chosen(by_hand, "none", "validation") == {0: 1, 1: 1}  # a tie
    assert chosen(by_hand, "late", "last") == {1: 1}
    assert by_hand.criterion == "validation"


def test_rounds_frame_holds_every_metric_of_every_round(by_hand: Sweep) -> None:
    frame = summarise(by_hand).rounds
    assert frame.columns.tolist() == ["fold", "method", "round", "test_macro_f1", "validation_macro_f1"]
    assert len(frame) == 3 * 4 + 1
    assert frame.iloc[1].tolist() == [0, "paper", 2, pytest.approx(2 / 3), 0.5]


def test_folds_frame(by_hand: Sweep) -> None:
    frame = summarise(by_hand).folds
    assert len(frame) == 2 + 4 * (2 + 2 + 1)
    assert frame["method"].unique().tolist() == [LARGEST_CLASS, "paper", "none", "late"]
    assert row(frame, method="paper", criterion="validation", fold=1) == pytest.approx(
        {
            "method": "paper",
            "criterion": "validation",
            "fold": 1,
            "status": "FINISHED",
            "rounds": 3,
            "round": 2,
            "train_size": 6,  # 7 training photos less the dropped 0
            "macro_f1": 11 / 15,  # F 4/5 and 2/3
            "total_f1": 22 / 15,
            "accuracy": 3 / 4,
            "minority_precision": 1.0,
            "minority_recall": 1 / 2,
            "minority_f1": 2 / 3,
            "majority_precision": 2 / 3,
            "majority_recall": 1.0,
            "majority_f1": 4 / 5,
            "macro_f1_50": NAN,  # no score has so many photos
            "quadratic_kappa": 1 / 2,  # 1 - 4 x 4 / (2 x 4 x 1 + 2 x 4 x 3)
            "mae": 1 / 2,
            "macro_mae": 1 / 2,  # of 0 and 1
            "spearman": 1 / math.sqrt(3),
        },
        nan_ok=True,
    )
    late = row(frame, method="late", criterion="last", fold=1)
    assert (late["status"], late["rounds"], late["round"], late["macro_f1"]) == ("RUNNING", 1, 1, pytest.approx(1 / 3))


def test_largest_class_is_the_first_row(by_hand: Sweep) -> None:
    summary = summarise(by_hand).summary
    first = summary.iloc[0]
    assert (first["method"], first["criterion"], first["folds"], first["rounds"]) == (LARGEST_CLASS, "", 2, "")
    expected = {
        "round_mean": NAN,
        "train_size_mean": NAN,
        "macro_f1_mean": 11 / 30,  # 2/5 and 1/3
        "macro_f1_sd": 1 / 15 / ROOT2,
        "macro_f1_pooled": 4 / 11,  # precision 4/7, recall 1, of score 3; 0 of score 5
        "total_f1_pooled": 8 / 11,
        "accuracy_mean": 7 / 12,
        "accuracy_pooled": 4 / 7,
        "minority_f1_mean": 0,
        "majority_recall_mean": 1,
        "majority_precision_mean": 7 / 12,
        "optimism": NAN,
    }
    assert {name: first[name] for name in expected} == pytest.approx(expected, nan_ok=True)


def test_summary_of_the_default_criterion(by_hand: Sweep) -> None:
    found = row(summarise(by_hand).summary, method="paper", criterion="validation")
    assert (found["folds"], found["rounds"]) == (2, "1, 2")
    expected = {
        "round_mean": 1.5,
        "round_sd": 1 / ROOT2,
        "train_size_mean": 7,  # 8 and 6
        "train_size_sd": ROOT2,
        "macro_f1_mean": 17 / 30,  # 6/15 and 11/15
        "macro_f1_sd": 1 / 3 / ROOT2,
        "macro_f1_pooled": 0.65,  # [[4, 0], [2, 1]]: F 4/5 and 1/2
        "total_f1_mean": 17 / 15,
        "total_f1_sd": 2 / 3 / ROOT2,
        "total_f1_pooled": 1.3,
        "accuracy_mean": 17 / 24,
        "accuracy_sd": 1 / 12 / ROOT2,
        "accuracy_pooled": 5 / 7,
        "minority_precision_mean": 1 / 2,
        "minority_precision_pooled": 1,
        "minority_recall_mean": 1 / 4,
        "minority_recall_pooled": 1 / 3,
        "minority_f1_mean": 1 / 3,
        "minority_f1_pooled": 1 / 2,
        "majority_precision_mean": 2 / 3,
        "majority_precision_sd": 0,
        "majority_precision_pooled": 2 / 3,
        "majority_recall_mean": 1,
        "majority_f1_mean": 4 / 5,
        "majority_f1_pooled": 4 / 5,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_optimism_is_what_the_oracle_seems_to_gain(by_hand: Sweep) -> None:
    summary = summarise(by_hand).summary
    oracle = row(summary, method="paper", criterion="oracle")
    assert (oracle["rounds"], oracle["macro_f1_mean"]) == ("2, 2", pytest.approx(7 / 10))
    assert oracle["optimism"] == pytest.approx(7 / 10 - 17 / 30)
    assert row(summary, method="none", criterion="oracle")["optimism"] == 0
    assert summary.loc[summary["criterion"] != "oracle", "optimism"].isna().all()
    assert row(summary, method="paper", criterion="last")["macro_f1_mean"] == pytest.approx(11 / 30)


def test_a_single_fold_has_no_deviation(by_hand: Sweep) -> None:
    late = row(summarise(by_hand).summary, method="late", criterion="validation")
    assert (late["folds"], late["rounds"], late["macro_f1_mean"]) == (1, "1", pytest.approx(1 / 3))
    assert math.isnan(late["macro_f1_sd"]) and math.isnan(late["train_size_sd"])


def test_classes_show_network_1_and_the_chosen_one(by_hand: Sweep) -> None:
    frame = summarise(by_hand).classes
    assert len(frame) == 3 * 2 * (3 + 2)
    first = row(frame, method="paper", network="first", score=3)
    chosen = row(frame, method="paper", network="chosen", score=5)
    absent = row(frame, method="paper", network="chosen", score=7)
    assert (first["group"], first["folds"], first["support"]) == ("majority", 2, 4)
    assert (chosen["group"], chosen["folds"], chosen["support"]) == ("minority", 2, 3)
    assert (absent["group"], absent["folds"], absent["support"]) == ("minority", 0, 0)
    names = [f"{name}_{kind}" for name in ("precision", "recall", "f1") for kind in ("mean", "sd", "pooled")]
    np.testing.assert_allclose(
        [first[name] for name in names],
        [7 / 12, 1 / 6 / ROOT2, 4 / 7, 1, 0, 1, 11 / 15, 2 / 15 / ROOT2, 8 / 11],
        atol=1e-15,
    )
    np.testing.assert_allclose(
        [chosen[name] for name in names],
        [1 / 2, 1 / ROOT2, 1, 1 / 4, 1 / 2 / ROOT2, 1 / 3, 1 / 3, 2 / 3 / ROOT2, 1 / 2],
    )
    assert all(math.isnan(absent[name]) for name in names)


def test_group_means_of_the_classes(by_hand: Sweep) -> None:
    frame = summarise(by_hand).classes
    groups = frame[(frame["method"] == "paper") & (frame["network"] == "chosen") & frame["score"].isna()]
    minority, majority = groups.to_dict("records")
    assert (minority["group"], minority["folds"], minority["support"]) == ("minority", 2, 3)
    assert (minority["f1_mean"], minority["f1_pooled"]) == pytest.approx((1 / 3, 1 / 2))
    assert (majority["group"], majority["support"], majority["f1_mean"]) == ("majority", 4, pytest.approx(4 / 5))


def test_comparisons_with_the_control(by_hand: Sweep) -> None:
    frames = summarise(by_hand)
    frame = frames.comparisons
    assert len(frame) == 2 * 7 * 2
    frame = frame[frame["at"] == "equal rounds"]
    found = row(frame, method="paper", measure="macro_f1")
    assert (found["against"], found["criterion"], found["folds"], found["df"]) == ("none", "validation", 2, 1)
    ratio = (3 / 8 + 4 / 7) / 2  # test photos by training photos
    error = math.sqrt((1 / 2 + ratio) * 0.08)  # the differences are 0 and 0.4
    margin = math.tan(0.475 * math.pi) * error  # the t-distribution of 1 degree of freedom is Cauchy's
    p = 1 - 2 / math.pi * math.atan(0.2 / error)
    expected = {"ratio": ratio, "difference": 0.2, "sd": 0.4 / ROOT2, "t": 0.2 / error, "p": p, "p_holm": p}
    expected |= {"low": 0.2 - margin, "high": 0.2 + margin}
    expected |= {"worse": 0.5 + math.atan((-0.01 - 0.2) / error) / math.pi}
    expected |= {"better": 0.5 - math.atan((0.01 - 0.2) / error) / math.pi}
    expected |= {"equivalent": 1 - expected["worse"] - expected["better"]}
    expected |= {"detectable": margin / (0.4 / ROOT2), "detectable_difference": margin}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert row(frame, method="paper", measure="accuracy")["difference"] == pytest.approx(1 / 8)
    late = row(frame, method="late", measure="macro_f1")
    assert (late["folds"], late["difference"]) == (1, 0)
    assert all(math.isnan(late[name]) for name in ("t", "p", "p_holm", "low", "high"))
    assert frames.incomplete == ("late",)
    assert frames.notes == (
        "A comparison on fewer than two folds has no t, p and interval.",
        "late lacks rounds or folds: no verdict, and no mean to compare with others.",
        "Rules drop more than 30 % of a class: paper up to 50 % of score 3 (the largest share of all rounds and folds)."
        " Compare them with as many photos dropped at random (pick: random); a lower K, or a rule that drops a share "
        "(quantile: 0.2), drops fewer.",
        "2 folds can show a difference of 12.5 sd (standard deviation of the differences, fold by fold; in macro F "
        "3.545); a smaller difference may be there, although it is not shown.",
    )


def test_holm_counts_the_methods(by_hand: Sweep) -> None:
    frame = summarise(by_hand, "paper").comparisons
    assert frame["method"].unique().tolist() == ["none", "late"]
    twice = dataclasses.replace(by_hand, methods=("paper", "none", "twice"))
    for fold in (0, 1):
        twice.trials[TrialKey(fold, "twice")] = dataclasses.replace(by_hand.trials[fold, "paper"], method="twice")
    found = row(summarise(twice).comparisons, method="twice", measure="macro_f1", at="equal rounds")
    assert found["p_holm"] == pytest.approx(min(1, 2 * found["p"]))


def test_ledger_holds_who_was_dropped_and_came_back(by_hand: Sweep) -> None:
    frame = pd.concat(ledger_parts(by_hand), ignore_index=True)
    assert frame.columns.tolist() == [
        "method",
        "fold",
        "image",
        "score",
        "rounds",
        "dropped",
        "returned",
        "history",
        "self_confidence_mean",
        "self_confidence_last",
        "predicted_last",
        "self_confidence_history",
        "train_folds",
    ]
    assert frame[["self_confidence_history", "train_folds"]].to_numpy().tolist() == [
        ["40 40 40", 1],  # the other fold tests on it
        ["25 25 25", 2],
        ["10 10 10", 1],
    ]
    assert frame.iloc[:, :8].to_numpy().tolist() == [
        ["paper", 0, "6.jpg", 3, 3, 2, 0, "kdd"],
        ["paper", 0, "3.jpg", 3, 3, 1, 1, "kdk"],
        ["paper", 1, "0.jpg", 3, 3, 1, 1, "kdk"],
    ]
    np.testing.assert_allclose(frame["self_confidence_mean"], [0.4, 0.25, 0.1], rtol=1e-6)


def test_without_validation_photos_it_is_said_and_the_oracle_shown(by_hand: Sweep) -> None:
    frames = summarise(without_validation(by_hand))
    assert frames.criterion == "oracle"
    assert frames.notes[0].startswith("There are no validation photos")
    assert frames.summary["criterion"].unique().tolist() == ["", "last", "oracle"]
    assert frames.summary["optimism"].isna().all()
    assert frames.comparisons["criterion"].unique().tolist() == ["oracle"]
    with pytest.raises(ValueError, match="no round can be chosen"):
        chosen(without_validation(by_hand), "paper", "validation")


def test_a_sweep_of_the_first_round_alone(by_hand: Sweep) -> None:
    alone = dataclasses.replace(by_hand, trials={TrialKey(1, "late"): by_hand.trials[1, "late"]})
    frames = summarise(alone)
    assert frames.summary["method"].unique().tolist() == [LARGEST_CLASS, "late"]
    assert len(frames.comparisons) == 0 and not any(map(len, ledger_parts(alone)))
    assert frames.notes[0] == "Nothing to compare with: no round of a method 'none' is logged."


def test_an_unknown_baseline_is_refused(by_hand: Sweep) -> None:
    with pytest.raises(ValueError, match="no method 'nome' to compare with; there are paper, none, late"):
        summarise(by_hand, "nome")
