"""The answer in words, and as intervals, from comparisons made by hand."""

from dataclasses import replace

import pandas as pd
import pytest
from analysis.numbers.test_comparisons import few

from rsrl_ray.analysis.numbers.frames import Frames, summarise
from rsrl_ray.analysis.page.answer import Forest, findings, forest
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.core.trial import TrialKey

Row = tuple[str, float, float, float, float]


def _frames(by_hand: Sweep, rows: list[Row], at: str = "equal rounds") -> Frames:
    frames = summarise(by_hand)
    first = frames.comparisons.iloc[0].to_dict()
    columns = ("method", "difference", "low", "high", "p_holm")
    made = [first | dict(zip(columns, row, strict=True)) | {"folds": 25, "at": at} for row in rows]
    return replace(frames, comparisons=pd.DataFrame(made, columns=frames.comparisons.columns))


A, B, C = ("a", 0.1, 0.05, 0.15, 0.01), ("B", -0.2, -0.3, -0.1, 0.001), ("c", 0.3, -0.1, 0.7, 0.06)
HOW = "acro F on the test photos, 25 folds, p after Holm below 0.05"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([B], f"B is worse than the control none: −0.200, 95 % interval −0.300 to −0.100 (m{HOW})."),  # noqa: RUF001
        ([C], f"c is not shown to differ from the control none: +0.300, 95 % interval −0.100 to +0.700 (m{HOW})."),  # noqa: RUF001
        (
            [C, ("d", -0.1, -0.5, 0.3, 1.0)],
            f"None of the 2 other methods is shown to differ from the control none (m{HOW}). The largest difference is "
            "that of c: +0.300, 95 % interval −0.100 to +0.700.",  # noqa: RUF001
        ),
        (
            [B, C, A],
            "1 of 3 methods is better than the control none: a (+0.100, 95 % interval +0.050 to +0.150). "
            "1 of 3 methods is worse than the control none: B (−0.200, 95 % interval −0.300 to −0.100). "  # noqa: RUF001
            f"1 is not shown to differ. (M{HOW}.)",
        ),
    ],
)
def test_the_answer_is_the_first_sentence(by_hand: Sweep, rows: list[Row], said: str) -> None:
    first, second = findings(_frames(by_hand, rows))
    assert first == said
    assert second == (
        "The method paper has the highest macro F on the test photos, 0.567 ± 0.236 over 2 folds; always assigning the "
        "largest class gives 0.367 ± 0.047."
    )


@pytest.mark.parametrize("rounds", [2, 3])
def test_a_method_that_lacks_rounds_is_not_the_best_and_without_a_whole_control_there_is_no_verdict(
    by_hand: Sweep, rounds: int
) -> None:
    by_hand.trials[TrialKey(1, "late")].predicted[0, 6:10] = [3, 3, 5, 5]  # macro F 1, of its only round
    frames = summarise(few(by_hand, TrialKey(0, "none"), rounds))
    *first, last = findings(frames)
    assert last.startswith("The method paper has the highest macro F")
    no_verdict = "No verdict on any method: none, which they are compared with, lacks rounds or folds."
    assert (len(first), no_verdict in frames.notes) == ((0, True) if rounds == 2 else (1, False))


def test_of_an_error_the_lower_is_the_better(by_hand: Sweep) -> None:
    frames = summarise(replace(by_hand, measure="mae"))
    first = frames.comparisons.query("measure == 'mae'").iloc[0].to_dict()
    rows = [first | {"method": name, "difference": d, "p_holm": 0.01} for name, d in {"a": 0.2, "b": -0.1}.items()]
    frames = replace(frames, comparisons=pd.DataFrame(rows))
    said, last = findings(frames)
    assert said.startswith("1 of 2 methods is better than the control none: b (−0.100,")  # noqa: RUF001
    assert last.startswith("The method paper has the lowest MAE on the test photos, 0.583 ± 0.118 over 2 folds;")
    drawn = forest(frames)
    assert drawn is not None and [(row["method"], row["verdict"]) for row in drawn.rows] == [
        ("b", "better"),
        ("a", "worse"),
    ]
    assert (drawn.words, drawn.rope) == ("MAE", 0.02)
    assert "Rounds are chosen by macro F" in drawn.remark and "the lower, the better" in drawn.remark


def test_of_many_that_differ_the_sentence_says_by_how_much_alone_the_best_first(by_hand: Sweep) -> None:
    rows = [(f"m{place}", place / 10, 0.0, 1.0, 0.01) for place in range(1, 6)]
    assert findings(_frames(by_hand, rows))[0] == (
        "5 of 5 methods are better than the control none: m5 (+0.500), m4 (+0.400), m3 (+0.300), m2 (+0.200), "
        f"m1 (+0.100). (M{HOW}.)"
    )


def test_intervals_on_one_scale_the_best_first(by_hand: Sweep) -> None:
    rounds = _frames(by_hand, [B, A])
    photos = _frames(by_hand, [("a", 0.05, 0.0, 0.1, 1.0)], at="equal photos seen")
    drawn = forest(replace(rounds, comparisons=pd.concat([rounds.comparisons, photos.comparisons])))
    assert isinstance(drawn, Forest) and drawn.against == "none"
    a, b = drawn.rows
    assert (a["method"], a["verdict"], a["difference"]) == ("a", "better", 0.1)
    assert (b["verdict"], b["photos"]) == ("worse", None)
    # the scale is from -0.3 - 0.036 to 0.15 + 0.036
    place = drawn.scale.place
    assert [place(a[name]) for name in ("difference", "low", "high")] == [83.52, 73.95, 93.1]
    assert place(a["photos"]["low"]) == place(0) == 64.37
    assert list(drawn.scale.ticks.values()) == ["−0.2", "0.0"]  # noqa: RUF001


def test_without_a_control_there_is_no_forest(by_hand: Sweep) -> None:
    others = {key: trial for key, trial in by_hand.trials.items() if key.method != "none"}
    frames = summarise(replace(by_hand, trials=others))
    assert forest(frames) is None
    assert len(findings(frames)) == 1
