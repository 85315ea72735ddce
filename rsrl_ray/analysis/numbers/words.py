"""How numbers are written in tables and on the page; a value that is not known is `NOTHING`."""

import math

NOTHING = "–"  # noqa: RUF001


def number(value: float, digits: int = 3) -> str:
    """``1,234.500``, with a true minus sign."""
    return NOTHING if math.isnan(value) else f"{value:,.{digits}f}".replace("-", "−")  # noqa: RUF001


def signed(value: float) -> str:
    """``+0.200``; a value that rounds to zero has no sign."""
    text = number(value)
    return f"+{text}" if value > 0 and text != "0.000" else text.replace("−0.000", "0.000")  # noqa: RUF001


def spread(mean: float, sd: float, digits: int = 3) -> str:
    """``0.250 ± 0.071``; the mean alone if there is one fold."""
    text = number(mean, digits)
    return text if math.isnan(sd) else f"{text} ± {number(sd, digits)}"


def interval(low: float, high: float) -> str:
    """``−0.100 to +0.200``."""
    return NOTHING if math.isnan(low) else f"{signed(low)} to {signed(high)}"


def p_value(value: float) -> str:
    """``0.604``, or ``<0.001``."""
    return "<0.001" if value < 0.001 else number(value)
