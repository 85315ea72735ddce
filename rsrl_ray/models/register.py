"""Puts the chosen network of a method into MLflow's model registry."""

import contextlib
import math
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from rsrl_ray import served
from rsrl_ray.config import Experiment
from rsrl_ray.core.decisions import Decision
from rsrl_ray.core.selection import TEST, VALIDATION
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.method import main_method, method_of
from rsrl_ray.models.contract import input_example, requirements, signature
from rsrl_ray.models.load import LOADER, MODEL_NAME, open_store
from rsrl_ray.rounds.table import decision_of
from rsrl_ray.store.archive import Archive, Damaged
from rsrl_ray.store.holders import model_holder
from rsrl_ray.tracking.find import Found, find_results
from rsrl_ray.tracking.names import KEY, key_tag, predictions_path
from rsrl_ray.tracking.places import mend
from rsrl_ray.tracking.read import TrackedRun, artifacts_root
from rsrl_ray.tracking.stores import mlflow_uri
from rsrl_ray.vision.encoders import preprocessing_of
from rsrl_ray.vision.network import Weights
from rsrl_ray.vision.scorer import Settings

CHAMPION = "champion"  # the usual alias in MLflow for the version that is in use


@dataclass(frozen=True)
class ChosenRound:
    """The round that is chosen from a method's trials.

    validation, test : its macro F on these photos; validation is nan if there are no validation photos.
    """

    run: TrackedRun
    number: int
    validation: float
    test: float

    def __str__(self) -> str:
        place = f"method {self.run.method}, fold {self.run.fold}, round {self.number}"
        if math.isnan(self.validation):
            return f"{place}: macro F {self.test:.3f} on test photos, on which it was chosen"
        return f"{place}: macro F {self.validation:.3f} on validation photos, {self.test:.3f} on test photos"

    def tags(self) -> dict[str, str]:
        """The tags of its model version."""
        by = {} if math.isnan(self.validation) else {"validation_macro_f1": str(self.validation)}
        place = {"method": self.run.method, "fold": str(self.run.fold), "round": str(self.number)}
        return {**place, **by, "test_macro_f1": str(self.test)}


@dataclass(frozen=True)
class _Served:
    """What is served: the networks whose logits are averaged, their settings, and what the prediction has learnt."""

    weights: list[Weights]
    settings: Settings
    decision: Decision | None


@dataclass(frozen=True)
class Registered:
    """A version of a registered model.

    new : False if the same network was registered before. champion : the version with the alias `CHAMPION`; None if
    somebody has removed the alias.
    """

    name: str
    version: int
    choice: ChosenRound
    new: bool
    champion: int | None


def register(
    experiment: Experiment, method: str | None, fold: int | None, name: str | None, champion: bool = False
) -> Registered:
    """Register the chosen network of a method.

    method : None for the first that drops photos. fold : None for the fold whose chosen round is the best on its
    validation photos (on its test photos if there are none). name : None for the experiment's. The same network is
    registered only once under one name. champion : make this version the champion, as the first version always is.

    Raises
    ------
    ValueError
        If there is no such network, its weights are gone, or the registry refuses it.
    """
    name = experiment.name if name is None else name
    if not MODEL_NAME.fullmatch(name):
        raise ValueError(f"name {name!r}: give letters, digits, '.', '_' and '-', and begin with a letter or digit")
    found = find_results(experiment)
    choice = choose(found, experiment, main_method(experiment) if method is None else method, fold)
    prediction = method_of(experiment, choice.run.method).prediction
    keys = {number: choice.run.tags.get(key_tag(number)) for number in prediction.rounds(choice.number)}
    key = keys[choice.number]
    weights = [_weights(experiment, choice, number, held) for number, held in keys.items()]
    tables = [choice.run.artifacts.read(predictions_path(number), pd.read_parquet) for number in keys]
    decision = None if prediction.plain else decision_of(tables, prediction)
    network = _Served(weights, _settings(experiment, np.unique(tables[-1]["score"]).tolist()), decision)
    tags = {"experiment": experiment.name, KEY: str(key), **choice.tags()}
    uri = mlflow_uri(experiment)
    mend(uri, found.results.experiment_id, artifacts_root(experiment), print)
    holder = model_holder(experiment.name, name)  # keeps the weights in the archive, whatever sweeps do
    for held in keys.values():
        Archive(experiment.storage).hold(str(held), holder.id, holder.words)
    with open_store(uri) as client:
        versions = client.search_model_versions(f"name = '{name}'")
        same = [found for found in versions if found.tags.get(KEY) == key and found.run_id == choice.run.id]
        version = int(same[0].version) if same else _log(client, name, choice, tags, network)
        if champion or (version == 1 and not same):
            client.set_registered_model_alias(name, CHAMPION, str(version))
        alias = client.get_registered_model(name).aliases.get(CHAMPION)
        return Registered(name, version, choice, not same, None if alias is None else int(alias))


def choose(found: Found, experiment: Experiment, method: str, fold: int | None) -> ChosenRound:
    """The chosen round of ``fold``, or if that is None the best of the chosen rounds of all folds.

    Each round is chosen as in the analysis. The best has the highest macro F on validation photos, or on test photos
    if there are no validation photos.

    Raises
    ------
    ValueError
        If the experiment file does not name the method, its recipe is not that of its sweep, or no round is logged.
    """
    if method not in experiment.method_names():
        raise ValueError(f"there is no method {method!r}; there are {', '.join(experiment.method_names())}")
    if not found.is_own:
        raise ValueError(f"{found.differs[0]} Run `rsrl sweep` on the file first.")
    states, chosen = found.states, found.chosen()
    numbers = {
        key: number for key, number in chosen.rounds.items() if key.method == method and fold in (None, key.fold)
    }
    if not numbers:
        where = "" if fold is None else f" in fold {fold}"
        raise ValueError(f"no round of method {method!r}{where} is logged yet; `rsrl show` shows how far the sweep is")
    by = VALIDATION if chosen.split == "validation" else TEST  # folds are compared by the value that chose their rounds

    def value(trial: TrialKey, metric: str) -> float:
        return float(states[trial].curves[metric][numbers[trial] - 1])

    best = max(numbers, key=lambda trial: (value(trial, by), -trial.fold))
    validation = value(best, VALIDATION) if chosen.split == "validation" else math.nan
    return ChosenRound(found.trials[best], numbers[best], validation, value(best, TEST))


def _weights(experiment: Experiment, choice: ChosenRound, number: int, key: str | None) -> Weights:
    archive, what = Archive(experiment.storage), f"the weights of {choice}"
    if number != choice.number:
        what = f"the weights of round {number}, which the method averages with those of {choice},"
    if key is None:
        raise ValueError(f"{what}: its run does not say where they are; run `rsrl sweep` under another name to log it")
    again = f"delete {archive.where(key)} and run `rsrl sweep` on the file again, which makes this round again"
    try:
        weights = archive.read_network(key)
    except Damaged as damage:
        raise ValueError(f"{what} are damaged ({damage}); {again}") from damage
    if weights is None:
        raise ValueError(f"{what} are no longer in storage; {again}")
    return weights


def _settings(experiment: Experiment, scores: Iterable[int]) -> Settings:
    network = experiment.network
    colours = preprocessing_of(network)
    return Settings(
        backbone=network.backbone,
        image_size=network.image_size,
        scores=tuple(scores),
        membership=experiment.revision.membership,
        precision=experiment.training.precision,
        threads=experiment.training.threads,
        device="cuda" if experiment.resources.gpus else "cpu",
        photo_memory=experiment.resources.photo_memory,
        head=network.head,
        standardise=network.standardise,
        mean=colours.mean,
        std=colours.std,
        interpolation=colours.interpolation,
    )


def _log(client: MlflowClient, name: str, choice: ChosenRound, tags: dict[str, str], network: _Served) -> int:
    """Log the model to the trial's run, and make it a version of the model ``name``. Returns its number."""
    run, description = choice.run, str(choice)
    experiment = client.get_run(run.id).info.experiment_id
    model = client.create_logged_model(experiment, name.replace(".", "_"), run.id, tags)  # its name may have no dots
    with tempfile.TemporaryDirectory(prefix="rsrl-") as folder:
        served.save(Path(folder, "network"), network.weights, network.settings, network.decision)
        Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            model_id=model.model_id,
            run_id=run.id,  # this keeps the run's state, as the trial may be running; an active run would change it
            step=choice.number,
            metadata={"network": description},
            loader_module=LOADER,
            data_path=str(Path(folder, "network")),
            code_paths=[str(Path(served.__file__).parent)],
            signature=signature(network.settings.scores),
            input_example=input_example(),
            pip_requirements=requirements(network.settings.backbone),
        )
    with contextlib.suppress(MlflowException):  # the model may be there; if it is not, the next call says what is wrong
        client.create_registered_model(name, description="Photos to scores, by `rsrl register`.")
    made = client.create_model_version(
        name, f"models:/{model.model_id}", run.id, tags, description=description, model_id=model.model_id
    )
    return int(made.version)
