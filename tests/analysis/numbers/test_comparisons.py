"""Comparisons of the sweep of conftest.py at equal photos seen, by hand; its statistics are in test_summary.py."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

import rsrl_ray as rsrl
from rsrl_ray.analysis.numbers.comparisons import CONCLUSIONS, Terms, compare, detectable_note, telling, telling_note
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.core.compared import COMPARED
from rsrl_ray.core.trial import TrialKey

ASKED = Terms("validation")


def seen(sweep: Sweep, photos: dict[str, list[int]]) -> Sweep:
    """The sweep without ``late``, with these photos seen by round, in both folds."""
    trials = {
        key: dataclasses.replace(trial, photos_seen=np.array(photos[key.method], dtype=float))
        for key, trial in sweep.trials.items()
        if key.method in photos
    }
    return dataclasses.replace(sweep, trials=trials)


def differences(frame: pd.DataFrame, measure: str) -> dict[str, float]:
    part = frame[frame["measure"] == measure]
    return dict(zip(part["at"], part["difference"], strict=True))


def test_who_has_seen_more_is_cut_before_its_round_is_chosen(by_hand: Sweep) -> None:
    # paper chooses rounds 1 and 2, .4 and 11/15; cut to round 1 it has .4 and 1/3, as none has
    frame = compare(seen(by_hand, {"paper": [10, 30, 40], "none": [8, 16, 24]}), ASKED)
    assert differences(frame, "macro_f1") == pytest.approx({"equal rounds": 0.2, "equal photos seen": 0}, abs=1e-15)
    # cut to round 2, paper chooses the same
    frame = compare(seen(by_hand, {"paper": [10, 20, 40], "none": [8, 16, 24]}), ASKED)
    assert differences(frame, "macro_f1") == pytest.approx({"equal rounds": 0.2, "equal photos seen": 0.2})
    assert frame["measure"].unique().tolist() == [name for name in COMPARED if name != "macro_f1_50"]


def test_the_baseline_is_cut_as_well(by_hand: Sweep) -> None:
    frame = compare(seen(by_hand, {"paper": [10, 30, 40], "none": [8, 16, 24]}), Terms("validation", "paper"))
    assert differences(frame, "macro_f1") == pytest.approx({"equal rounds": -0.2, "equal photos seen": 0}, abs=1e-15)


def test_each_fold_has_its_own_limit(by_hand: Sweep) -> None:
    sweep = seen(by_hand, {"paper": [10, 30, 40], "none": [8, 16, 24]})
    first = TrialKey(1, "none")
    sweep.trials[first] = dataclasses.replace(sweep.trials[first], photos_seen=np.array([10.0, 20, 30]))
    assert differences(compare(sweep, ASKED), "macro_f1")["equal photos seen"] == pytest.approx(0.2)


def few(sweep: Sweep, key: TrialKey, rounds: int) -> Sweep:
    """The sweep, of one of whose trials only so many rounds are there."""
    trial = sweep.trials[key]
    cut = {name: getattr(trial, name)[:rounds] for name in ("photos_seen", "predicted", "kept", "self_confidence")}
    short = dataclasses.replace(trial, metrics=trial.metrics.iloc[:rounds], **cut)
    return dataclasses.replace(sweep, trials={**sweep.trials, key: short})


def test_methods_that_learn_alike_do_not_differ_while_one_has_fewer_rounds(by_hand: Sweep) -> None:
    # paper's third round would be chosen; of a twin that has two so far, the second is
    best_last = np.array([[3, 3, 3], [3, 3, 3], [3, 5, 5]])
    for name, fold in (("none", 0), ("twin", 0), ("none", 1), ("twin", 1)):
        trial = by_hand.trials[TrialKey(0, "paper")]
        predicted = trial.predicted.copy()
        predicted[:, trial.split == 2] = best_last
        metrics = trial.metrics.assign(validation_macro_f1=[0.1, 0.2, 0.9], test_macro_f1=[0.4, 0.4, 2 / 3])
        more = {"method": name, "fold": fold, "predicted": predicted, "metrics": metrics}
        by_hand.trials[TrialKey(fold, name)] = dataclasses.replace(trial, **more)
    sweep = dataclasses.replace(by_hand, methods=("none", "twin"))
    whole = compare(sweep, ASKED).iloc[0]
    assert (whole["difference"], whole["p"]) == (0, 1)
    for key in (TrialKey(0, "twin"), TrialKey(1, "none")):  # either side
        part = compare(few(sweep, key, 2), ASKED).iloc[0]
        assert (part["difference"], part["folds"]) == (0, 2)  # -0.27 where each side has what it has
        assert part[[*CONCLUSIONS, "p_holm"]].isna().all()
    del sweep.trials[TrialKey(1, "twin")]
    part = compare(sweep, ASKED).iloc[0]
    assert (part["difference"], part["folds"]) == (0, 1) and part[list(CONCLUSIONS)].isna().all()


@pytest.mark.parametrize("most", [240, 244])
def test_where_all_have_seen_as_many_there_is_one_comparison(by_hand: Sweep, most: int) -> None:
    # 244 is less than 2 % more, as the last batches make with training.steps: all
    frame = compare(seen(by_hand, {"paper": [80, 160, most], "none": [80, 160, 240]}), ASKED)
    assert frame["at"].unique().tolist() == ["equal rounds"]


def test_a_trial_whose_first_round_has_seen_more_keeps_it(by_hand: Sweep) -> None:
    frame = compare(seen(by_hand, {"paper": [30, 60, 90], "none": [8, 16, 24]}), ASKED)
    assert differences(frame, "macro_f1")["equal photos seen"] == pytest.approx(0, abs=1e-15)


def test_the_rope_decides_what_is_equivalent(by_hand: Sweep) -> None:
    sweep = seen(by_hand, {"paper": [8, 16, 24], "none": [8, 16, 24]})
    wide = compare(sweep, Terms("validation", rope=0.5)).iloc[0]
    error = wide["sd"] * math.sqrt(1 / 2 + (3 / 8 + 4 / 7) / 2)
    worse = 0.5 + math.atan((-0.5 - 0.2) / error) / math.pi
    better = 0.5 - math.atan((0.5 - 0.2) / error) / math.pi
    found = [wide[name] for name in ("worse", "equivalent", "better")]
    np.testing.assert_allclose(found, [worse, 1 - worse - better, better])
    assert compare(sweep, Terms("validation", rope=0)).iloc[0]["equivalent"] == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("rope", [-0.01, math.nan])
def test_a_rope_that_makes_no_sense_is_refused(rope: float) -> None:
    with pytest.raises(ValueError, match="give 0 or more, in units of the measure"):
        Terms("validation", rope=rope)


def test_what_could_be_shown_in_words() -> None:
    rows = [("macro_f1", "equal rounds", 25, 1.16, 0.0204), ("macro_f1", "equal rounds", 25, 1.16, 0.0331)]
    rows += [("accuracy", "equal rounds", 25, 1.16, 0.9), ("macro_f1", "equal photos seen", 25, 1.16, 0.8)]
    frame = pd.DataFrame(rows, columns=["measure", "at", "folds", "detectable", "detectable_difference"])
    assert detectable_note(frame) == (
        "25 folds can show a difference of 1.2 sd (standard deviation of the differences, fold by fold; in macro F "
        "0.020 to 0.033, from method to method); a smaller difference may be there, although it is not shown."
    )
    assert detectable_note(frame.assign(detectable=math.nan)) == ""


def test_mae_is_better_below_the_baseline(by_hand: Sweep) -> None:
    # paper's errors: 2/3 and 1/2, those of none: 2/3 and 1; scores 3, 5, 7 are 2 apart, so the rope is 0.02
    frame = compare(by_hand, ASKED)
    frame = frame[(frame["method"] == "paper") & (frame["at"] == "equal rounds")].set_index("measure")
    mae, kappa = frame.loc["mae"], frame.loc["quadratic_kappa"]
    assert (mae["difference"], mae["sd"]) == pytest.approx((-1 / 4, math.sqrt(1 / 8)))
    scale = math.sqrt(0.5 + mae["ratio"]) * math.sqrt(1 / 8)
    assert mae["better"] == pytest.approx(0.5 + math.atan((-0.02 + 0.25) / scale) / math.pi)  # t, 1 degree: Cauchy
    assert mae["worse"] == pytest.approx(0.5 - math.atan((0.02 + 0.25) / scale) / math.pi)
    # paper's kappas: 0 and 1/2, those of none: 0 and 0; its rope is 0.02 too, as twice that of macro F
    assert kappa["difference"] == pytest.approx(1 / 4)
    assert kappa[["worse", "better"]].tolist() == pytest.approx(mae[["worse", "better"]].tolist())


def test_which_measure_the_folds_can_tell_most_about() -> None:
    rows = [
        ("macro_f1", 0.1, 0.2),
        ("macro_f1", 0.2, 0.4),
        ("mae", -0.3, 0.5),
        ("mae", 0.0, 0.5),
        ("spearman", 1, math.nan),
    ]
    frame = pd.DataFrame(rows, columns=["measure", "difference", "detectable_difference"])
    frame = frame.assign(at="equal rounds", against="none")
    # sd of 0, .1, .2 is .1, the median .3; sd of 0, -.3, 0 is .3 / sqrt 3
    assert telling(frame) == pytest.approx({"macro_f1": 1 / 3, "mae": 0.3 / math.sqrt(3) / 0.5})
    assert telling_note(frame).startswith("These folds can tell little about any measure: the spread of the methods")
    assert telling_note(frame).endswith(
        "in MAE is 0.35 of the smallest difference that can be shown (median of the methods); macro F 0.33."
    )
    clear = frame.assign(difference=2 * frame["difference"])  # 0.69 and 0.67
    assert telling_note(clear).startswith("These folds can tell most about MAE: the spread of the methods")
    assert telling_note(frame[frame["measure"] == "mae"]) == ""


def test_errors_are_better_below_the_baseline() -> None:
    scores = {"none": [0.5, 0.6, 0.7], "mine": [0.3, 0.5, 0.4]}
    plain, errors = (rsrl.compare(scores, ratio=0.5, lower_is_better=lower).iloc[0] for lower in (False, True))
    assert errors["difference"] == plain["difference"] == pytest.approx(-0.2)
    assert (errors["better"], errors["worse"]) == (plain["worse"], plain["better"]) and errors["better"] > 0.5
