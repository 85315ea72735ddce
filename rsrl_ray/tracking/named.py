"""What MLflow knows of who needs data and weights: sweeps of a file, registered models, sweeps that run now."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

import yaml
from mlflow.entities import ViewType

from rsrl_ray.config import Experiment
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.identity import data_digest, trial_ids
from rsrl_ray.store.location import redacted
from rsrl_ray.store.processes import in_words
from rsrl_ray.tracking.find import own_sweeps
from rsrl_ray.tracking.lease import running
from rsrl_ray.tracking.names import DATA, EXPERIMENT, KEY, SWEEP, TRIAL
from rsrl_ray.tracking.read import open_results
from rsrl_ray.tracking.stores import REFUSALS, Stored, asked, mlflow_uri, open_to_read

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
    """What the file names. Raises ValueError if no sweep is its own as it stands."""
    own = own_sweeps(experiment)
    sweeps = frozenset(run.tags[SWEEP] for run in own)
    trials = {name: key for sweep in sweeps for key, name in trial_ids(experiment, sweep).items()}
    made: dict[bool, set[str]] = {True: set(), False: set()}
    results = open_results(experiment)
    for sweep in own:
        for run in results.chains(sweep):
            made[run.data.tags[TRIAL] in trials] |= _keys(run.data.tags)
    return Named(sweeps, trials, frozenset(made[False] - made[True]))


def registered_rounds(experiment: Experiment, model: str) -> set[str]:
    """The archive's keys of all rounds that versions of a registered model may need.

    These are all rounds of their trials: a version may average several of them, and does not say which.
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
    """Raises ValueError if a sweep that MLflow knows of runs, or may run, in the experiment's storage."""
    for one in _experiments(experiment):
        holder, name = running(one.tags), one.tags.get(EXPERIMENT, one.name)
        if holder and (name == experiment.name or _shares_storage(experiment, name)):
            raise ValueError(
                f"{name} is being swept in this storage ({in_words(holder)}); wait for its end, or, if that process "
                "crashed, sweep it with --take_over"
            )


def sweeps_of_pixels(experiment: Experiment, fingerprints: Collection[str]) -> Mapping[str, set[NamedSweep]]:
    """The sweeps in this MLflow that were made of decoded photos, by the fingerprint of these."""
    names = [one.tags.get(EXPERIMENT, "") for one in _experiments(experiment)]
    found: dict[str, set[NamedSweep]] = {one: set() for one in fingerprints}
    for name in filter(None, names):
        results = open_results(experiment, name)
        for parent in results.sweep_runs():
            data = {run.params[DATA] for run in results.trial_runs(parent) if DATA in run.params}
            with suppress(ValueError):  # its table of folds is gone
                scores = parent.photos()["score"].tolist() if data else []
                for one in fingerprints:
                    if data_digest(one, scores) in data:
                        found[one].add((name, parent.tags[SWEEP]))
    return found


def _experiments(experiment: Experiment) -> list[Stored]:
    """All that are in the experiment's MLflow and were not deleted."""
    uri = mlflow_uri(experiment)
    client = open_to_read(uri, f"no results of {experiment.name} yet; run `rsrl sweep` on the file first")
    with asked(uri):
        return list(client.search_experiments(ViewType.ACTIVE_ONLY, _ALL))


def _keys(tags: Mapping[str, str]) -> set[str]:
    """The archive's keys of rounds that tags name, of a trial's run or of a registered version."""
    return {value for name, value in tags.items() if name == KEY or name.startswith(f"{KEY}.")}


def _shares_storage(experiment: Experiment, name: str) -> bool:
    """Whether the newest sweep of an experiment lies in this storage, or does not say where it lies."""
    results = open_results(experiment, name)
    try:
        told = [yaml.safe_load(run.artifacts.read_text("experiment.yaml")) for run in results.sweep_runs()[:1]]
    except (ValueError, yaml.YAMLError):
        return True
    return [knobs["storage"] for knobs in told] in ([], [redacted(experiment.storage)])
