"""Law 1: whatever the bits depend on is in the key. All of it is gathered here.

A *round* (`start_key`, `round_key`) is called by all that its bits depend on:

- **What it is given**: the decoded photos, the fold's labels and indices, the starting weights, the seed and the fold's
  number; by the chain of keys its parent and the kept photos. Wrong labels on purpose are in the labels.
- **The recipe**: network, training and warm start, a method's loss and sampling; of a loss of one's own its import
  path, its knobs and a digest of its module, of that alone (`rsrl_ray.core.own`). What the method's rule says is in the
  kept photos, and its prediction trains nothing.
- **The code**: `ARITHMETIC` and the versions of PyTorch and torchvision.
- **The device**: its name, with what the environment changes of the arithmetic and no switch sets back
  (`rsrl_ray.vision.reproducible`), and what it makes of a probe (`rsrl_ray.vision.probe`, `probe_identity`) if that is
  not what the first device of this name has made of it. The probe goes through the frozen layers too. Rounds are not
  kept if the GPU lacked memory, because cuDNN then computes in other ways.

*Features* of frozen layers (`features_key`) are called by the photos, the frozen weights, what of the recipe they
depend on, the code and the device. *Decoded photos* (`rsrl_ray.photos.pixels`) are called by their bytes
and the way they are decoded; the fingerprint that rounds are given is of the pixels.

A *sweep* (`sweep_id`) is the recipe, photos, scores, groups and starting weights, wherever these lie; a *trial*
(`trial_id`) is a fold and a method of a sweep. Neither knows the device or the versions: the same trial on another
machine has another chain of rounds (`rsrl_ray.tracking.chains`). `photos_digest` and `weights_digest` are by what a
reader knows the sweep of a file, without pixels and networks.

Law 3: a later knob at its default changes no name, because `identifying` and `plain` leave it out.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.config import Experiment, Training
from rsrl_ray.core.digest import array_digest, digest, file_digest
from rsrl_ray.core.draw import DEALING
from rsrl_ray.core.rules.thresholds import Thresholds
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.method import Learning, Method, methods_of

if TYPE_CHECKING:
    from rsrl_ray.photos.photo_set import PhotoSet

ARITHMETIC = 1
"""Version of what training and scoring compute; whoever changes it (batches, normalisation, optimizer, random numbers)
counts it up. It is part of a round's identity where it is not 1, see `tests/vision/test_trainer.py`."""

FEATURES_FORMAT = 1
"""Counted up if the same photos and frozen weights are to give another file of features."""

EXTENSIBLE = (
    *("name", "photos", "storage", "rounds", "schedules", "methods", "modules"),
    *("resources", "archive", "mlflow", "system_metrics"),
)
"""What may change in an experiment file without making its finished trials other trials."""

ALWAYS = frozenset(
    {
        *("folds.count", "folds.kind", "folds.validation", "network.backbone", "network.weights", "network.image_size"),
        *("training.epochs", "training.batch_size", "training.learning_rate", "training.head_factor"),
        *("training.momentum", "training.weight_decay", "training.precision", "training.threads"),
        *("training.augmentation", "revision.membership", "revision.majority_classes", "revision.min_kept"),
        *("revision.warm_start", "seed"),
    }
)
"""The knobs that digests have always held, also at their defaults. Do not add to it: whatever was made before a knob
came was made with its default, and keeps its digest since `identifying` leaves a later knob out at its default."""


@dataclass(frozen=True)
class Given:
    """What a fold's rounds are given, besides labels and indices.

    photos : fingerprint of the decoded photos. start : digest of the starting weights. fold : its number.
    device : its name, see `rsrl_ray.core.trial.Device`. versions : of the libraries that the bits depend on.
    """

    photos: str
    start: str
    fold: int
    device: str
    versions: Sequence[str]


@dataclass(frozen=True)
class GivenFeatures:
    """What features are made of.

    photos : fingerprint of the decoded photos, of which there are ``count``. frozen : digest of the frozen weights.
    device : ``cpu`` or ``cuda``; its kind is in the file's name too. batch : photos that pass at once.
    """

    photos: str
    count: int
    frozen: str
    device: str
    batch: int
    versions: Sequence[str]


# Knobs and values


def recipe(experiment: Experiment) -> dict[str, Any]:
    """The knobs that decide what a trial of given fold and method computes, flat: ``{"training.epochs": 5}``."""
    rest = {knob: value for knob, value in identifying(experiment).items() if knob not in EXTENSIBLE}
    for knob in ("use", "repeats"):
        rest["folds"].pop(knob, None)
    if not experiment.noise.share:  # its kind and seed do nothing
        rest.pop("noise", None)
    rest["resources.device"] = "cuda" if experiment.resources.gpus else "cpu"
    return flat(rest)


def identifying(knobs: Any, prefix: str = "") -> dict[str, Any]:
    """The knobs of a dataclass, nested, as they enter digests: a later knob only if it differs from its default.

    prefix : where the dataclass stands in the experiment file, such as ``training.``
    """
    found = {}
    for knob in dataclasses.fields(knobs):
        name, value = prefix + knob.name, getattr(knobs, knob.name)
        if dataclasses.is_dataclass(value):
            value = identifying(value, f"{name}.")
            if value:
                found[knob.name] = value
        elif name in ALWAYS or value != _default(knob):
            found[knob.name] = value
    return found


def flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"folds": {"count": 5}}`` as ``{"folds.count": 5}``."""
    pairs: dict[str, Any] = {}
    for knob, value in nested.items():
        pairs |= flat(value, f"{prefix}{knob}.") if isinstance(value, dict) else {prefix + knob: value}
    return pairs


def plain(value: Any) -> Any:
    """A frozen value, such as a rule, as JSON has it: knobs at their defaults are left out."""
    if dataclasses.is_dataclass(value):
        return {type(value).__name__: _changed(value)}
    return float(value) if isinstance(value, int | float) else value


def _changed(value: Any) -> dict[str, Any]:
    fields = [(field, getattr(value, field.name)) for field in dataclasses.fields(value) if field.compare]
    return {field.name: plain(content) for field, content in fields if content != field.default}


def _default(knob: "dataclasses.Field[Any]") -> Any:
    if knob.default_factory is not dataclasses.MISSING:
        return knob.default_factory()
    return knob.default  # MISSING, which nothing equals, if there is none


# Rounds, and what they are trained on


def round_identity(experiment: Experiment, learning: Learning, given: Given) -> dict[str, Any]:
    """All that the bits of a fold's rounds depend on, besides labels and indices, as plain values."""
    arithmetic = {} if ARITHMETIC == 1 else {"arithmetic": ARITHMETIC}
    network = identifying(experiment.network, "network.")
    later = {name: value for name, value in network.items() if f"network.{name}" not in ALWAYS}
    unusual = {name: value for name, value in _changed(learning).items() if name != "warm_start"}
    return (
        arithmetic
        | ({"network": later} if later else {})
        | unusual
        | {
            "photos": given.photos,
            "start": given.start,
            "backbone": experiment.network.backbone,
            "image_size": experiment.network.image_size,
            "training": identifying(experiment.training, "training."),
            "warm_start": learning.warm_start,
            "seed": experiment.seed,
            "fold": given.fold,
            "device": given.device,
            "versions": given.versions,
        }
    )


def start_key(identity: dict[str, Any], labels: NDArray[np.int64], train: NDArray[np.int64]) -> str:
    """key(0): what every round of a fold starts from, its `round_identity`, labels [N] and training photos [K]."""
    arrays = {"labels": array_digest({"labels": labels}), "train": array_digest({"train": train})}
    return digest({**identity, **arrays})


def round_key(parent: str, kept: NDArray[np.bool_], number: int) -> str:
    """key(i) = H(key(i-1), kept mask [N], round number): two methods that kept the same photos share it."""
    return digest({"parent": parent, "kept": array_digest({"kept": kept}), "number": number})


def features_key(experiment: Experiment, given: GivenFeatures) -> str:
    """What features of frozen layers are called, on one kind of device."""
    training, network = experiment.training, identifying(experiment.network, "network.")
    del network["weights"]  # whatever file they came from
    computed = [given.device, ARITHMETIC, given.batch, given.versions, FEATURES_FORMAT]
    how = [training.trainable, training.precision, training.threads, *computed]
    return digest([given.photos, given.frozen, given.count, network, how])


def probed(training: Training) -> Training:
    """Of a recipe what decides how a device computes; all else is as usual."""
    return replace(
        Training(epochs=1),
        trainable=training.trainable,
        batch_size=training.batch_size,
        precision=training.precision,
        threads=training.threads,
    )


def probe_identity(experiment: Experiment, start: str, kind: str, versions: Sequence[str]) -> dict[str, Any]:
    """All that a probe depends on but for the machine, as plain values; ``start`` and kind of device as in `Given`.

    How many classes there are, the starting weights tell.
    """
    network = identifying(experiment.network, "network.")
    del network["weights"]  # whatever file they came from
    return {
        "device": kind,
        "network": network,
        "start": start,
        "training": identifying(probed(experiment.training), "training."),
        "arithmetic": ARITHMETIC,
        "versions": versions,
    }


# Sweeps and trials


def sweep_id(experiment: Experiment, photos: "PhotoSet", start: str, dealing: int = DEALING) -> str:
    """What makes trials the same trials: recipe, photos, scores, groups and starting weights, wherever these lie.

    dealing : the way in which groups are dealt to folds; of photos without groups there is one way only.
    """
    knobs = {name: value for name, value in recipe(experiment).items() if name != "network.weights"}
    data = [photos.fingerprint, photos.scores.tolist()]
    if photos.groups is not None:
        data.append(photos.groups.tolist())
    way = {} if dealing == 1 or photos.groups is None else {"dealing": dealing}
    return digest({"recipe": knobs, "data": data, "start": start, **way})


def trial_id(sweep: str, trial: TrialKey, method: Method) -> str:
    """The id of a trial of a sweep: the same wherever the same trial is made, whatever the file is called."""
    return digest({"sweep": sweep, "fold": trial.fold, "schedule": trial.method, **_method(method)})


def trial_ids(experiment: Experiment, sweep: str) -> dict[TrialKey, str]:
    """Of the trials of a sweep that an experiment asks for; method by method as in the file."""
    methods = methods_of(experiment)
    return {key: trial_id(sweep, key, methods[key.method]) for key in experiment.trials()}


def _method(method: Method) -> dict[str, Any]:
    if isinstance(method.rule, Thresholds) and method.is_schedule:
        return {"steps": method.rule.thresholds.steps}
    return {name: plain(getattr(method, name)) for name in ("rule", "learning", "prediction")}


def data_digest(photos: str, scores: Sequence[int]) -> str:
    """What a trial's run says of its photos, by the fingerprint of the decoded ones and the scores of all, [N]."""
    return digest([photos, scores])


def photos_digest(photos: Iterable[tuple[str, int]]) -> str:
    """Of the names and scores of a sweep's photos, in whatever order."""
    return digest(sorted((image, int(score)) for image, score in photos))


def weights_digest(experiment: Experiment) -> str:
    """Of the file of weights that an experiment starts from; "" if it names none, or it is not here."""
    file = experiment.network.weights_file
    return "" if file is None or not file.is_file() else file_digest(file)
