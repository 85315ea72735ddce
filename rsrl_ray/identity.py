"""Law 1: all that bits depend on is in the key. This module is the one place for it.

The key of a *round* (`start_key`, `round_key`) has:

- **Its input**: decoded photos, labels and indices of the fold, starting weights, seed, and number of the fold. The
  parent round and the kept photos enter by the chain of keys. Labels that are wrong on purpose are in the labels.
- **The recipe**: network, and a method's training, warm start, loss and sampling, or its ridge regression. A value that
  a method has of its own is the same in a key as one that the file has for all methods. A user's own loss enters by
  its import path, its knobs and a digest of its module only (`rsrl_ray.core.own`). A method's rule enters by the kept
  photos, or by what each of them weighs. Its prediction does not enter, because it trains nothing. What the recipe
  changes in a later round (`changed_later`) is in the keys from that round on.
- **The code**: `ARITHMETIC` and the versions of PyTorch and torchvision.
- **The device**: its name, and the settings of the environment that change the arithmetic and cannot be set back
  (`rsrl_ray.vision.reproducible`). If its result of a probe (`rsrl_ray.vision.probe`, `probe_identity`) is not that of
  the first device of this name, the probe enters too. The probe uses the frozen layers too. Rounds are not kept if the
  GPU had too little memory, because cuDNN then computes in other ways.

The key of *features* of frozen layers (`features_key`) has the photos, the frozen weights, their part of the recipe,
the code and the device. The key of *decoded photos* (`rsrl_ray.photos.pixels`) has the bytes and the way of decoding.
Rounds get a fingerprint of the pixels.

A *sweep* (`sweep_id`) is the recipe, photos, scores, groups and starting weights; paths do not count. A *trial*
(`trial_id`) is a fold and a method of a sweep. Device and versions are in neither: on another machine, the same trial
has another chain of rounds (`rsrl_ray.tracking.chains`). Readers find the sweep of a file by `photos_digest` and
`weights_digest`, without pixels and networks.

Law 3: a later knob at its default changes no key, because `identifying` and `plain` leave it out.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.config import Experiment, Training
from rsrl_ray.core.arrays import MaskOrWeights
from rsrl_ray.core.digest import array_digest, digest, file_digest
from rsrl_ray.core.draw import DEALING
from rsrl_ray.core.rules.thresholds import Thresholds
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.learning import Learning
from rsrl_ray.method import Method, methods_of

if TYPE_CHECKING:
    from rsrl_ray.photos.photo_set import PhotoSet

ARITHMETIC = 1
"""Version of the arithmetic of training and judging. Count it up if you change that (batches, normalisation, optimizer,
random numbers). It enters a round's key if it is not 1, see `tests/vision/test_trainer.py`."""

SLOPES = 2
"""Version of how layers in lockstep compute the gradients of losses (see `rsrl_ray.vision.heads`), in the keys of
rounds with another loss than the cross-entropy. Version 1 was in no release."""

FEATURES_FORMAT = 1
"""Count it up if the same photos and frozen weights give another file of features."""

EXTENSIBLE = (
    *("name", "photos", "storage", "rounds", "schedules", "methods", "modules"),
    *("resources", "archive", "mlflow", "system_metrics", "measure"),
)
"""Knobs that may change while the finished trials stay the same trials."""

ALWAYS = frozenset(
    {
        *("folds.count", "folds.kind", "folds.validation", "network.backbone", "network.weights", "network.image_size"),
        *("training.epochs", "training.batch_size", "training.learning_rate", "training.head_factor"),
        *("training.momentum", "training.weight_decay", "training.precision", "training.threads"),
        *("training.augmentation", "revision.membership", "revision.majority_classes", "revision.min_kept"),
        *("revision.warm_start", "seed"),
    }
)
"""Knobs that are in all digests, also at their defaults. Add no knob: results that are older than a knob were made with
its default, and they keep their digests because `identifying` leaves the knob out at its default."""


@dataclass(frozen=True)
class Given:
    """The input of a fold's rounds, without labels and indices.

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

    photos : fingerprint of ``count`` decoded photos. frozen : digest of the frozen weights. device : ``cpu`` or
    ``cuda``; the file's name also has its kind. batch : photos that pass at once. versions : as in `Given`.
    """

    photos: str
    count: int
    frozen: str
    device: str
    batch: int
    versions: Sequence[str]


# Knobs and values


def recipe(experiment: Experiment) -> dict[str, Any]:
    """The knobs that the results of a fold and a method depend on, flat: ``{"training.epochs": 5}``."""
    rest = {knob: value for knob, value in identifying(experiment).items() if knob not in EXTENSIBLE}
    for knob in ("use", "repeats"):
        rest["folds"].pop(knob, None)
    if not experiment.noise.share:  # then its kind and seed have no effect
        rest.pop("noise", None)
    rest["resources.device"] = "cuda" if experiment.resources.gpus else "cpu"
    return flat(rest)


def identifying(knobs: Any, prefix: str = "") -> dict[str, Any]:
    """The knobs of a dataclass that enter digests, nested. A later knob enters only if it is not at its default.

    prefix : the place of the dataclass in the experiment file, such as ``training.``
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
    """A frozen value, such as a rule, for JSON, without knobs at their defaults."""
    if dataclasses.is_dataclass(value):
        return {type(value).__name__: _changed(value)}
    return float(value) if isinstance(value, int | float) else value


def _changed(value: Any) -> dict[str, Any]:
    fields = [(field, getattr(value, field.name)) for field in dataclasses.fields(value) if field.compare]
    return {field.name: plain(content) for field, content in fields if content != field.default}


def _default(knob: "dataclasses.Field[Any]") -> Any:
    if knob.default_factory is not dataclasses.MISSING:
        return knob.default_factory()
    return knob.default  # MISSING if there is none; no value is equal to it


# Rounds and their input


def round_identity(experiment: Experiment, learning: Learning, given: Given) -> dict[str, Any]:
    """All that the bits of a fold's rounds depend on, without labels and indices, for JSON."""
    arithmetic = {} if ARITHMETIC == 1 else {"arithmetic": ARITHMETIC}
    network = identifying(experiment.network, "network.")
    later = {name: value for name, value in network.items() if f"network.{name}" not in ALWAYS}
    training = learning.training.in_place_of(experiment.training)
    unusual = {
        name: value for name, value in _changed(learning.until(1)).items() if name not in ("warm_start", "training")
    }
    lockstep = training.trainable == "head" and training.steps == "weighted"
    slopes = {"slopes": SLOPES} if lockstep and "loss" in unusual else {}
    return (
        arithmetic
        | slopes
        | ({"network": later} if later else {})
        | unusual
        | {
            "photos": given.photos,
            "start": given.start,
            "backbone": experiment.network.backbone,
            "image_size": experiment.network.image_size,
            "training": identifying(training, "training."),
            "warm_start": learning.warm_start,
            "seed": experiment.seed,
            "fold": given.fold,
            "device": given.device,
            "versions": given.versions,
        }
    )


def start_key(identity: dict[str, Any], labels: NDArray[np.int64], train: NDArray[np.int64]) -> str:
    """key(0), from which the keys of a fold's rounds follow: its `round_identity`, labels [N], training photos [K]."""
    arrays = {"labels": array_digest({"labels": labels}), "train": array_digest({"train": train})}
    return digest({**identity, **arrays})


def round_key(parent: str, kept: MaskOrWeights, number: int, changed: Mapping[str, Any] | None = None) -> str:
    """key(i) = H(key(i-1), kept mask [N], round number). Two methods that kept the same photos have the same key.

    If photos have weights, these are in the place of the mask: their type and each of their bytes. changed : see
    `changed_later`.
    """
    return digest({"parent": parent, "kept": array_digest({"kept": kept}), "number": number, **(changed or {})})


def changed_later(learning: Learning, number: int) -> dict[str, Any]:
    """What round ``number`` has of a method that key(0) has otherwise, for JSON."""
    sampling = learning.until(number).sampling
    return {} if sampling == learning.until(1).sampling else {"sampling": sampling}


def features_key(experiment: Experiment, given: GivenFeatures) -> str:
    """The key of features of frozen layers, on one kind of device."""
    training, network = experiment.training, identifying(experiment.network, "network.")
    del network["weights"]  # because the weights themselves count, not their file
    network.pop("standardise", None)  # it comes after the features
    computed = [given.device, ARITHMETIC, given.batch, given.versions, FEATURES_FORMAT]
    how = [training.trainable, training.precision, training.threads, *computed]
    return digest([given.photos, given.frozen, given.count, network, how])


def probed(training: Training) -> Training:
    """The training of a probe: the knobs that decide how a device computes; the others at their defaults."""
    return replace(
        Training(epochs=1),
        trainable=training.trainable,
        batch_size=training.batch_size,
        precision=training.precision,
        threads=training.threads,
        steps="weighted" if training.steps == "weighted" else "kept",  # batched products, see `vision/heads.py`
    )


def probe_identity(experiment: Experiment, start: str, kind: str, versions: Sequence[str]) -> dict[str, Any]:
    """All that a probe depends on, without the machine, for JSON. start, kind (of the device), versions : see `Given`.

    The starting weights also tell the number of classes.
    """
    network = identifying(experiment.network, "network.")
    del network["weights"]  # because the weights themselves count, not their file
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
    """The id of a sweep, from recipe, photos, scores, groups and starting weights; their paths do not count.

    dealing : version of how groups are dealt to folds. Without groups it does not count.
    """
    knobs = {name: value for name, value in recipe(experiment).items() if name != "network.weights"}
    data = [photos.fingerprint, photos.scores.tolist()]
    if photos.groups is not None:
        data.append(photos.groups.tolist())
    way = {} if dealing == 1 or photos.groups is None else {"dealing": dealing}
    return digest({"recipe": knobs, "data": data, "start": start, **way})


def trial_id(sweep: str, trial: TrialKey, method: Method) -> str:
    """The id of a trial of a sweep. It does not depend on the machine or on the name of the experiment."""
    return digest({"sweep": sweep, "fold": trial.fold, "schedule": trial.method, **_method(method)})


def trial_ids(experiment: Experiment, sweep: str) -> dict[TrialKey, str]:
    """The ids of an experiment's trials, method by method, in the file's order."""
    methods = methods_of(experiment)
    return {key: trial_id(sweep, key, methods[key.method]) for key in experiment.trials()}


def _method(method: Method) -> dict[str, Any]:
    if isinstance(method.rule, Thresholds) and method.is_schedule:
        return {"steps": method.rule.thresholds.steps}
    return {name: plain(getattr(method, name)) for name in ("rule", "learning", "prediction")}


def data_digest(photos: str, scores: Sequence[int]) -> str:
    """The digest of the photos in a trial's run: fingerprint of the decoded photos, and scores of all photos, [N]."""
    return digest([photos, scores])


def photos_digest(photos: Iterable[tuple[str, int]]) -> str:
    """The digest of the names and scores of a sweep's photos, in any order."""
    return digest(sorted((image, int(score)) for image, score in photos))


def weights_digest(experiment: Experiment) -> str:
    """The digest of the file of weights that an experiment starts from; "" if none is named or it is not here."""
    file = experiment.network.weights_file
    return "" if file is None or not file.is_file() else file_digest(file)
