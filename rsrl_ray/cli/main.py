"""The command line: `rsrl COMMAND`. Imports are late, so that help answers at once."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from rsrl_ray.cli.arguments import experiment_of
from rsrl_ray.cli.check import check
from rsrl_ray.cli.ending import STOPPED, lasting_output, stoppable
from rsrl_ray.cli.init import init
from rsrl_ray.cli.models import highlight, register, score
from rsrl_ray.cli.servers import server, ui
from rsrl_ray.cli.storage import prune
from rsrl_ray.cli.sweeps import demo, sweep
from rsrl_ray.store.location import redacted

USAGE = """\
rsrl COMMAND [...]

Repetitive self-revised learning (RSRL) trains an image classifier on badly imbalanced photos, again and again, each
time without the photos of the largest classes that look unlike their label. A sweep tries folds and methods on Ray.

commands:
  demo [FOLDER]                        make a small data set, sweep it, show the results: start here
  init PHOTOS [EXPERIMENT.yaml]        write an experiment file for photos.csv (or .parquet, AVA.txt, a folder)
  check PHOTOS                         everything that is wrong with these photos
  check EXPERIMENT.yaml                the same, its folds, and near-duplicates that the folds divide
  check CLUSTER.yaml                   everything that is wrong with a cluster file, before `ray up`
  sweep EXPERIMENT.yaml [--KNOB VALUE] run the sweep; the same command again continues or extends it
  show EXPERIMENT.yaml [--KNOB VALUE]  a table of its trials
  ui EXPERIMENT.yaml [--KNOB VALUE]    start MLflow's UI on its results
  server STORAGE [--port 5000]         MLflow's server as a service, its database in storage: for a cluster's head
  analyze EXPERIMENT.yaml [--out DIR]  tables and figures of a sweep, also of one that still runs
  highlight EXPERIMENT.yaml [PHOTO...] where the first convolution changed between two rounds, on photos
  register EXPERIMENT.yaml             put the chosen network of a method into MLflow's model registry
  score PHOTO|FOLDER... [--model NAME] score photos by a registered network
  prune EXPERIMENT.yaml [--yes]        what its storage holds and who needs it; deletes what nobody needs

`rsrl COMMAND --help` says more; `rsrl sweep --help` lists every knob of an experiment file; `rsrl --version` says which
version this is. From Python: import rsrl_ray.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status.

    0 if all is done; 1 if trials failed, something was not logged or kept, photos are bad or Ray was lost; 2 if
    something was asked for wrongly or no node is left for trials; 130 if Ctrl-C stopped it, 143 SIGTERM, 129 SIGHUP.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    commands: dict[str, Callable[[list[str]], int]] = {
        "demo": demo,
        "init": init,
        "check": check,
        "sweep": sweep,
        "show": _show,
        "ui": ui,
        "server": server,
        "analyze": _analyze,
        "highlight": highlight,
        "register": register,
        "score": score,
        "prune": prune,
    }
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if words[0] == "--version":
        print(f"rsrl {version('rsrl_ray')}")
        return 0
    if words[0] not in commands:
        print(f"rsrl: no command {words[0]!r}; there are {', '.join(commands)}", file=sys.stderr)
        return 2
    with lasting_output(), stoppable() as stop:
        try:
            status = commands[words[0]](words[1:])
            sys.stdout.flush()
            return stop.status if status == STOPPED else status
        except ValueError as error:
            print(f"rsrl {words[0]}: {redacted(str(error))}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("stopped; what is done is kept, the same command goes on", file=sys.stderr)
            return stop.status


def _show(words: list[str]) -> int:
    from rsrl_ray import api
    from rsrl_ray.cli import tables
    from rsrl_ray.core.trial import is_complete
    from rsrl_ray.terminal import Terminal
    from rsrl_ray.tracking.stores import mlflow_uri

    experiment = experiment_of(words, "rsrl show", "Print a table of the trials: how far each is, and its macro F.")
    shown = Terminal()
    standing = api.standing(experiment, shown)
    states, chosen = standing.states, standing.chosen
    shown.show(tables.trials(experiment, states, chosen))
    if len(experiment.fold_numbers()) > 1:
        shown.show(tables.methods(experiment, states, chosen))
    notes = []
    rounds = {key: state.run.rounds for key, state in states.items()}
    if chosen.split == "validation":
        notes.append("macro F on validation photos, on test photos in brackets; best: by validation photos")
    else:
        notes.append(
            "rounds are chosen on the test photos themselves, which is optimistic: no other photos are held out for it"
        )
    folds = experiment.fold_numbers()
    if not all(is_complete(name, folds, rounds, experiment.rounds) for name in experiment.method_names()):
        notes.append("so far: rounds or folds are missing, so this mean cannot be compared with others")
    notes += [f"{key} failed: {state.run.reason}" for key, state in states.items() if state.run.reason]
    for line in (*notes, f"MLflow: {mlflow_uri(experiment)}"):
        shown.said(line)
    return 0


def _analyze(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "rsrl analyze", description="Write tables and figures of a sweep; nothing is trained."
    )
    parser.add_argument("experiment", type=Path, help="the experiment file")
    parser.add_argument("--out", type=Path, help="the folder to write into (default: analysis/NAME in storage)")
    parser.add_argument("--baseline", default="none", help="method that others are compared with (default: none)")
    parser.add_argument(
        "--rope",
        type=float,
        default=0.01,
        help="a difference in macro F up to this counts as none; kappa, rho: twice this; MAE: this part of a "
        "step between scores (default: %(default)s)",
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="also draw the confusion matrix of every round, a file each (some 8 KB and 10 ms), into confusion/",
    )
    parser.add_argument("--measure", help="what methods are compared by first (default: the knob measure of the file)")
    arguments = parser.parse_args(words)
    from rsrl_ray import api
    from rsrl_ray.analysis.tables.closing import closing
    from rsrl_ray.experiment_file import read_experiment
    from rsrl_ray.terminal import Terminal

    shown = Terminal()
    overrides = [] if arguments.measure is None else ["--measure", arguments.measure]
    results = api.results(read_experiment(arguments.experiment, overrides), arguments.baseline, arguments.rope)
    written = results.write(arguments.out, shown, arguments.pictures)
    shown.show(closing(written.frames))
    for sentence in written.notes:
        shown.said(f"note: {sentence}")
    shown.said(f"page: {written.page}")
    shown.said("written there, and to the sweep's run in MLflow")
    return 0
