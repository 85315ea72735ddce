"""The Python face of the package: each command of the terminal is one call here, and the commands make these calls.

Imports are late, so that each call loads only what it needs. Every call raises ValueError, in one message, for what a
user can mend. A display is told what a long call does; by default the terminal or the notebook shows it.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsrl_ray import config
from rsrl_ray.display import Display
from rsrl_ray.experiment_file import Experiment, given, names_photos, revision_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from rsrl_ray.analysis.report.results import Results, Swept
    from rsrl_ray.cluster.file import Mistake
    from rsrl_ray.core.rules.rule import Rule
    from rsrl_ray.inventory import Item
    from rsrl_ray.leaks import NearDuplicates
    from rsrl_ray.models.register import Registered
    from rsrl_ray.photos.photo_set import Examination
    from rsrl_ray.tracking.standing import Standing
    from rsrl_ray.tracking.ui import UI


def read(file: str | Path, **knobs: Any) -> Experiment:
    """Read an experiment file; knobs, such as ``rounds=10`` or ``training={"epochs": 3}``, go over those in it."""
    return Experiment.read(file, knobs)


def make_demo(folder: str | Path = "rsrl-demo") -> Path:
    """Make 2,500 small photos, some with a wrong label on purpose, and their experiment file, whose path this is."""
    from rsrl_ray.demo import prepare

    return prepare(Path(folder))


def init(photos: str | Path, file: str | Path | None = None, display: Display | None = None) -> Path:
    """Write a commented experiment file that fits photos and this machine; its path. Some batches are timed for it.

    photos : a table, AVA's list or a folder per score. file : by default in the working folder, named as the photos.
    """
    from rsrl_ray.first_file import write_first_file

    return write_first_file(Path(photos), None if file is None else Path(file), display or here())


def check(
    photos: str | Path | config.Experiment, memory: float = config.PHOTO_MEMORY, display: Display | None = None
) -> "Examination":
    """Read every photo of a table, a folder or an experiment: their scores, and ``problems``, all that is wrong.

    memory : GiB that decoding one photo may take; an experiment has its own.
    """
    from rsrl_ray.method import check_own
    from rsrl_ray.photos.photo_set import check_photos

    source, told = str(photos), display or here()
    if isinstance(photos, config.Experiment):
        check_own(photos)
        source, memory = photos.photos, photos.resources.photo_memory
    elif names_photos(Path(photos)):
        given(photos)
    with told.started("looking at the photos"):
        return check_photos(source, memory=memory, progress=told.progress)


def near_duplicates(
    experiment: config.Experiment, least: float = config.NEAR_DUPLICATE, display: Display | None = None
) -> "NearDuplicates":
    """Photos in different folds that are nearly the same, by features of the network before its last layer.

    The network has its starting weights, whatever ``training.trainable`` says. Photos of one group never count, because
    no fold divides them. ``pairs`` is a frame, ``share`` that of photos which a network is tested on that knows a
    near-duplicate, ``sheet()`` shows pairs side by side, ``grouped().write(FILE)`` makes them groups.

    least : the cosine from which on two photos are nearly the same, above 0, up to 1.
    """
    from rsrl_ray.leaks import find_near_duplicates

    return find_near_duplicates(given(experiment), least, display or here())


def check_cluster(file: str | Path) -> "list[Mistake]":
    """Find what is wrong with a cluster file and shows without asking the cloud, in the order of its lines."""
    from rsrl_ray.cluster.checks import cluster_mistakes
    from rsrl_ray.cluster.file import read_cluster_file

    return cluster_mistakes(read_cluster_file(Path(file)))


def run_sweep(
    experiment: config.Experiment,
    skip_bad: bool = False,
    take_over: bool = False,
    ray: str = "auto",
    display: Display | None = None,
) -> "Swept":
    """Run a sweep, or go on with it; its results, and in ``outcome`` how it ended.

    skip_bad : leave out photos that `check` finds bad. take_over : sweep although another process holds the
    experiment, because that one has crashed. ray : see `rsrl_ray.sweep.nodes.address.asked_for`.
    """
    told, experiment = display or here(), given(experiment)
    from rsrl_ray.sweep.driver.ahead import sound, started_ahead
    from rsrl_ray.sweep.nodes.address import asked_for

    with asked_for(ray), started_ahead(told, wanted=sound(experiment)):
        from rsrl_ray.sweep.driver import launch

        outcome = launch.run_sweep(experiment, told, skip_bad, take_over)
    from rsrl_ray.analysis.report.results import Swept  # and what draws figures, which a sweep does not wait for

    return Swept(experiment, outcome)


def results(experiment: config.Experiment, baseline: str = "none", rope: float = 0.01) -> "Results":
    """What is logged of an experiment's sweep so far, also while it runs.

    baseline : method that others are compared with. rope : a difference in macro F up to this is none;
    kappa and rho get twice this, MAE this times the mean step between neighbouring scores.
    """
    from rsrl_ray.analysis.report.results import Results

    return Results(experiment, baseline, rope)


def standing(experiment: config.Experiment, display: Display | None = None) -> "Standing":
    """How far each trial of an experiment's sweep is (``states``), and its chosen rounds; reads less than `results`.

    display : is told what is not as the experiment has it; by default a UserWarning says it, as `results` does.
    """
    from rsrl_ray.tracking.standing import Standing

    return Standing(experiment, display)


def ui(experiment: config.Experiment, display: Display | None = None) -> "UI":
    """Start MLflow's UI on an experiment's sweep; a notebook shows links to its ``pages``.

    It runs until ``stop()`` or the end of this process. If the experiment is tracked by a server, that one shows them.
    """
    from rsrl_ray.tracking.ui import UI

    return UI(given(experiment), display or here())


def highlight(
    experiment: config.Experiment,
    *photos: str,
    out: str | Path | None = None,
    display: Display | None = None,
    **question: Any,
) -> "pd.DataFrame":
    """Make highlight maps; a row for each photo. question : see `rsrl_ray.maps.subject.Question`."""
    from rsrl_ray.analysis.report.folder import default_folder
    from rsrl_ray.maps import highlights
    from rsrl_ray.maps.subject import Question

    told, experiment = display or here(), given(experiment)
    folder = default_folder(experiment) if out is None else Path(out)
    _ = standing(experiment, told).found  # says what is not as the experiment has it
    with told.started("making highlight maps"):
        return highlights.highlight(experiment, Question(photos=photos, **question), folder, told.progress)


def register(
    experiment: config.Experiment,
    method: str | None = None,
    fold: int | None = None,
    name: str | None = None,
    champion: bool = False,
) -> "Registered":
    """Register the chosen network of a method in MLflow's model registry, see `rsrl_ray.models.register.register`.

    champion : move the alias champion, which the first version gets, to this one.
    """
    from rsrl_ray.models import register as registry

    return registry.register(given(experiment), method, fold, name, champion)


def score(
    photos: Sequence[str | Path],
    model: str | None = None,
    experiment: config.Experiment | None = None,
    display: Display | None = None,
) -> "pd.DataFrame":
    """Score photos, or folders of them, by a registered network: score, error, probability and likelihood of each.

    model : NAME (its newest version), NAME/VERSION, NAME@ALIAS, a URI or a folder; by default the experiment's.
    experiment : that it was registered from; without one it is looked for in MLFLOW_TRACKING_URI. The frame's ``attrs``
    say which model and network it was, and how many files were no pictures.
    """
    from rsrl_ray.models import load
    from rsrl_ray.tracking.read import artifacts_root
    from rsrl_ray.tracking.stores import mlflow_uri

    store, root = os.environ.get("MLFLOW_TRACKING_URI") or None, None
    if experiment is not None:
        experiment = given(experiment)
        store, root, model = mlflow_uri(experiment), artifacts_root(experiment), model or experiment.name
    told, asked = display or here(), load.find_photos([str(place) for place in photos])
    loaded = load.load_model(model, store, root)
    with told.started("scoring"):
        table = load.score(loaded.model, asked, told.progress)
    table.attrs |= {"model": loaded.uri, "network": loaded.network, "ignored": asked.ignored}
    return table


def prune(experiment: config.Experiment, free: bool = False) -> "list[Item]":
    """List what the experiment's storage holds, by who needs it. free : delete what nobody needs."""
    from rsrl_ray.inventory import inventory, undisturbed

    with undisturbed(given(experiment)):
        items = inventory(experiment)
        for item in items:
            if free and item.release is not None:
                item.release()
    return items


def serve(storage: str, port: int = 5000) -> None:
    """Run MLflow's server on this machine's loopback, its database and artifacts in storage, until it is stopped."""
    from rsrl_ray.tracking.server import serve as run

    run(storage, port)


def revise(
    rule: "Rule | Mapping[str, Any]",
    logits: "ArrayLike",
    labels: "ArrayLike",
    seed: int = 0,
    features: "ArrayLike | None" = None,
    **settings: Any,
) -> "NDArray[np.bool_]":
    """Which photos a rule keeps for the next network: a mask [n]. For example ``revise({"quantile": 0.2}, z, y)``.

    rule : of `rsrl_ray.rules`, as in an experiment file, or one of your own by its import path. logits : of these
    photos, [n, C], or of the networks so far, [R, n, C]. labels : [n], 0 to C - 1. seed : of a rule that draws at
    random. features : [n, D], for a rule that looks at them. settings : ``majority_classes``, ``membership`` and
    ``min_kept``, see `rsrl_ray.config.Revision`.
    """
    from rsrl_ray.rounds.anyones import kept_by
    from rsrl_ray.rounds.loop import Plan

    return kept_by(rule, logits, labels, features, Plan(1, revision_of(settings), seed))


def compare(
    scores: "pd.DataFrame | Mapping[str, Sequence[float]]",
    baseline: str = "none",
    *,
    ratio: float,
    rope: float = 0.01,
    lower_is_better: bool = False,
) -> "pd.DataFrame":
    """Every method against the baseline, a row each: corrected t, p adjusted by Holm, ROPE, what could be shown.

    scores : a column a method, a row a fold, the same folds for all, two or more. ratio : photos tested over photos
    trained on in a fold, 1 / (k - 1) for k folds. rope : in units of the scores. lower_is_better : scores are errors,
    such as MAE: ``better`` is then the probability of a difference below -rope.
    The columns are those of ``comparisons.csv``, see `rsrl_ray.analysis.numbers.frames.Frames`.
    """
    from rsrl_ray.analysis.numbers.anyones import compared
    from rsrl_ray.analysis.numbers.comparisons import Region

    return compared(scores, baseline, ratio, Region(rope, lower_is_better))


def here() -> Display:
    """The notebook whose cell runs, or else the terminal."""
    from rsrl_ray.notebook import Notebook, in_notebook
    from rsrl_ray.terminal import Terminal

    return Notebook() if in_notebook() else Terminal()
