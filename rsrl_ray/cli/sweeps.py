"""The commands that train: `rsrl demo | sweep`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rsrl_ray.cli.arguments import add_ray, choose_ray, experiment_file
from rsrl_ray.cli.ending import STOPPED

if TYPE_CHECKING:
    from rich.console import Console

    from rsrl_ray.analysis.report import Written
    from rsrl_ray.config import Experiment
    from rsrl_ray.sweep.driver.launch import Outcome


def demo(words: list[str]) -> int:
    """`rsrl demo`: a small data set, its sweep, a page of it, and what came of it."""
    parser = argparse.ArgumentParser("rsrl demo", description="Make a small data set, sweep it, show the results.")
    parser.add_argument("folder", nargs="?", default="rsrl-demo", type=Path, help="where (default: %(default)s)")
    add_ray(parser)
    asked = parser.parse_args(words)
    folder = asked.folder
    choose_ray(asked.ray)
    from rsrl_ray.sweep.driver.ahead import started_ahead
    from rsrl_ray.terminal import make_console, say

    console = make_console()
    say(
        console,
        f"2,500 small photos in {folder}, some with a wrong label on purpose: three methods train on them, for minutes",
    )
    with started_ahead(console):
        from rsrl_ray.demo import prepare, summary
        from rsrl_ray.experiment_file import read_experiment
        from rsrl_ray.sweep.driver.launch import run_sweep

        file = prepare(folder)
        experiment = read_experiment(file)
        outcome = run_sweep(experiment, console)
    if outcome.failed or outcome.stopped:
        return _ended(file, experiment, outcome, console)
    with console.status("making the page"):
        written = _write_page(experiment)
    console.print(summary(written.frames))
    status = _ended(file, experiment, outcome, console, written.page)
    say(console, "\nYour own photos, a table of image and score: rsrl init photos.csv")
    return status


def _write_page(experiment: "Experiment") -> "Written":
    """The page of a sweep, made without a word."""
    from rich.console import Console

    from rsrl_ray.analysis.numbers.comparisons import ROPE
    from rsrl_ray.analysis.report import analyze

    return analyze(experiment, None, "none", ROPE, Console(quiet=True))


def sweep(words: list[str]) -> int:
    """`rsrl sweep`: run an experiment file."""
    from rsrl_ray.experiment_file import as_experiment, experiment_parser, parse

    parser = experiment_parser(
        prog="rsrl sweep",
        usage="%(prog)s EXPERIMENT.yaml [--skip_bad] [--take_over] [--ray WHICH] [--KNOB VALUE ...]",
        description="Run a sweep; the same command again continues or extends it. Every knob below stands in the "
        "experiment file and can be given here over it.",
    )
    parser.add_argument("--skip_bad", action="store_true", help="Leave out photos that `rsrl check` finds bad.")
    parser.add_argument(
        "--take_over", action="store_true", help="Sweep though another process holds the experiment: it has crashed."
    )
    add_ray(parser)
    file = experiment_file(words, parser.print_help)
    if file is None:
        return 0
    knobs = parse(file, words[1:], parser)
    experiment = as_experiment(knobs, parser)
    choose_ray(knobs.ray)
    from rsrl_ray.sweep.driver.ahead import sound, started_ahead
    from rsrl_ray.terminal import make_console

    console = make_console()
    with started_ahead(console, wanted=sound(experiment)):
        from rsrl_ray.sweep.driver.launch import run_sweep

        outcome = run_sweep(experiment, console, knobs.skip_bad, knobs.take_over)
    return _ended(file, experiment, outcome, console)


def _ended(
    file: Path, experiment: "Experiment", outcome: "Outcome", console: "Console", page: Path | None = None
) -> int:
    """Say how a sweep ended, where its results are and how to look at them; the exit status.

    page : of the sweep, where it was made already.
    """
    from rsrl_ray.store.location import Location
    from rsrl_ray.terminal import pasted, say

    counts = {"finished": outcome.finished, "failed": outcome.failed, "stopped": outcome.stopped}
    say(console, f"trials: {', '.join(f'{len(trials)} {word}' for word, trials in counts.items() if trials)}")
    if outcome.stopped:
        say(console, f"the same command goes on where it stopped: rsrl sweep {pasted(file)}")
    say(console, f"results: {Location(experiment.storage)}")
    say(console, f"page:    {f'rsrl analyze {pasted(file)}' if page is None else page.absolute().as_uri()}")
    say(console, f"table:   rsrl show {pasted(file)}")
    say(console, f"MLflow:  rsrl ui {pasted(file)}")
    is_whole = not (outcome.failed or outcome.unlogged or outcome.unkept)
    return STOPPED if outcome.stopped else 0 if is_whole else 1
