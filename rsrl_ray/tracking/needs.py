"""Who left a note in the archive, and whether a file or a registered model still names them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial

from rsrl_ray.config import Experiment
from rsrl_ray.store.holders import EVERY_ROUND, WAITING, is_model, sweep_holder, trial_holder
from rsrl_ray.tracking.named import Named, registered_rounds

OWN, NOT_KNOWN = "this file", "not known"


@dataclass(frozen=True)
class User:
    """Who said in a note that they need weights. is_void : whether nothing names them any more."""

    name: str
    is_void: bool


class Needs:
    """Whether a note in the archive is void, for the experiment that is asked for."""

    def __init__(self, experiment: Experiment, names: Named) -> None:
        self._name, self._taken_out = experiment.name, names.taken_out
        self._registered = cache(partial(registered_rounds, experiment))
        self._own = {trial_holder(self._name, trial, identity).id for identity, trial in names.trials.items()}
        self._own |= {sweep_holder(self._name, sweep, WAITING).id for sweep in names.sweeps}
        keeps = experiment.archive.weights != "needed"  # what `auto` means depends on the network
        self._every = {sweep_holder(self._name, sweep, EVERY_ROUND).id for sweep in names.sweeps if keeps}

    def user(self, key: str, holder: str, words: Mapping[str, str]) -> User:
        """Who left the note ``holder`` with these words at the round ``key``."""
        if words.get("experiment") != self._name:
            return User(f"experiment {words['experiment']}" if "experiment" in words else NOT_KNOWN, False)
        if is_model(holder):
            model = words.get("model", "")
            return User(f"model {model}", key not in self._registered(model))
        if holder in self._own or (holder in self._every and key not in self._taken_out):
            return User(OWN, False)
        trial = words.get("trial", "")
        return User(trial.partition(", ")[2] or trial, True)
