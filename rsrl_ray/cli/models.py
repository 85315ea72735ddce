"""The commands that use the networks of a sweep: `rsrl highlight | register | score`."""

import argparse
from pathlib import Path

QUESTION = ("top", "score", "fold", "method", "against", "after_relu", "absolute", "shared_map")  # of highlight maps


def highlight(words: list[str]) -> int:
    """`rsrl highlight`: highlight maps of photos."""
    parser = argparse.ArgumentParser(
        "rsrl highlight",
        description="Make highlight maps: how the least correlated map of the first convolution changed between two "
        "rounds. Beside each map are its null control, which is the same of a method that drops nothing, and the "
        "photo's edges. The end says how many maps differ from both.",
    )
    parser.add_argument("experiment", type=Path, help="the experiment file")
    parser.add_argument("photos", nargs="*", help="names in the table, paths or URIs (default: the fold's test photos)")
    parser.add_argument("--fold", type=int, help="fold of the networks (default: the first)")
    parser.add_argument("--method", "--schedule", help="method of the networks (default: the first that drops photos)")
    parser.add_argument("--round", type=int, help="round I (default: the best on validation photos, from 2 on)")
    parser.add_argument("--against", type=int, help="the earlier round I - k (default: the one before)")
    parser.add_argument("--top", type=int, help="only this many photos, those with the highest self-confidence")
    parser.add_argument("--score", type=int, help="only photos of this score")
    parser.add_argument("--out", type=Path, help="the folder to write into (default: analysis/NAME in storage)")
    parser.add_argument("--after_relu", action="store_true", help="compare the maps after their ReLU")
    parser.add_argument("--absolute", action="store_true", help="take the size of the difference, without its sign")
    parser.add_argument("--shared_map", action="store_true", help="one map number J for all photos")
    asked = parser.parse_args(words)
    from rsrl_ray import api
    from rsrl_ray.analysis.report.folder import default_folder
    from rsrl_ray.cli import tables
    from rsrl_ray.experiment_file import read_experiment
    from rsrl_ray.maps.sanity import random_words, verdict
    from rsrl_ray.terminal import Terminal

    experiment, shown = read_experiment(asked.experiment), Terminal()
    out = asked.out or default_folder(experiment)
    question = {name: getattr(asked, name) for name in QUESTION}
    rows = api.highlight(experiment, *asked.photos, out=out, display=shown, number=asked.round, **question)
    shown.show(tables.highlights(rows))
    for sentence in filter(None, (verdict(rows), random_words(rows))):
        shown.said(sentence)
    shown.said(f"written to {out}")
    return 0


def register(words: list[str]) -> int:
    """`rsrl register`: the chosen network of a method into MLflow's model registry."""
    parser = argparse.ArgumentParser(
        "rsrl register",
        description="Register the chosen network of a method in MLflow's model registry, for `rsrl score` and "
        "`mlflow models serve`. The round is chosen as in `rsrl analyze`, on validation photos.",
    )
    parser.add_argument("experiment", type=Path, help="the experiment file")
    parser.add_argument("--method", "--schedule", help="method of the network (default: the first that drops photos)")
    parser.add_argument("--fold", type=int, help="fold of the network (default: the best on its validation photos)")
    parser.add_argument("--name", help="name of the registered model (default: the experiment's)")
    parser.add_argument(
        "--champion", action="store_true", help="move the alias champion, which the first version gets, to this one"
    )
    asked = parser.parse_args(words)
    from rsrl_ray import api
    from rsrl_ray.experiment_file import read_experiment
    from rsrl_ray.models.register import CHAMPION
    from rsrl_ray.store.location import Location
    from rsrl_ray.terminal import Terminal, pasted
    from rsrl_ray.tracking.stores import mlflow_uri

    experiment, shown = read_experiment(asked.experiment), Terminal()
    with shown.started("registering the network"):
        made = api.register(experiment, asked.method, asked.fold, asked.name, asked.champion)
    before = "" if made.new else ", registered before"
    place = f"--experiment {pasted(asked.experiment)}" + ("" if asked.name is None else f" --model {pasted(made.name)}")
    store = f"MLFLOW_TRACKING_URI={pasted(Location(mlflow_uri(experiment)))}"
    model = pasted(f"models:/{made.name}/{made.version}")
    champion = f"{made.name}@{CHAMPION} is version {made.champion}"
    if made.champion is None:
        champion = f"no version is {made.name}@{CHAMPION}"
    if made.champion != made.version:
        champion += "; --champion makes it this one"
    for line in (
        f"{made.name}, version {made.version}{before}: {made.choice}",
        champion,
        f"score: rsrl score PHOTO... {place}",
        f"serve: {store} mlflow models serve -m {model} --env-manager local -p 5001",
    ):
        shown.said(line)
    return 0


def score(words: list[str]) -> int:
    """`rsrl score`: the scores of photos by a registered network."""
    parser = argparse.ArgumentParser(
        "rsrl score",
        description="Score photos by a registered network: a table at the terminal and, with the probability and "
        "likelihood of every score, as CSV. The exit status is 1 if a photo could not be read; the table says "
        "why. A folder's photos are the files below it whose names end like a picture's.",
    )
    parser.add_argument("photos", nargs="+", metavar="PHOTO|FOLDER", help="paths, or URIs of single photos")
    parser.add_argument(
        "--model", help="NAME (its newest version), NAME/VERSION, NAME@ALIAS, a URI such as models:/... or a folder"
    )
    parser.add_argument(
        "--experiment",
        type=Path,
        help="the experiment file that the network was registered from (default: MLFLOW_TRACKING_URI)",
    )
    parser.add_argument("--out", type=Path, default=Path("scores.csv"), help="the CSV file (default: %(default)s)")
    asked = parser.parse_args(words)
    from rsrl_ray import api
    from rsrl_ray.cli import tables
    from rsrl_ray.experiment_file import read_experiment
    from rsrl_ray.models.load import check_writable
    from rsrl_ray.photos.formats import heic_hint
    from rsrl_ray.terminal import Terminal

    check_writable(asked.out)
    experiment = None if asked.experiment is None else read_experiment(asked.experiment)
    shown = Terminal()
    table = api.score(asked.photos, asked.model, experiment, shown)
    table.to_csv(asked.out, index=False)
    bad = int(table["error"].notna().sum())
    shown.show(tables.scores(table))
    hint = heic_hint(dict(zip(table["photo"], table["error"].fillna(""), strict=True)))
    ignored = table.attrs["ignored"]
    left_out = f"; files that are no pictures, left out: {ignored:,}" if ignored else ""
    for line in (
        f"model: {table.attrs['model']} ({table.attrs['network']})",
        f"photos: {len(table) - bad:,} scored, {bad:,} with an error{left_out}",
        f"written to {asked.out}, with the probability and likelihood of every score",
        *([hint] if hint else []),
    ):
        shown.said(line)
    return 1 if bad else 0
