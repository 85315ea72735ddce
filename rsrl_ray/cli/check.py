"""`rsrl check`: what is wrong with photos, with the folds of an experiment, or with a cluster file."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rsrl_ray.config import NEAR_DUPLICATE, PHOTO_MEMORY, Experiment

if TYPE_CHECKING:
    from rsrl_ray.core.folds import Fold
    from rsrl_ray.leaks import NearDuplicates
    from rsrl_ray.terminal import Terminal


def check(words: list[str]) -> int:
    """`rsrl check PHOTOS | EXPERIMENT.yaml | CLUSTER.yaml`."""
    parser = _parser()
    given = parser.parse_args(words)
    is_yaml = given.photos.endswith((".yaml", ".yml"))
    from rsrl_ray.experiment_file import names_photos, read_experiment

    if is_yaml and names_photos(Path(given.photos)):
        return _check_experiment(read_experiment(given.photos), given)
    if given.group_similar is not None or given.out is not None:
        raise ValueError(
            f"{given.photos}: --group-similar and --out need an experiment file, whose network compares photos"
        )
    return _check_cluster(given.photos) if is_yaml else _check_photos(given.photos, given.photo_memory)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("rsrl check", description="Read every photo and say all that is wrong.")
    parser.add_argument(
        "photos",
        help=".csv or .parquet (image, score), AVA.txt, or a folder per score; an experiment file, whose folds are "
        "then dealt, and near-duplicates in different folds are named; or cluster.yaml, before `ray up`",
    )
    parser.add_argument(
        "--photo_memory",
        type=float,
        default=PHOTO_MEMORY,
        metavar="GIB",
        help="how much memory decoding one photo may take; an experiment file says so itself, in "
        "resources.photo_memory (default: %(default)s)",
    )
    parser.add_argument(
        "--group-similar",
        type=float,
        metavar="COSINE",
        help="write a table of the photos in which photos with this cosine or more, such as 0.85, are in one group, "
        "which no fold divides",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="that table's file (default: NAME-groups.csv beside the photos)"
    )
    return parser


def _check_cluster(file: str) -> int:
    from rsrl_ray import api
    from rsrl_ray.terminal import Terminal, cell

    mistakes, shown = api.check_cluster(file), Terminal()
    shown.show(cell(file, "bold"))
    for mistake in mistakes:
        shown.show(cell(mistake, "red"))
    if mistakes:
        shown.said(f"{len(mistakes)} to mend before `ray up`")
        return 1
    shown.said("nothing wrong that can be seen from here; only `ray up` sees what is in the account")
    return 0


def _check_photos(source: str, memory: float) -> int:
    """Say what is wrong with photos."""
    from rsrl_ray import api
    from rsrl_ray.cli import tables
    from rsrl_ray.terminal import Terminal

    shown = Terminal()
    found = api.check(source, memory, shown)
    shown.show(tables.examination(found, source))
    return 1 if found.problems else 0


def _check_experiment(experiment: Experiment, given: argparse.Namespace) -> int:
    """Say what is wrong with the photos, then how the folds are, then which photos are nearly the same."""
    from rsrl_ray import api
    from rsrl_ray.cli import tables
    from rsrl_ray.photos.folds import describe_folds, folds_of
    from rsrl_ray.terminal import Terminal

    shown, out = Terminal(), _out(given, experiment.photos)
    found = api.check(experiment, display=shown)
    shown.show(tables.examination(found, experiment.photos))
    if found.problems:
        return 1
    folds = folds_of(experiment, found)
    for line in describe_folds(found, experiment.draw(), folds):
        shown.said(line, "note")
    shown.said(_sizes(folds))
    try:
        near = api.near_duplicates(experiment, given.group_similar or NEAR_DUPLICATE, shown)
    except ValueError as error:
        if out is not None:
            raise
        shown.said(f"near-duplicates were not looked for: {error}", "note")
        return 0
    _say_near(near, given, shown)
    if out is not None:
        _write_groups(near, given, out, shown)
    return 0


def _sizes(folds: "list[Fold]") -> str:
    parts = {name: [len(getattr(fold, name)) for fold in folds] for name in ("train", "validation", "test")}
    sizes = (f"{name} {min(counts):,} to {max(counts):,}" for name, counts in parts.items())
    return f"{len(folds)} folds, photos in each: {', '.join(sizes)}."


def _out(given: argparse.Namespace, photos: str) -> Path | None:
    """The file for a table with groups, None if none is asked for; ValueError, before minutes pass, if it cannot be.

    It is usually in the folder that names in the table of photos are relative to.
    """
    if given.group_similar is None:
        if given.out is not None:
            raise ValueError("--out is for --group-similar COSINE; give both")
        return None
    if not 0 < given.group_similar <= 1:
        raise ValueError(f"--group-similar {given.group_similar:g}: give a number above 0, up to 1")
    source = Path(photos)
    file: Path = given.out or (source if source.is_dir() else source.parent) / f"{source.stem}-groups.csv"
    if file.suffix.lower() != ".csv":
        raise ValueError(f"--out {file}: the table is a .csv file; give such a name")
    if file.exists():
        raise ValueError(f"{file} is there already; move it away, or name another with --out")
    if not os.access(file.absolute().parent, os.W_OK):
        raise ValueError(f"{file.absolute().parent} cannot be written to; name another file with --out")
    return file


def _say_near(near: "NearDuplicates", given: argparse.Namespace, shown: "Terminal") -> None:
    """Say how many pairs there are and where they are shown; the first ones by name."""
    from rsrl_ray.analysis.report.folder import default_folder
    from rsrl_ray.cli import tables
    from rsrl_ray.terminal import pasted

    if near.random_layers:
        layers = ", ".join(near.random_layers)
        shown.said(f"{layers} start random, so photos are compared by features that are partly random", "note")
    picture = near.write(default_folder(near.experiment))
    alike = f"a cosine of {near.least:g} or more"
    if not len(near.pairs):
        shown.said(f"no near-duplicates: no two photos of different folds have {alike}.")
        return
    other = int((near.pairs["score"] != near.pairs["other_score"]).sum())
    shown.show(tables.near_duplicates(near.pairs))
    shown.said(
        f"{len(near.pairs):,} pairs of photos in different folds are near-duplicates ({alike}), {other:,} of them with "
        f"different scores: {near.share:.1%} of the photos are tested by a network that knows a near-duplicate.",
        "warning",
    )
    shown.said(f"sheet: {picture}")
    shown.said(f"pairs: {picture.with_suffix('.csv')}")
    if given.group_similar is None:
        shown.said(f"look at the sheet; groups: rsrl check {pasted(given.photos)} --group-similar {near.least:g}")


def _write_groups(near: "NearDuplicates", given: argparse.Namespace, out: Path, shown: "Terminal") -> None:
    """Write the table with groups, and say what changes in the experiment file."""
    from rsrl_ray.terminal import pasted

    if not len(near.similar):
        shown.said("there is nothing to group, so no table is written")
        return
    grouped = near.grouped()
    for line in grouped.notes:
        shown.said(line, "note")
    shown.said(f"with these groups: {_sizes(grouped.folds)} The largest group has {grouped.sizes[0]:,} photos.")
    grouped.write(out)
    shown.said(f"written: {out}")
    place = os.path.relpath(out, Path(given.photos).absolute().parent)
    shown.said(f"in {pasted(given.photos)} write: photos: {place}")
    shown.said("its folds are dealt anew, so its sweep is another one")
