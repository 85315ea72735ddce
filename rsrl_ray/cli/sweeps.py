"""The commands that train: `rsrl demo | sweep`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rsrl_ray.cli.arguments import add_ray, asked
from rsrl_ray.cli.ending import STOPPED

if TYPE_CHECKING:
    from rsrl_ray.analysis.report.results import Swept
    from rsrl_ray.terminal import Terminal


def demo(words: list[str]) -> int:
    """`rsrl demo`: a small data set, its sweep, and its results as a page and a table."""
    parser = argparse.ArgumentParser("rsrl demo", description="Make a small data set, sweep it, show the results.")
    parser.add_argument(
        "folder", nargs="?", default="rsrl-demo", type=Path, help="the folder of the demo (default: %(default)s)"
    )
    add_ray(parser)
    given = parser.parse_args(words)
    from rsrl_ray import api
    from rsrl_ray.terminal import Terminal

    shown = Terminal()
    shown.said(
        f"2,500 small photos in {given.folder}, some with a wrong label on purpose; three methods train on them, which "
        "takes minutes"
    )
    file = api.make_demo(given.folder)
    results = api.run_sweep(api.read(file), ray=given.ray, display=shown)
    if results.outcome.failed or results.outcome.stopped:
        return _ended(file, results, shown)
    from rsrl_ray.demo import summary

    written = results.write(display=shown)
    shown.show(summary(written.frames))
    status = _ended(file, results, shown, written.page)
    shown.said("\nYour own photos, a table of image and score: rsrl init photos.csv")
    return status


def sweep(words: list[str]) -> int:
    """`rsrl sweep`: run an experiment file."""
    from rsrl_ray.experiment_file import experiment_parser

    parser = experiment_parser(
        prog="rsrl sweep",
        usage="%(prog)s EXPERIMENT.yaml [--skip_bad] [--take_over] [--ray WHICH] [--KNOB VALUE ...]",
        description="Run a sweep; the same command again continues or extends it. Every knob below belongs in the "
        "experiment file; one that is given here replaces the file's.",
    )
    parser.add_argument("--skip_bad", action="store_true", help="Leave out photos that `rsrl check` finds bad.")
    parser.add_argument(
        "--take_over",
        action="store_true",
        help="Sweep although another process holds the experiment, because that process has crashed.",
    )
    add_ray(parser)
    given = asked(words, parser)
    from rsrl_ray import api
    from rsrl_ray.terminal import Terminal

    shown, knobs = Terminal(), given.knobs
    results = api.run_sweep(given.experiment, knobs.skip_bad, knobs.take_over, knobs.ray, shown)
    return _ended(given.file, results, shown)


def _ended(file: Path, results: "Swept", shown: "Terminal", page: Path | None = None) -> int:
    """Say how a sweep ended, where its results are and how to look at them; return the exit status.

    page : the sweep's page, if it was made already.
    """
    from rsrl_ray.store.location import Location
    from rsrl_ray.terminal import pasted

    outcome, experiment = results.outcome, results.experiment
    counts = {"finished": outcome.finished, "failed": outcome.failed, "stopped": outcome.stopped}
    shown.said(f"trials: {', '.join(f'{len(trials)} {word}' for word, trials in counts.items() if trials)}")
    if outcome.stopped:
        shown.said(f"the same command goes on where it stopped: rsrl sweep {pasted(file)}")
    shown.said(f"results: {Location(experiment.storage)}")
    shown.said(f"page:    {f'rsrl analyze {pasted(file)}' if page is None else page.absolute().as_uri()}")
    shown.said(f"table:   rsrl show {pasted(file)}")
    shown.said(f"MLflow:  rsrl ui {pasted(file)}")
    is_whole = not (outcome.failed or outcome.unlogged or outcome.unkept)
    return STOPPED if outcome.stopped else 0 if is_whole else 1
