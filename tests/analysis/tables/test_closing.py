"""What `rsrl analyze` ends with at the terminal, on the sweep of conftest.py."""
# ruff: noqa: RUF001

import dataclasses

from rich.console import Console

from rsrl_ray.analysis.numbers.frames import Frames, summarise
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.analysis.tables.closing import closing, methods_table
from rsrl_ray.terminal import make_console


def lines(frames: Frames, width: int = 80) -> list[str]:
    console = make_console()
    console.width = width
    with console.capture() as captured:
        console.print(closing(frames))
    return captured.get().splitlines()


def cells(line: str) -> list[str]:
    return [part.strip() for part in line.split("  ") if part.strip()]


def test_methods_and_their_distance_from_none_fit_a_terminal(by_hand: Sweep) -> None:
    shown = lines(summarise(by_hand))
    assert shown[0].strip() == "Macro F on the test photos"
    assert cells(shown[1]) == ["method", "macro F", "difference", "95 % interval", "p (Holm)"]
    assert [cells(line) for line in shown[2:6]] == [
        ["always the largest class", "0.367 ± 0.047"],
        ["paper", "0.567 ± 0.236", "+0.200", "−3.345 to +3.745", "0.604"],  # as in test_tables.py
        ["none", "0.367 ± 0.047"],
        ["late", "0.333 so far", "0.000", "–", "–"],  # one round of one fold
    ]
    assert methods_table(summarise(by_hand))["macro F"].tolist()[1:] == [
        "0.567 ± 0.236",
        "0.367 ± 0.047",
        "0.333 so far",
    ]
    said = " ".join(shown[6:])
    assert "each at its round chosen on validation photos." in said and "difference: to none," in said
    assert "|" not in "".join(shown) and max(map(len, shown)) <= 80


def test_without_a_baseline_there_are_no_differences(by_hand: Sweep) -> None:
    trials = {key: trial for key, trial in by_hand.trials.items() if key.method != "none"}
    shown = lines(summarise(dataclasses.replace(by_hand, trials=trials, methods=("paper", "late"))))
    assert cells(shown[1]) == ["method", "macro F"]
    assert "difference" not in "".join(shown)


def test_rounds_chosen_on_test_photos_are_named(by_hand: Sweep) -> None:
    frames = dataclasses.replace(summarise(by_hand), criterion="oracle")
    assert "each at its round chosen on test photos (oracle)." in " ".join(lines(frames, 200))


def test_a_methods_name_is_no_markup(by_hand: Sweep) -> None:
    frames = summarise(by_hand)
    summary = frames.summary.replace({"method": {"paper": "[red]paper"}})
    console = Console(width=120)
    with console.capture() as captured:
        console.print(closing(dataclasses.replace(frames, summary=summary)))
    assert "[red]paper" in captured.get()


def test_another_measure_leads(by_hand: Sweep) -> None:
    shown = lines(summarise(dataclasses.replace(by_hand, measure="quadratic_kappa")), width=120)
    assert shown[0].strip() == "Quadratic kappa on the test photos"
    assert cells(shown[1])[:3] == ["method", "quadratic kappa", "difference"]
    assert cells(shown[3])[:3] == ["paper", "0.250 ± 0.354", "+0.250"]  # kappas 0 and 1/2, those of none 0
    assert "Rounds are chosen by macro F" in " ".join(shown)
