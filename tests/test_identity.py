"""What rounds, trials, sweeps, probes and features are called: as ever, whatever knobs come later.

`data/identities.yaml` has the names of 0.1.0 as literals: others would make all users train and log everything again.
"""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from rsrl_ray import config, identity
from rsrl_ray.config import Experiment
from rsrl_ray.core.digest import array_digest, digest
from rsrl_ray.core.draw import DEALING
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.revision import revise
from rsrl_ray.core.rules.rule import Seen
from rsrl_ray.core.rules.thresholds import Thresholds
from rsrl_ray.core.schedule import make_schedule
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.identity import (
    Given,
    GivenFeatures,
    changed_later,
    data_digest,
    features_key,
    flat,
    identifying,
    photos_digest,
    probe_identity,
    probed,
    recipe,
    round_identity,
    round_key,
    start_key,
    sweep_id,
    trial_ids,
)
from rsrl_ray.method import Learning, method_of
from rsrl_ray.photos.photo_set import PhotoSet
from rsrl_ray.rounds.loop import RoundResult
from rsrl_ray.store.holders import EVERY_ROUND, data_holder, sweep_holder, trial_holder
from rsrl_ray.sweep.driver import tracked
from rsrl_ray.sweep.task import Task
from rsrl_ray.sweep.trial.trainers import NetworkTrainers
from rsrl_ray.vision.evaluation import EVALUATION_BATCH
from rsrl_ray.vision.features import FeatureFiles

SCORES = np.array([2, 3, 4, 3, 2, 4])
LABELS = np.array([0, 1, 2, 1, 0, 2])
GROUPS = np.array([0, 1, 2, 1, 3, 4])
KEPT = np.array([True, True, False, False, False, False])
VERSIONS = ["2.15.0", "0.30.0"]
FOLD = Fold(1, np.array([0, 1, 2]), np.array([3]), np.array([4, 5]))


def everything(experiment: Experiment) -> dict[str, Any]:
    """Everything that something of this experiment is called by."""
    photos: Any = SimpleNamespace(fingerprint="8f00", scores=SCORES, images=tuple("abcdef"), groups=None)
    found: dict[str, Any] = {"recipe": digest(recipe(experiment)), "sweep": sweep_id(experiment, photos, "07aa")}
    last = experiment.fold_numbers()[-1]
    ids = trial_ids(experiment, found["sweep"])
    found["trials"] = {key.method: name for key, name in ids.items() if key.fold == last}
    photos.groups = GROUPS
    found["grouped"] = [sweep_id(experiment, photos, "07aa", dealing=way) for way in (1, 2)]
    found["rounds"] = {}
    for name in experiment.method_names():
        given = Given("8f00", "07aa", 1, "cpu-AVX2", VERSIONS)
        rounds = round_identity(experiment, method_of(experiment, name).learning, given)
        start = start_key(rounds, LABELS, FOLD.train)
        found["rounds"][name] = [start, round_key(start, KEPT, 2)]
    found["probe"] = digest(probe_identity(experiment, "07aa", "cuda-NVIDIA H200", VERSIONS))
    key = features_key(experiment, GivenFeatures("8f00", 6, "f0", "cpu", EVALUATION_BATCH, VERSIONS))
    files = FeatureFiles(Path("/"), key, 6)
    found["features"] = files.file("cpu-AVX2", (2,), "<f4").path.name
    bucket = Experiment(name="a", photos="p", storage="s3://b/c")
    holders = [trial_holder("a", TrialKey(0, "none"), found["sweep"]), sweep_holder("a", found["sweep"], EVERY_ROUND)]
    found["holders"] = [holder.id for holder in [*holders, data_holder(bucket, "1f")]]
    return found


FROZEN = yaml.safe_load((Path(__file__).parent / "data" / "identities.yaml").read_text())


@pytest.mark.parametrize("name", FROZEN)
def test_names_are_those_of_before(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: a\nphotos: photos.csv\n" + FROZEN[name]["file"])
    assert everything(read_experiment(tmp_path / "a.yaml")) == FROZEN[name]["names"]


def test_digests_are_those_of_before() -> None:
    arrays = array_digest({"labels": LABELS, "kept": KEPT})
    assert [data_digest("8f00", SCORES.tolist()), photos_digest([("b", 3), ("a", 2)]), arrays] == [
        "730b48c0e591834e319e08c07873ce50",
        "80f82a895a012dcfe552986af0ba6706",
        "afe6d9f729356f9ff315d37a4536157c",
    ]


# A sweep of six photos


def task(**knobs: Any) -> Any:
    """A sweep of six photos."""
    schedules = knobs.pop("schedules", {"firm": {1: 0.9, 3: 0.95}})
    return swept(Experiment(name="a", photos="photos.csv", schedules=schedules, **knobs))


def swept(experiment: Experiment) -> Any:
    photos: Any = SimpleNamespace(fingerprint="8f00", scores=SCORES, images=tuple("abcdef"), groups=None)
    photos.labels, photos.classes = LABELS, np.array([2, 3, 4])
    folds = [dataclasses.replace(FOLD, number=number) for number in experiment.fold_numbers()]
    return Task(experiment, photos, folds, {}, "07aa", NetworkTrainers)


def names(task: Any) -> list[str]:
    """Of the recipe, the sweep, the trial, the data, and of what the fold's rounds start from."""
    trial = tracked.trials_of(task)[1, "firm"]
    first = started(task, "firm")
    return [digest(recipe(task.experiment)), task.sweep_id(), trial.id, trial.tags["data_fingerprint"], first]


def started(sweep: Any, name: str, device: str = "cpu-AVX2") -> str:
    """Key of what the rounds of a method start from."""
    learning = method_of(sweep.experiment, name).learning
    given = Given(sweep.photos.fingerprint, sweep.start_digest, FOLD.number, device, VERSIONS)
    return start_key(round_identity(sweep.experiment, learning, given), LABELS, FOLD.train)


TODAY = [
    "834725119760a67ddde28692be4542d3",
    "6929af1e127d0fcd0ea91b92093f8327",
    "ef23aa5327d4acd6838e0244ef188fcd",
    "730b48c0e591834e319e08c07873ce50",
    "a04e3f4bb6964fa7cc297c06fa9100d6",
]


# knobs that came later: only where they are not at their defaults
SINCE = {
    *("training.trainable", "training.steps", "folds.repeats", "noise.share", "noise.kind", "noise.seed"),
    *("network.head", "network.standardise"),
}


def test_todays_names_stand() -> None:
    """Others would make all users train and log everything again."""
    assert names(task()) == TODAY


def test_every_knob_of_today_is_always_in_them() -> None:
    whole = dataclasses.asdict(task().experiment)
    whole = flat({name: value for name, value in whole.items() if name not in identity.EXTENSIBLE})
    assert whole.keys() == identity.ALWAYS | {"folds.use"} | SINCE


@dataclass(frozen=True)
class Training(config.Training):
    """With knobs of later."""

    smoothing: float = 0.1
    stages: list[int] = field(default_factory=lambda: [1, 2])


@dataclass(frozen=True)
class Revision(config.Revision):
    """With a knob of later."""

    patience: int | None = None


@dataclass(frozen=True)
class Network(config.Network):
    """With a knob of later."""

    stride: int = 4


@dataclass(frozen=True)
class Bench:
    """A later group of knobs."""

    size: int = 3


@dataclass(frozen=True)
class Later(Experiment):
    """With more knobs."""

    bench: Bench = field(default_factory=Bench)
    rule: str = "thresholds"


def later(**knobs: Any) -> Any:
    groups = ("network", "training", "revision", "noise")
    changed = task(**{name: knobs.pop(name) for name in groups if name in knobs})
    values = {knob.name: getattr(changed.experiment, knob.name) for knob in dataclasses.fields(Experiment)}
    return swept(Later(**values, **knobs))


def test_a_later_knob_at_its_default_changes_no_name() -> None:
    assert names(later(network=Network(), training=Training(), revision=Revision())) == TODAY
    assert names(later()) == TODAY
    assert names(later(noise=config.Noise(kind="invade", seed=3))) == TODAY  # of no labels


@pytest.mark.parametrize(
    ("knobs", "same"),
    [
        ({"training": Training(smoothing=0.2)}, 1),
        ({"training": Training(stages=[1])}, 1),
        ({"training": Training(trainable="head")}, 1),
        ({"training": Training(steps="all")}, 1),
        ({"network": Network(stride=2)}, 1),
        ({"noise": config.Noise(share=0.2)}, 2),  # the labels that a round starts from are others, see below
        ({"revision": Revision(patience=1)}, 2),  # it does not change what a round computes
        ({"bench": Bench(4)}, 2),
        ({"rule": "keep"}, 2),
    ],
)
def test_a_later_knob_off_its_default_changes_them(knobs: dict[str, Any], same: int) -> None:
    """``same``: the data's name, and that of a round where the knob is none of its training."""
    assert sum(one == other for one, other in zip(names(later(**knobs)), TODAY, strict=True)) == same


def test_a_later_knob_off_its_default_is_in_the_recipe() -> None:
    assert recipe(later(training=Training(smoothing=0.2)).experiment)["training.smoothing"] == 0.2
    assert identifying(Training(), "training.") == {
        name: value for name, value in dataclasses.asdict(config.Training()).items() if f"training.{name}" not in SINCE
    }


def test_photos_that_belong_together_make_another_sweep_of_the_same_rounds() -> None:
    together = task()
    together.photos.groups = GROUPS
    assert [ours == todays for ours, todays in zip(names(together), TODAY, strict=True)] == [
        True,
        False,
        False,
        True,
        True,
    ]


def test_another_way_of_dealing_groups_is_another_sweep_and_photos_without_groups_know_one_way() -> None:
    """In 43ba890, which dealt groups in the way called 1, the sweep below had this id."""
    together = task()
    together.photos.groups = GROUPS
    assert together.sweep_id(1) == "32a233492ce5ecea8f26a481c4158e38"
    assert len({together.sweep_id(way) for way in (1, 2, 3)}) == 3
    assert together.sweep_id() == together.sweep_id(DEALING)
    assert {task().sweep_id(way) for way in (1, 2, 3)} == {task().sweep_id()}


def test_what_decoding_may_take_is_in_no_name() -> None:
    assert names(task(resources=config.Resources(photo_memory=4.0))) == TODAY


def test_another_version_of_the_arithmetic_is_another_round_and_the_same_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "ARITHMETIC", 2)
    now = names(task())
    assert now[:4] == TODAY[:4]
    assert now[4] != TODAY[4]


# A file of every kind of knob there was before methods came, and its names as that code had them.
BEFORE = """\
name: a
photos: photos.csv
folds: {count: 3, kind: random, validation: 0.2, use: [1]}
network: {backbone: resnet18, weights: none, image_size: 96}
training: {trainable: classifier, epochs: 2, learning_rate: 0.01, precision: fp32, threads: 2}
revision: {membership: centred, majority_classes: 2, min_kept: 0.05, warm_start: cold}
rounds: 7
seed: 4
resources: {gpus: 0.5}
schedules: {paper: {1: 0.9, 3: [0.95, 0.9]}, none: {1: 0}}
"""
AT_DEFAULT = ["--folds.repeats=1", "--training.steps=kept", "--noise.share=0", "--noise.kind=shift", "--methods={}"]
MORE = ["--folds.repeats=2", "--methods={balanced: {loss: {balanced: 1.0}}, half: {predict: {average: half}}}"]


@pytest.mark.parametrize("knobs", [[], AT_DEFAULT, MORE], ids=["before", "at default", "more"])
def test_names_of_a_file_with_schedules_are_those_of_the_code_before_methods(knobs: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BEFORE)
    sweep = swept(read_experiment(tmp_path / "a.yaml", knobs))
    trials = tracked.trials_of(sweep)
    assert digest(recipe(sweep.experiment)) == "7d7f974102a7dd9dd9467c87fb4ffcf0"
    assert sweep.sweep_id() == "3ef390ce0d718948cb5914a7f2eb2857"
    assert trials[1, "paper"].id == "40a595fd2527432108d18205f15e513b"
    assert trials[1, "none"].id == "c935957e2ab70da86e77d481bfdcc071"
    assert trials[1, "paper"].tags == {
        "thresholds": "from revision 1: 0.9, 0.9; from revision 3: 0.95, 0.9",
        "network": "resnet18",
        "data_fingerprint": "730b48c0e591834e319e08c07873ce50",
    }
    for name in ("paper", "none"):
        assert started(sweep, name, "cuda-A100") == "cdd1df9b5e2fb3b78863ba5852497d15"


# Methods


def called(method: dict[str, Any]) -> tuple[str, Any]:
    """The id of its trial, and what is tracked of it."""
    trial = tracked.trials_of(task(schedules={}, methods={"a": method}))[0, "a"]
    return trial.id, trial.tags


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"revise": {"quantile": 1}}, {"revise": {"quantile": 1.0, "likelihood": "last"}}),
        ({"revise": {"margin": 0}}, {"revise": {"margin": 0.0}}),
        ({"revise": {"thresholds": {1: 1}}}, {"revise": {"thresholds": {1: [1.0, 1, 1]}, "pick": "least_likely"}}),
        ({"loss": {"balanced": 1}}, {"loss": {"balanced": 1.0, "ordinal": 0, "smooth": 0}}),
        ({"loss": {"ldam": 0.5}}, {"loss": {"ldam": 0.5, "drw": 0, "smooth": 0.0}}),
        ({"predict": {"logit_adjustment": 1}}, {"predict": {"logit_adjustment": 1.0, "average": 1}}),
        ({}, {"revise": {}, "loss": {}, "predict": {}, "sampling": "shuffled", "warm_start": "all"}),
        ({}, {"predict": {"logit_adjustment": 0, "decision": "argmax", "prior": "none", "guard": False}}),
        ({}, {"training": {"epochs": 5, "weight_decay": 0.0001}}),
        ({"training": {"momentum": 0}}, {"training": {"momentum": 0.0, "epochs": 5}}),
        ({}, {"balanced_from": 1, "mixup": 0}),
    ],
)
def test_the_same_method_in_other_words_has_the_same_name(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert called(one) == called(other)


DIFFERENT: list[dict[str, Any]] = [
    {},
    {"revise": {"quantile": 0.2}},
    {"revise": {"quantile": 0.3}},
    {"revise": {"quantile": 0.2, "likelihood": "mean"}},
    {"revise": {"quantile": 0.1234567}},
    {"revise": {"quantile": 0.1234568}},
    {"revise": {"random": 0.2}},
    {"revise": {"thresholds": {1: 0.9, 3: 0.95}}},
    {"revise": {"thresholds": {1: 0.9, 3: 0.95}, "pick": "random"}},
    {"revise": {"disagreement": 2}},
    {"revise": {"disagreement": 2, "start": 2}},
    {"loss": {"balanced": 1.0}},
    {"loss": {"balanced": 1.0, "ordinal": 0.5}},
    {"loss": {"balanced": 1.0, "ordinal": 0.5, "smooth": 1.0}},
    {"loss": {"focal": 1.0}},
    {"sampling": "class_balanced"},
    {"sampling": "class_balanced", "balanced_from": 5},
    {"sampling": "class_balanced", "balanced_from": 6},
    {"mixup": 0.2},
    {"warm_start": "cold"},
    {"predict": {"average": 2}},
    {"predict": {"average": "half"}},
    {"predict": {"logit_adjustment": 1.0}},
    {"predict": {"decision": "expected_f"}},
    {"predict": {"decision": "expected_f", "prior": "validation"}},
    {"predict": {"decision": "expected_f", "guard": True}},
    {"predict": {"decision": "expected_error"}},
    {"predict": {"decision": "shares"}},
    {"training": {"weight_decay": 0.3}},
    {"training": {"weight_decay": 0.3, "epochs": 2}},
    {"training": {"steps": "all"}},
]


def test_other_methods_have_other_names_and_other_tags() -> None:
    names = [called(method) for method in DIFFERENT]
    assert len({name for name, _ in names}) == len(names)
    assert len({tuple(tags.items()) for _, tags in names}) == len(names)


def test_rounds_start_from_what_they_are_trained_by_and_from_nothing_else_of_a_method() -> None:
    methods = {str(number): method for number, method in enumerate(DIFFERENT)}
    sweep = task(methods=methods)
    keys = [started(sweep, name) for name in methods]
    late = [list(DIFFERENT).index({"sampling": "class_balanced", "balanced_from": start}) for start in (5, 6)]
    assert [keys.pop(place) for place in reversed(late)] == [TODAY[4]] * 2  # their first rounds are those of others
    assert [key == TODAY[4] for key in keys] == [True] * 11 + [False] * 7 + [True] * 8 + [False] * 3
    assert len(set(keys)) == 1 + 7 + 3


def test_a_method_of_its_own_training_has_the_rounds_of_a_file_with_that_training() -> None:
    changed: dict[str, Any] = {"weight_decay": 0.3, "epochs": 2, "steps": "all"}
    own = task(methods={"a": {"training": changed}, "b": {"training": changed, "revise": {"quantile": 0.2}}})
    files = task(methods={"a": {}}, training=config.Training(**changed))
    assert started(own, "a") == started(own, "b") == started(files, "a") != started(own, "firm")


def test_a_layer_that_is_solved_has_rounds_of_its_own_for_each_way_to_solve_it() -> None:
    ways: list[dict[str, Any]] = [{"ridge": "auto"}, {"ridge": 100}, {"targets": "hard"}, {"balance": 0.5}]
    methods = {str(number): {"learn": way} for number, way in enumerate(ways)} | {"a": {}}
    sweep = task(methods=methods, training=config.Training(trainable="head"))
    assert len({started(sweep, name) for name in methods}) == 5


def test_noise_is_in_the_labels_that_rounds_start_from_and_not_in_test_photos(tmp_path: Path) -> None:
    scores = np.repeat([2, 3, 4], 20)
    names = tuple(f"{number}.png" for number in range(60))
    photos = PhotoSet(names, scores, (), (), fingerprint="8f", sources=names, pixels_path=tmp_path, image_size=8)
    fold = Fold(0, np.arange(0, 60, 3), np.arange(1, 60, 3), np.arange(2, 60, 3))
    other = Fold(1, fold.test, fold.validation, fold.train)
    for share in (0.0, 0.25):
        experiment = dataclasses.replace(task().experiment, noise=config.Noise(share))
        sweep = Task(experiment, photos, [fold, other], {}, "07aa", NetworkTrainers)
        wrong = sweep.labels_in(fold) != photos.labels
        assert (wrong.any(), wrong[fold.test].any()) == (share > 0, False)
        assert (np.unique(scores)[sweep.labels_in(fold)] == sweep.scores_in(fold)).all()
        assert (sweep.noisy_scores != scores).sum() == share * 60
        everything = np.ones(60, dtype=bool)
        done = RoundResult(1, everything, ~everything, np.eye(3, dtype=np.float32)[photos.labels])
        splits = [sweep.table(each, done)["split"].tolist()[:3] for each in (fold, other, fold)]
        assert splits == [["train", "validation", "test"], ["test", "validation", "train"], splits[0]]
        table = sweep.table(fold, done)
        assert ("true_score" in table) == (share > 0)
        assert (table["score"] != table.get("true_score", scores)).tolist() == wrong.tolist()


# The recipe


def _experiment(**knobs: Any) -> Experiment:
    return Experiment(**{"name": "small", "photos": "photos.csv", "schedules": {"none": {1: 0.0}}, **knobs})


def test_the_recipe_by_hand() -> None:
    assert recipe(_experiment()) == {
        "folds.count": 5,
        "folds.kind": "stratified",
        "folds.validation": 0.1,
        "network.backbone": "alexnet",
        "network.weights": "imagenet",
        "network.image_size": 224,
        "training.epochs": 5,
        "training.batch_size": 32,
        "training.learning_rate": 0.001,
        "training.head_factor": 10.0,
        "training.momentum": 0.9,
        "training.weight_decay": 0.0001,
        "training.precision": "bf16",
        "training.threads": 1,
        "training.augmentation": [],
        "revision.membership": "sigmoid",
        "revision.majority_classes": 3,
        "revision.min_kept": 0.01,
        "revision.warm_start": "all",
        "seed": 0,
        "resources.device": "cpu",
    }


@pytest.mark.parametrize(
    "knobs",
    [
        {"name": "other"},
        {"photos": "elsewhere/photos.csv"},  # known by their content, see the archive's keys
        {"storage": "s3://bucket/results"},
        {"rounds": 31},
        {"schedules": {"none": {1: 0.0}, "paper": {1: 0.9}}},
        {"methods": {"balanced": {"loss": {"balanced": 1.0}}}},
        {"folds": config.Folds(use=[0])},
        {"folds": config.Folds(repeats=2)},
        {"resources": config.Resources(cpus=4.0)},
        {"archive": config.Retention(weights="all")},
        {"mlflow": "http://localhost:5000"},
    ],
)
def test_an_experiment_can_be_extended_without_changing_its_recipe(knobs: dict[str, Any]) -> None:
    assert recipe(_experiment(**knobs)) == recipe(_experiment())


@pytest.mark.parametrize(
    ("knobs", "differs"),
    [
        ({"seed": 1}, "seed"),
        ({"folds": config.Folds(validation=0.2, use=[0])}, "folds.validation"),
        ({"network": config.Network(image_size=227)}, "network.image_size"),
        ({"training": config.Training(augmentation=["flip"])}, "training.augmentation"),
        ({"revision": config.Revision(warm_start="cold")}, "revision.warm_start"),
        ({"resources": config.Resources(gpus=0.5)}, "resources.device"),
    ],
)
def test_any_other_change_shows_in_the_recipe(knobs: dict[str, Any], differs: str) -> None:
    before, after = recipe(_experiment()), recipe(_experiment(**knobs))
    assert [knob for knob in before if before[knob] != after[knob]] == [differs]
    assert before.keys() == after.keys()
    assert digest(before) != digest(after)


def test_the_recipe_leaves_the_experiment_alone() -> None:
    experiment = _experiment(folds=config.Folds(use=[0]))
    recipe(experiment)
    assert experiment.folds.use == [0]
    assert dataclasses.asdict(experiment)["folds"] == {
        "count": 5,
        "repeats": 1,
        "kind": "stratified",
        "validation": 0.1,
        "use": [0],
    }


def test_flat() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": [2]}, "e": None}) == {"a.b.c": 1, "a.d": [2], "e": None}


# Keys of rounds

IDENTITY: dict[str, Any] = {
    "photos": "8f",
    "start": "07",
    "training": {"epochs": 5, "learning_rate": 0.001, "augmentation": ["flip"]},
    "seed": 0,
    "fold": 1,
    "device": "cpu",
    "versions": ["2.15.0"],
}
FOUR = np.array([0, 1, 2, 1])
TRAIN = np.array([0, 1, 3])
TWO_KEPT = np.array([True, True, False, False])


def test_keys_do_not_change_unnoticed() -> None:
    # Another key for the same round makes all users train everything again.
    assert start_key(IDENTITY, FOUR, TRAIN) == "bc40135df11b72bc95484cc1fec97e95"
    assert round_key("aa", TWO_KEPT, 2) == "fd001a388fa7a06f6f5612353d3c77ff"


def test_a_round_key_is_the_digest_of_parent_kept_mask_and_number() -> None:
    kept = hashlib.blake2b(b"kept |b1 (4,);\x01\x01\x00\x00", digest_size=16).hexdigest()
    content = f'{{"kept": "{kept}", "number": 2, "parent": "aa"}}'.encode()
    assert round_key("aa", TWO_KEPT, 2) == hashlib.blake2b(content, digest_size=16).hexdigest()


def test_weights_are_in_a_round_key_with_all_their_bytes() -> None:
    weights = np.array([1, 0.5, 0, 0], dtype=np.float32)
    kept = hashlib.blake2b(b"kept <f4 (4,);" + weights.tobytes(), digest_size=16).hexdigest()
    content = f'{{"kept": "{kept}", "number": 2, "parent": "aa"}}'.encode()
    assert round_key("aa", weights, 2) == hashlib.blake2b(content, digest_size=16).hexdigest()
    nearly = np.nextafter(weights, np.float32(1))
    assert len({round_key("aa", each, 2) for each in (weights, nearly, weights > 0, np.float32(TWO_KEPT))}) == 4


def test_schedules_that_kept_the_same_photos_share_a_key() -> None:
    confidence = np.array([[0.1], [0.2], [0.8], [0.85], [0.9], [0.95], [0.99]])
    logits = np.log(confidence / (1 - confidence)).astype(np.float32)
    seen = Seen(1, [logits], np.ones(7, dtype=bool), np.zeros(7, dtype=np.int64), np.array([0]))
    low, high, higher = (revise(Thresholds(make_schedule({1: k}, 1)), seen).kept for k in (0.3, 0.7, 0.81))
    start = start_key(IDENTITY, FOUR, TRAIN)
    assert round_key(start, low, 2) == round_key(start, high, 2)
    assert round_key(start, low, 2) == round_key(start, higher, 2)  # by the guard
    assert round_key(start, low, 2) != round_key(start, np.ones(7, dtype=bool), 2)


def test_every_ingredient_changes_a_start_key() -> None:
    changed = [
        {**IDENTITY, "photos": "90"},
        {**IDENTITY, "start": "08"},
        {**IDENTITY, "training": {**IDENTITY["training"], "learning_rate": 0.01}},
        {**IDENTITY, "training": {**IDENTITY["training"], "augmentation": []}},
        {**IDENTITY, "seed": 1},
        {**IDENTITY, "fold": 0},
        {**IDENTITY, "device": "cuda"},
        {**IDENTITY, "versions": ["2.15.1"]},
        {**IDENTITY, "more": None},
    ]
    keys = [start_key(identity, FOUR, TRAIN) for identity in [IDENTITY, *changed]]
    keys.append(start_key(IDENTITY, np.array([0, 1, 2, 2]), TRAIN))
    keys.append(start_key(IDENTITY, FOUR, np.array([0, 1, 2])))
    assert len(set(keys)) == len(keys)


def test_the_order_of_writing_does_not_change_a_start_key() -> None:
    turned = dict(reversed(IDENTITY.items()))
    assert start_key(turned, FOUR, TRAIN) == start_key(IDENTITY, FOUR, TRAIN)


def chain(learning: Learning, rounds: int = 6) -> list[str]:
    """The keys of the rounds of a method that keeps the same photos."""
    keys = [start_key(round_identity(task().experiment, learning, Given("8f", "07", 1, "cpu", VERSIONS)), FOUR, TRAIN)]
    for number in range(1, rounds + 1):
        keys.append(round_key(keys[-1], TWO_KEPT, number, changed_later(learning, number)))
    return keys


def test_methods_share_the_rounds_before_one_of_them_is_balanced() -> None:
    plain, balanced = chain(Learning()), chain(Learning(sampling="class_balanced"))
    four, five = (chain(Learning(sampling="class_balanced", balanced_from=first)) for first in (4, 5))
    assert (four[:4], five[:5]) == (plain[:4], plain[:5])
    assert not set(plain[4:]) & set(four) and not set(plain[5:]) & set(five) and not set(four[4:]) & set(five)
    assert not set(balanced) & {*plain, *four, *five}
    assert balanced == chain(Learning(sampling="class_balanced", balanced_from=1))


def test_a_round_key_that_has_a_later_sampling_is_a_digest_with_it() -> None:
    kept = hashlib.blake2b(b"kept |b1 (4,);\x01\x01\x00\x00", digest_size=16).hexdigest()
    content = f'{{"kept": "{kept}", "number": 5, "parent": "aa", "sampling": "class_balanced"}}'.encode()
    now = changed_later(Learning(sampling="class_balanced", balanced_from=5), 5)
    assert round_key("aa", TWO_KEPT, 5, now) == hashlib.blake2b(content, digest_size=16).hexdigest()


def test_every_ingredient_changes_a_round_key() -> None:
    another = TWO_KEPT.copy()
    another[3] = True
    keys = [
        round_key("aa", TWO_KEPT, 2),
        round_key("ab", TWO_KEPT, 2),
        round_key("aa", another, 2),
        round_key("aa", TWO_KEPT, 3),
    ]
    assert len(set(keys)) == 4


# Features of frozen layers

FEATURES = GivenFeatures("8f", 4, "07", "cpu", 64, VERSIONS)
HEAD = Experiment("a", "photos.csv", network=config.Network("small", "none", 32), training=config.Training("head"))


@pytest.mark.parametrize(
    "changed",
    [
        {"photos": "90"},
        {"frozen": "08"},
        {"count": 5},
        {"device": "cuda"},
        {"batch": 32},
        {"versions": ["2.16.0", "0.30.0"]},
        {"network": config.Network("alexnet", "none", 32)},
        {"network": config.Network("small", "none", 33)},
        {"training": config.Training("classifier")},
        {"training": config.Training("head", precision="fp32")},
        {"training": config.Training("head", threads=2)},
    ],
)
def test_what_features_depend_on(changed: dict[str, Any]) -> None:
    of = {name: value for name, value in changed.items() if name not in ("network", "training")}
    knobs = {name: value for name, value in changed.items() if name not in of}
    other = features_key(dataclasses.replace(HEAD, **knobs), dataclasses.replace(FEATURES, **of))
    assert other != features_key(HEAD, FEATURES)


def test_what_they_do_not_depend_on() -> None:
    training = config.Training("head", epochs=9, batch_size=3, learning_rate=1.0, weight_decay=0.5)
    network = config.Network("small", "elsewhere.pt", 32)
    other = dataclasses.replace(HEAD, training=training, network=network, seed=3, rounds=2)
    assert features_key(other, FEATURES) == features_key(HEAD, FEATURES)


def test_a_probe_is_of_what_decides_how_a_device_computes() -> None:
    usual = config.Training(precision="fp32")
    alike = config.Training(precision="fp32", epochs=9, learning_rate=0.5, augmentation=["flip"], steps="all")
    assert probed(alike) == probed(usual)
    others = [config.Training(), config.Training("head", precision="fp32"), dataclasses.replace(usual, batch_size=7)]
    others.append(config.Training("head", precision="fp32", steps="weighted"))  # batched products
    assert len({str(probed(training)) for training in (usual, *others)}) == 5
