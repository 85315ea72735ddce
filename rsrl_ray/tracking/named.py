"""What MLflow knows of who needs data and weights: the sweeps of a file, registered models, and who sweeps just now."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml
from mlflow.entities import Run, ViewType

from rsrl_ray.config import Experiment, digest
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.method import methods_of, trial_id
from rsrl_ray.store.location import redacted
from rsrl_ray.store.processes import in_words
from rsrl_ray.tracking.find import own_sweeps
from rsrl_ray.tracking.lease import running
from rsrl_ray.tracking.names import DATA, EXPERIMENT, FOLDS, KEY, SWEEP, TRIAL
from rsrl_ray.tracking.read import Results, artifacts_root
from rsrl_ray.tracking.runs import search
from rsrl_ray.tracking.stores import REFUSALS, asked, find_experiment, mlflow_uri, open_to_read

_ALL = 10_000  # experiments that are asked for
NamedSweep = tuple[str, str]  # an experiment and the id of one of its sweeps


@dataclass(frozen=True)
class Named:
    """What an experiment file stands for.

    sweeps : ids of its own. trials : by their ids, those that it asks for. taken_out : keys of rounds in the archive
    that were made in its sweeps by trials that it does not ask for any more, and by no other.
    """

    sweeps: frozenset[str]
    trials: Mapping[str, TrialKey]
    taken_out: frozenset[str]


def named(experiment: Experiment) -> Named:
    """What the file names. Raises ValueError where no sweep is its own as it stands."""
    sweeps = frozenset(run.tags[SWEEP] for run in own_sweeps(experiment))
    methods = methods_of(experiment)
    keys = [TrialKey(fold, name) for name in methods for fold in experiment.fold_numbers()]
    trials = {trial_id(sweep, key, methods[key.method]): key for sweep in sweeps for key in keys}
    made: dict[bool, set[str]] = {True: set(), False: set()}
    for run in _runs(experiment, sweeps):
        made[run.data.tags[TRIAL] in trials] |= _keys(run.data.tags)
    return Named(sweeps, trials, frozenset(made[False] - made[True]))


def registered_rounds(experiment: Experiment, model: str) -> set[str]:
    """The archive's keys of the rounds that versions of a registered model come from; those too of their trials.

    A version may average rounds of its trial, and does not say which.
    """
    uri = mlflow_uri(experiment)
    client = open_to_read(uri, "there is no MLflow store")
    keys: set[str] = set()
    with asked(uri, f"model {model}"):
        for version in client.search_model_versions(f"name = '{model}'"):
            tags = dict(version.tags)
            with suppress(*REFUSALS):  # the run was deleted for good
                tags |= client.get_run(str(version.run_id)).data.tags
            keys |= _keys(tags)
    return keys


def refuse_while_swept(experiment: Experiment) -> None:
    """Raises ValueError where a sweep that MLflow knows of runs in the experiment's storage, or may."""
    uri = mlflow_uri(experiment)
    client = open_to_read(uri, f"no results of {experiment.name} yet; run `rsrl sweep` on the file first")
    with asked(uri):
        found = client.search_experiments(ViewType.ACTIVE_ONLY, _ALL)
    for one in found:
        holder, name = running(one.tags), one.tags.get(EXPERIMENT, one.name)
        if holder and (name == experiment.name or _shares_storage(experiment, name)):
            raise ValueError(
                f"{name} is being swept in this storage ({in_words(holder)}); wait for its end, or, if that process "
                "crashed, sweep it with --take_over"
            )


def sweeps_of_pixels(experiment: Experiment, fingerprints: Collection[str]) -> Mapping[str, set[NamedSweep]]:
    """By the fingerprint of decoded photos, the sweeps in this MLflow that were made of them."""
    uri = mlflow_uri(experiment)
    client = open_to_read(uri, "there is no MLflow store")
    with asked(uri):
        names = [one.tags.get(EXPERIMENT, "") for one in client.search_experiments(ViewType.ACTIVE_ONLY, _ALL)]
    found: dict[str, set[NamedSweep]] = {one: set() for one in fingerprints}
    for name in filter(None, names):
        results = Results(uri, name, artifacts_root(experiment), "")
        for parent in results.sweep_runs():
            data = {run.params[DATA] for run in results.trial_runs(parent) if DATA in run.params}
            with suppress(ValueError):  # its table of folds is gone
                scores = results.read_artifact(parent, FOLDS, _scores) if data else []
                for one in fingerprints:
                    if digest([one, scores]) in data:
                        found[one].add((name, parent.tags[SWEEP]))
    return found


def _runs(experiment: Experiment, sweeps: Collection[str]) -> list[Run]:
    """The runs of all trials of these sweeps, also those of older chains of rounds."""
    uri = mlflow_uri(experiment)
    client = open_to_read(uri, "there is no MLflow store")
    with asked(uri):
        found = find_experiment(client, experiment.name)
        conditions = [f"tags.`{SWEEP}` = '{sweep}' and tags.`{TRIAL}` != ''" for sweep in sweeps] if found else []
        return [run for one in conditions for run in search(client, str(found and found.experiment_id), one)]


def _keys(tags: Mapping[str, str]) -> set[str]:
    """The archive's keys of rounds that tags name, of a trial's run or of a registered version."""
    return {value for name, value in tags.items() if name == KEY or name.startswith(f"{KEY}.")}


def _shares_storage(experiment: Experiment, name: str) -> bool:
    """Whether the newest sweep of an experiment lies in this storage, as far as it says where."""
    results = Results(mlflow_uri(experiment), name, artifacts_root(experiment), "")
    try:
        told = [results.read_artifact(run, "experiment.yaml", _storage) for run in results.sweep_runs()[:1]]
    except ValueError:
        return True
    return told in ([], [redacted(experiment.storage)])


def _storage(file: Path) -> str:
    return str(yaml.safe_load(file.read_text("utf-8"))["storage"])


def _scores(file: Path) -> list[int]:
    return [int(score) for score in pd.read_csv(file, usecols=["score"])["score"]]
