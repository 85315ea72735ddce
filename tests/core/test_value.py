"""Values made of knobs, and what is said of those that are wrong."""

import re
from dataclasses import dataclass

import pytest

from rsrl_ray.core.value import as_text, build, check_choice, check_count, check_number, check_share, make


@dataclass(frozen=True)
class Circle:
    circle: float
    colour: str = "red"


@dataclass(frozen=True)
class Square:
    square: float
    colour: str = "blue"


SHAPES = {"circle": Circle, "square": Square}


def test_the_word_that_is_there_names_the_value() -> None:
    assert make({"circle": 2}, SHAPES, "shape") == Circle(2)
    assert make({"colour": "green", "square": 0.5}, SHAPES, "shape") == Square(0.5, "green")


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({}, "no shape in {}; there are circle, square"),
        ({"triangle": 1, "colour": "red"}, "no shape in triangle, colour; there are circle, square"),
        ({"circle": 1, "square": 1}, "circle and square: give one shape only; there are circle, square"),
        ({"circle": 1, "color": "red"}, "color: no knob of circle; do you mean colour?"),
        ({"circle": 1, "weight": 3}, "weight: no knob of circle; it has circle, colour"),
        ({"circle": 1, 7: 3}, "7: no knob of circle; it has circle, colour"),
        (None, "shape: None; give knobs, such as {name: value}"),
        ("circle", "shape: 'circle'; give knobs, such as {name: value}"),
        ([{"circle": 1}], "shape: [{'circle': 1}]; give knobs, such as {name: value}"),
    ],
)
def test_wrong_knobs_are_told_in_a_line(knobs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make(knobs, SHAPES, "shape")


def test_knobs_without_a_word() -> None:
    assert build(Circle, {"circle": 3, "colour": "grey"}, "round") == Circle(3, "grey")
    with pytest.raises(ValueError, match=r"^radius: no knob of round; it has circle, colour$"):
        build(Circle, {"circle": 3, "radius": 1}, "round")
    with pytest.raises(ValueError, match=r"^round: None; give knobs"):
        build(Circle, None, "round")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, 1, 0.5, -3, 10**300])
def test_numbers(value: float) -> None:
    check_number("size", value)


@pytest.mark.parametrize("value", [None, True, "1", [1], float("nan"), float("inf"), 10**400, -(10**400), 1j])
def test_no_numbers(value: object) -> None:
    with pytest.raises(ValueError, match=r"^size: .*; give a number$"):
        check_number("size", value)
    with pytest.raises(ValueError, match=r"^size: .*; give a number, 0 or more$"):
        check_number("size", value, 0)


def test_the_ends_of_a_range_are_in_it() -> None:
    for value in (0, 1, 0.0, 1.0, 0.5):
        check_share("part", value)
    for value in (-1e-9, 1 + 1e-9, float("nan"), None, False):
        with pytest.raises(ValueError, match=r"^part: .*; give a share, 0 to 1$"):
            check_share("part", value)


def test_counts_are_whole_numbers() -> None:
    check_count("many", 1)
    for value in (0, -1, 3.0, 2.5, True, None, "3", float("nan")):
        with pytest.raises(ValueError, match=r"^many: .*; give a whole number, 1 or more$"):
            check_count("many", value)


def test_choices() -> None:
    check_choice("colour", "red", ("red", "blue"))
    for value in (None, "green", ["red"], {}):
        with pytest.raises(ValueError, match=r"^colour: .*; give one of red, blue$"):
            check_choice("colour", value, ("red", "blue"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (3.0, "3"),
        (0.2, "0.2"),
        (-0.0, "0"),
        (1e-7, "1e-07"),
        (0.9999999, "0.9999999"),
        (1234567, "1234567"),
    ],
)
def test_equal_numbers_and_no_others_have_the_same_text(value: float, text: str) -> None:
    assert as_text(value) == text
    assert float(text) == value
