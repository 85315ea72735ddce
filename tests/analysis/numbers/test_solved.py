"""The best trained method beside the best one that is solved."""
# ruff: noqa: RUF001

import dataclasses
import math

import pytest
from analysis.numbers.test_comparisons import few
from rich.console import Console

from rsrl_ray.analysis.numbers.frames import summarise
from rsrl_ray.analysis.numbers.solved import against_solved
from rsrl_ray.analysis.page.answer import findings
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.analysis.tables.closing import closing
from rsrl_ray.core.trial import TrialKey


@pytest.fixture
def solved(by_hand: Sweep) -> Sweep:
    """``ridge`` and ``worse`` are solved. In folds 0 and 1 the macro F of ``ridge`` is 1 and 11/15, of ``trained`` 2/3
    and 11/15, of ``none`` 2/5 and 1/3.
    """
    rows = {"ridge": ([3, 3, 5], [3, 3, 3, 5]), "worse": ([5, 5, 5], [5] * 4), "trained": ([3, 5, 5], [3, 3, 5, 3])}
    trials = {key: trial for key, trial in by_hand.trials.items() if key.method == "none"}
    for name, by_fold in rows.items():
        for fold, assigned in enumerate(by_fold):
            trial = by_hand.trials[TrialKey(fold, "none")]
            predicted = trial.predicted[:].copy()
            predicted[:, trial.split == 2] = assigned
            trials[TrialKey(fold, name)] = dataclasses.replace(trial, method=name, predicted=predicted)
    methods = ("none", "trained", "worse", "ridge")
    return dataclasses.replace(by_hand, methods=methods, trials=trials, solved=("worse", "ridge"), missing=())


def test_the_best_of_both_kinds_are_compared(solved: Sweep) -> None:
    row = summarise(solved).solved
    assert row is not None
    assert (row["method"], row["against"], row["measure"], row["at"]) == (
        "trained",
        "ridge",
        "macro_f1",
        "equal rounds",
    )
    differences = (2 / 3 - 1, 0.0)
    sd = abs(differences[0]) / math.sqrt(2)
    error = math.sqrt(1 / 2 + (3 / 8 + 4 / 7) / 2) * sd
    margin = math.tan(0.475 * math.pi) * error  # as in test_frames.py
    p = 1 - 2 / math.pi * math.atan(1 / 6 / error)
    expected = {"difference": -1 / 6, "sd": sd, "low": -1 / 6 - margin, "high": -1 / 6 + margin, "p": p}
    expected["p_holm"] = p  # that of none is smaller
    assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_the_sentence_stands_in_the_first_one_of_the_page_and_under_the_table(solved: Sweep) -> None:
    said = (
        "trained, the best of the methods that are trained, is not shown to differ from ridge, whose last layer is "
        "solved (learn): −0.167, 95 % interval −3.121 to +2.788 in macro F."
    )
    frames = summarise(solved)
    first, second = findings(frames)
    assert first.startswith("None of the 3 other methods is shown to differ from the control none (")
    assert first.endswith(f" {said}") and second.startswith("The method ridge has the highest macro F")
    console = Console(width=300)
    with console.capture() as captured:
        console.print(closing(frames))
    assert captured.get().splitlines()[-1].strip() == said
    alone = dataclasses.replace(solved, methods=("trained", "worse", "ridge"))
    alone = dataclasses.replace(alone, trials={key: one for key, one in solved.trials.items() if key.method != "none"})
    assert findings(summarise(alone))[0] == said  # without a control too


def test_better_and_worse_are_said_and_of_an_error_the_lower_is_better(solved: Sweep) -> None:
    row = summarise(dataclasses.replace(solved, measure="mae")).solved
    assert row is not None and (row["method"], row["against"]) == ("trained", "ridge")
    assert row["difference"] == pytest.approx(1 / 3)  # 2/3 and 1/2, less 0 and 1/2
    sure = row | {"p_holm": 0.01}
    assert "is worse than ridge, whose last layer is solved (learn): +0.333," in against_solved(sure)
    assert "is better than ridge" in against_solved(sure | {"difference": -0.1})


def test_nothing_is_said_without_two_sides(solved: Sweep) -> None:
    assert summarise(dataclasses.replace(solved, solved=())).solved is None and against_solved(None) == ""
    assert summarise(dataclasses.replace(solved, solved=solved.methods)).solved is None
    assert summarise(solved, baseline="ridge").solved is None  # the comparisons say it
    one = {key: trial for key, trial in solved.trials.items() if key.fold == 0}
    assert summarise(dataclasses.replace(solved, trials=one, folds=(0,))).solved is None
    row = summarise(few(solved, TrialKey(1, "ridge"), 2)).solved  # it lacks a round
    assert row is not None and row["against"] == "worse"
