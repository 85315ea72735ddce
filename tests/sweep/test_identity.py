"""What rounds, trials and sweeps are called: as ever, whatever knobs come later."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rsrl_ray import config, identity
from rsrl_ray.config import Experiment, digest, identifying, recipe
from rsrl_ray.core.draw import DEALING
from rsrl_ray.core.folds import Fold
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.identity import Given, round_identity
from rsrl_ray.method import method_of
from rsrl_ray.photos.photo_set import PhotoSet
from rsrl_ray.rounds.loop import RoundResult
from rsrl_ray.store.archive import start_key
from rsrl_ray.sweep.driver import tracked
from rsrl_ray.sweep.task import Task
from rsrl_ray.sweep.trial.trainers import NetworkTrainers

LABELS = np.array([0, 1, 2, 1, 0, 2])
FOLD = Fold(1, np.array([0, 1, 2]), np.array([3]), np.array([4, 5]))


def task(**knobs: Any) -> Any:
    """A sweep of six photos."""
    schedules = knobs.pop("schedules", {"firm": {1: 0.9, 3: 0.95}})
    return swept(Experiment(name="a", photos="photos.csv", schedules=schedules, **knobs))


def swept(experiment: Experiment) -> Any:
    scores = np.array([2, 3, 4, 3, 2, 4])
    photos: Any = SimpleNamespace(fingerprint="8f00", scores=scores, images=tuple("abcdef"), groups=None)
    photos.classes, photos.labels = np.unique(scores, return_inverse=True)
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
    given = Given(sweep.photos.fingerprint, sweep.start_digest, FOLD.number, device)
    return start_key(round_identity(sweep.experiment, learning, given), LABELS, FOLD.train)


TODAY = [
    "834725119760a67ddde28692be4542d3",
    "6929af1e127d0fcd0ea91b92093f8327",
    "ef23aa5327d4acd6838e0244ef188fcd",
    "730b48c0e591834e319e08c07873ce50",
    "a04e3f4bb6964fa7cc297c06fa9100d6",
]


# knobs that came later: only where they are not at their defaults
SINCE = {"training.trainable", "training.steps", "folds.repeats", "noise.share", "noise.kind", "noise.seed"}


@pytest.fixture(autouse=True)
def _versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "versions", lambda: ["2.15.0", "0.30.0"])


def test_todays_names_stand() -> None:
    """Others would make all users train and log everything again."""
    assert names(task()) == TODAY


def test_every_knob_of_today_is_always_in_them() -> None:
    whole = dataclasses.asdict(task().experiment)
    whole = config.flat({name: value for name, value in whole.items() if name not in config.EXTENSIBLE})
    assert whole.keys() == config.ALWAYS | {"folds.use"} | SINCE


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
    together.photos.groups = np.array([0, 1, 2, 1, 3, 4])
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
    together.photos.groups = np.array([0, 1, 2, 1, 3, 4])
    assert together.sweep_id(dealing=1) == "32a233492ce5ecea8f26a481c4158e38"
    assert len({together.sweep_id(dealing=way) for way in (1, 2, 3)}) == 3
    assert together.sweep_id() == together.sweep_id(dealing=DEALING)
    assert {task().sweep_id(dealing=way) for way in (1, 2, 3)} == {task().sweep_id()}


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
        ({"loss": {"balanced": 1}}, {"loss": {"balanced": 1.0, "ordinal": 0}}),
        ({"predict": {"logit_adjustment": 1}}, {"predict": {"logit_adjustment": 1.0, "average": 1}}),
        ({}, {"revise": {}, "loss": {}, "predict": {}, "sampling": "shuffled", "warm_start": "all"}),
        ({}, {"predict": {"logit_adjustment": 0, "decision": "argmax"}}),
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
    {"loss": {"focal": 1.0}},
    {"sampling": "class_balanced"},
    {"warm_start": "cold"},
    {"predict": {"average": 2}},
    {"predict": {"average": "half"}},
    {"predict": {"logit_adjustment": 1.0}},
    {"predict": {"decision": "expected_f"}},
]


def test_other_methods_have_other_names_and_other_tags() -> None:
    names = [called(method) for method in DIFFERENT]
    assert len({name for name, _ in names}) == len(names)
    assert len({tuple(tags.items()) for _, tags in names}) == len(names)


def test_rounds_start_from_what_they_are_trained_by_and_from_nothing_else_of_a_method() -> None:
    methods = {str(number): method for number, method in enumerate(DIFFERENT)}
    sweep = task(methods=methods)
    keys = [started(sweep, name) for name in methods]
    assert [key == TODAY[4] for key in keys] == [True] * 11 + [False] * 5 + [True] * 4
    assert len(set(keys)) == 1 + 5


def test_noise_is_in_the_labels_that_rounds_start_from_and_not_in_test_photos(tmp_path: Path) -> None:
    scores = np.repeat([2, 3, 4], 20)
    names = tuple(f"{number}.png" for number in range(60))
    photos = PhotoSet(names, scores, "8f", names, tmp_path, (), (), 8)
    fold = Fold(0, np.arange(0, 60, 3), np.arange(1, 60, 3), np.arange(2, 60, 3))
    for share in (0.0, 0.25):
        experiment = dataclasses.replace(task().experiment, noise=config.Noise(share))
        sweep = Task(experiment, photos, [fold], {}, "07aa", NetworkTrainers)
        wrong = sweep.labels_in(fold) != photos.labels
        assert (wrong.any(), wrong[fold.test].any()) == (share > 0, False)
        assert (np.unique(scores)[sweep.labels_in(fold)] == sweep.scores_in(fold)).all()
        assert (sweep.noisy_scores != scores).sum() == share * 60
        everything = np.ones(60, dtype=bool)
        table = sweep.table(fold, RoundResult(1, everything, ~everything, np.eye(3, dtype=np.float32)[photos.labels]))
        assert ("true_score" in table) == (share > 0)
        assert (table["score"] != table.get("true_score", scores)).tolist() == wrong.tolist()
