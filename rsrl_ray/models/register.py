"""The chosen network of a method into MLflow's model registry."""

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from rsrl_ray import served
from rsrl_ray.config import Experiment
from rsrl_ray.core.prediction import Decision
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
from rsrl_ray.vision.network import Weights
from rsrl_ray.vision.scorer import Settings

CHAMPION = "champion"  # MLflow's usual alias of the version that is in use


@dataclass(frozen=True)
class ChosenRound:
    """The round that was chosen of a method's trials.

    validation, test : its macro F on them; validation is nan if no photos are held out to choose on.
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
        """As tags of a model version."""
        by = {} if math.isnan(self.validation) else {"validation_macro_f1": str(self.validation)}
        place = {"method": self.run.method, "fold": str(self.run.fold), "round": str(self.number)}
        return {**place, **by, "test_macro_f1": str(self.test)}


@dataclass(frozen=True)
class _Served:
    """What is served: the networks whose logits are averaged, how they are asked, and what a prediction has learnt."""

    weights: list[Weights]
    settings: Settings
    decision: Decision | None


@dataclass(frozen=True)
class Registered:
    """A version of a registered model; ``new`` is False where the same network had been registered before.

    champion : the version that `CHAMPION` names; None if people have taken the alias away.
    """

    name: str
    version: int
    choice: ChosenRound
    new: bool
    champion: int | None


def register(
    experiment: Experiment, method: str | None, fold: int | None, name: str | None, say: Callable[[str], None] = print
) -> Registered:
    """Register the chosen network of a method; what is None is filled in. The first version becomes the champion.

    The first method that drops photos; the fold whose chosen round is the best on its validation photos (on
    its test photos if there are none); the experiment's name. The same network under one name is registered once.

    Raises
    ------
    ValueError
        If the network, or its weights, are not available, or the registry does not take it.
    """
    name = experiment.name if name is None else name
    if not MODEL_NAME.fullmatch(name):
        raise ValueError(f"name {name!r}: give letters, digits, '.', '_' and '-'")
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
    mend(uri, found.results.experiment_id, artifacts_root(experiment), say)
    holder = model_holder(experiment.name, name)  # its weights stay in the archive, whatever sweeps do
    for held in keys.values():
        Archive(experiment.storage).hold(str(held), holder.id, holder.words)
    with open_store(uri) as client:
        for known in client.search_model_versions(f"name = '{name}'"):
            if known.tags.get(KEY) == key and known.run_id == choice.run.id:
                return Registered(name, int(known.version), choice, False, _champion(client, name))
        made = _log(client, name, choice, tags, network)
        if made == 1:
            client.set_registered_model_alias(name, CHAMPION, str(made))
        return Registered(name, made, choice, True, _champion(client, name))


def promote(experiment: Experiment, made: Registered) -> Registered:
    """Make a registered version the champion, in the place of another one."""
    with open_store(mlflow_uri(experiment)) as client:
        client.set_registered_model_alias(made.name, CHAMPION, str(made.version))
    return replace(made, champion=made.version)


def _champion(client: MlflowClient, name: str) -> int | None:
    version = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if version is None else int(version)


def choose(found: Found, experiment: Experiment, method: str, fold: int | None) -> ChosenRound:
    """The round that analysis chooses in each fold of the method, and of these the best, or that of ``fold``.

    Best by macro F on validation photos; if there are none, on test photos.

    Raises
    ------
    ValueError
        If the experiment file does not name the method or has another recipe than its sweep, or if no round of
        it is logged.
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
        raise ValueError(f"no round of method {method!r}{where} is logged yet; `rsrl show` tells how far it is")
    by = VALIDATION if chosen.split == "validation" else TEST  # the folds are compared by what chose their rounds

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
        raise ValueError(f"{what}: its run does not say where they are; `rsrl sweep` under another name logs it")
    again = f"delete {archive.where(key)} and run `rsrl sweep` on the file again, which makes that round anew"
    try:
        weights = archive.read_network(key)
    except Damaged as damage:
        raise ValueError(f"{what} are damaged ({damage}); {again}") from damage
    if weights is None:
        raise ValueError(f"{what} are no longer in storage; {again}")
    return weights


def _settings(experiment: Experiment, scores: Iterable[int]) -> Settings:
    return Settings(
        backbone=experiment.network.backbone,
        image_size=experiment.network.image_size,
        scores=tuple(scores),
        membership=experiment.revision.membership,
        precision=experiment.training.precision,
        threads=experiment.training.threads,
        device="cuda" if experiment.resources.gpus else "cpu",
        photo_memory=experiment.resources.photo_memory,
    )


def _log(client: MlflowClient, name: str, choice: ChosenRound, tags: dict[str, str], network: _Served) -> int:
    """Log the model to the trial's run and make it a version of ``name``; its number."""
    run, description = choice.run, str(choice)
    experiment = client.get_run(run.id).info.experiment_id
    model = client.create_logged_model(experiment, name.replace(".", "_"), run.id, tags)  # which takes no dots
    with tempfile.TemporaryDirectory(prefix="rsrl-") as folder:
        served.save(Path(folder, "network"), network.weights, network.settings, network.decision)
        Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            model_id=model.model_id,
            run_id=run.id,  # unlike an active run, it keeps its state, which may be that of a running trial
            step=choice.number,
            metadata={"network": description},
            loader_module=LOADER,
            data_path=str(Path(folder, "network")),
            code_paths=[str(Path(served.__file__).parent)],
            signature=signature(network.settings.scores),
            input_example=input_example(),
            pip_requirements=requirements(),
        )
    with contextlib.suppress(MlflowException):  # it is there already; if not, the next call says what is wrong
        client.create_registered_model(name, description="Photos to scores, by `rsrl register`.")
    made = client.create_model_version(
        name, f"models:/{model.model_id}", run.id, tags, description=description, model_id=model.model_id
    )
    return int(made.version)
