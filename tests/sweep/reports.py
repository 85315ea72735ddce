"""Rounds as trials report them, made up."""

from typing import Any

from rsrl_ray.core.trial import Origin
from rsrl_ray.sweep.report import Report

ORIGIN = Origin("start", "cpu", ("2",))


def report(number: int, **told: Any) -> Report:
    """Round ``number``, and what is told of it otherwise than usual."""
    usual: dict[str, Any] = {
        "key": f"key{number}",
        "parent_key": "",
        "weights": "",
        "origin": ORIGIN,
        "created": 0.0,
        "made": True,
        "metrics": {"seconds": 1.0},
        "value": 0.5,
        "note": "",
        "last": False,
    }
    return Report(number, **usual | told)
