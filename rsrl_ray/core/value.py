"""Values that an experiment file writes as a word and its knobs, such as ``{quantile: 0.2, likelihood: mean}``."""

import dataclasses
import difflib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def make(knobs: Mapping[str, Any], table: Mapping[str, Callable[..., T]], what: str) -> T:
    """The value of these knobs: an object of a dataclass of the ``table``. Its first field is the word that names it.

    what : ``rule`` or ``loss``, for messages.

    Raises
    ------
    ValueError
        In one line, if none or several are named, if a knob is unknown, or if a value is wrong.
    """
    _check_knobs(knobs, what)
    named = [name for name in knobs if name in table]
    if len(named) != 1:
        given = ", ".join(map(str, knobs)) or "{}"
        wrong = f"{' and '.join(named)}: give one {what} only" if named else f"no {what} in {given}"
        raise ValueError(f"{wrong}; there are {', '.join(table)}")
    return build(table[named[0]], knobs, named[0])


def build(made: Callable[..., T], knobs: Mapping[str, Any], what: str) -> T:
    """An object of the dataclass ``made``. Raises ValueError in one line if ``what`` has no such knob."""
    _check_knobs(knobs, what)
    known = [field.name for field in dataclasses.fields(made)]  # type: ignore[arg-type]
    for name in knobs:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"do you mean {near[0]}?" if near else f"it has {', '.join(known)}"
            raise ValueError(f"{name}: no knob of {what}; {hint}")
    return made(**knobs)


def _check_knobs(knobs: object, what: str) -> None:
    if not isinstance(knobs, Mapping):
        raise ValueError(f"{what}: {knobs!r}; give knobs, such as {{name: value}}")


def as_text(value: float) -> str:
    """A number as people write it: 3, 0.2, 0.99999999. Different numbers have different texts."""
    value = float(value) + 0.0  # -0.0 is 0
    return f"{value:g}" if float(f"{value:g}") == value else repr(value).removesuffix(".0")


def check_number(
    name: str, value: object, low: float = -math.inf, high: float = math.inf, what: str = "a number"
) -> None:
    """Raise ValueError if ``value`` is not a finite number of ``low`` to ``high``."""
    low, high = max(low, -sys.float_info.max), min(high, sys.float_info.max)  # a whole number may be even larger
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name}: {value!r}; give {what}{_range(low, high)}")


def _range(low: float, high: float) -> str:
    if high == sys.float_info.max:
        return "" if low == -high else f", {low:g} or more"
    return f", {low:g} to {high:g}"


def check_share(name: str, value: object) -> None:
    """Raise ValueError if ``value`` is not a number of 0 to 1."""
    check_number(name, value, 0, 1, "a share")


def check_count(name: str, value: object, what: str = "a whole number") -> None:
    """Raise ValueError if ``value`` is not a whole number of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: {value!r}; give {what}, 1 or more")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise ValueError if ``value`` is not one of the choices."""
    if value not in choices:
        raise ValueError(f"{name}: {value!r}; give one of {', '.join(choices)}")
