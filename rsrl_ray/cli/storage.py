"""`rsrl prune`: what is in a storage, and who needs it."""

from rich.filesize import decimal

from rsrl_ray.cli.arguments import asked


def prune(words: list[str]) -> int:
    """List what is in a storage; with ``--yes`` delete what nobody needs."""
    from rsrl_ray.experiment_file import experiment_parser

    parser = experiment_parser(
        prog="rsrl prune",
        usage="%(prog)s EXPERIMENT.yaml [--yes] [--KNOB VALUE ...]",
        description="List what is in the file's storage, how large and old it is, and who needs it. With --yes, delete "
        "what no experiment file or registered model needs any more: decoded photos and features that only older "
        "sweeps of this file used, weights that only its older recipes, methods and models used, and what killed "
        "processes left. What other experiments use stays, and so does what is unknown.",
    )
    parser.add_argument("--yes", action="store_true", help="Delete what nobody needs.")
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
