"""`rsrl prune`: what is in a storage, who needs it, and an end to what nobody needs."""

from rich.filesize import decimal

from rsrl_ray.cli.arguments import asked


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
    from rsrl_ray.cli import tables
    from rsrl_ray.terminal import Terminal, pasted

    shown = Terminal()
    items = api.prune(given.experiment, free=given.knobs.yes)
    shown.show(tables.items(items))
    free = decimal(sum(item.size for item in items if item.is_free))
    if given.knobs.yes:
        shown.said(f"freed: {free}")
    elif any(item.is_free for item in items):
        shown.said(f"nobody needs {free}: rsrl prune {pasted(given.file)} --yes frees them")
    else:
        shown.said("all of it is needed, or it is not known who needs it")
    return 0
