"""`rsrl prune`: what is in a storage, who needs it, and an end to what nobody needs."""

import time
from typing import TYPE_CHECKING

from rich.filesize import decimal

from rsrl_ray.cli.arguments import asked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from rsrl_ray.inventory import Item


def prune(words: list[str]) -> int:
    """List it; with ``--yes`` free what nobody needs."""
    from rsrl_ray.experiment_file import experiment_parser

    parser = experiment_parser(
        prog="rsrl prune",
        usage="%(prog)s EXPERIMENT.yaml [--yes] [--KNOB VALUE ...]",
        description="What is in the file's storage, how large and old it is, and who needs it. With --yes what no "
        "experiment file or registered model names any more is freed: decoded photos and features that only older "
        "sweeps of this file had, weights that only its older recipes, methods and models held, and what killed "
        "processes have left. What other experiments use stays, and so does what is not known.",
    )
    parser.add_argument("--yes", action="store_true", help="Free what nobody needs.")
    given = asked(words, parser)
    from rsrl_ray import api
    from rsrl_ray.terminal import Terminal, pasted

    shown = Terminal()
    items = api.prune(given.experiment, free=given.knobs.yes)
    shown.show(_table(items))
    free = decimal(sum(item.size for item in items if item.is_free))
    if given.knobs.yes:
        shown.said(f"freed: {free}")
    elif any(item.is_free for item in items):
        shown.said(f"nobody needs {free}: rsrl prune {pasted(given.file)} --yes frees them")
    else:
        shown.said("all of it is needed, or it is not known who needs it")
    return 0


def _table(items: "Sequence[Item]") -> "Table":
    from rich.table import Table

    from rsrl_ray.terminal import cell

    table, now = Table(box=None, pad_edge=False), time.time()
    for column in ("", "", "size", "age", "needed by"):
        table.add_column(column, justify="right" if column in ("size", "age") else "left", overflow="fold")
    for item in items:
        style = "yellow" if item.is_free else ""
        table.add_row(item.kind, cell(item.what), decimal(item.size), _age(now - item.time), cell(item.who, style))
    return table


def _age(seconds: float) -> str:
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            many = int(seconds // length)
            return f"{many:,} {unit}{'s' if many > 1 else ''}"
    return "now"
