"""What rounds, trials and sweeps are called: as ever, whatever knobs come later."""

import dataclasses
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rsrl_ray import config
from rsrl_ray.config import Experiment, digest, identifying, recipe
from rsrl_ray.core.folds import Fold
from rsrl_ray.store.archive import start_key
from rsrl_ray.sweep import tracked, trainable

LABELS = np.array([0, 1, 2, 1, 0, 2])
FOLD = Fold(1, np.array([0, 1, 2]), np.array([3]), np.array([4, 5]))


def task(**knobs: Any) -> Any:
    """A sweep of six photos."""
    experiment = Experiment(name="a", photos="photos.csv", schedules={"firm": {1: 0.9, 3: 0.95}}, **knobs)
    photos = SimpleNamespace(fingerprint="8f00", scores=np.array([2, 3, 4, 3, 2, 4]))
    return SimpleNamespace(experiment=experiment, photos=photos, start_digest="07aa", folds=[FOLD])


def names(task: Any) -> list[str]:
    """Of the recipe, the sweep, the trial, the data, and of what the fold's rounds start from."""
    trial = tracked.trials_of(task)[1, "firm"]
    first = start_key(trainable._identity(task, FOLD, "cpu-AVX2"), LABELS, FOLD.train)
    return [digest(recipe(task.experiment)), tracked.sweep_id(task), trial.id, trial.tags["data_fingerprint"], first]


TODAY = [
    "834725119760a67ddde28692be4542d3",
    "6929af1e127d0fcd0ea91b92093f8327",
    "ef23aa5327d4acd6838e0244ef188fcd",
    "730b48c0e591834e319e08c07873ce50",
    "a04e3f4bb6964fa7cc297c06fa9100d6",
]


SINCE = {"training.trainable"}  # knobs that came later: only where they are not at their defaults


@pytest.fixture(autouse=True)
def _versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainable, "versions", lambda: ["2.15.0", "0.30.0"])


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
    changed = task(**{name: knobs.pop(name) for name in ("network", "training", "revision") if name in knobs})
    values = {knob.name: getattr(changed.experiment, knob.name) for knob in dataclasses.fields(Experiment)}
    changed.experiment = Later(**values, **knobs)
    return changed


def test_a_later_knob_at_its_default_changes_no_name() -> None:
    assert names(later(network=Network(), training=Training(), revision=Revision())) == TODAY
    assert names(later()) == TODAY


@pytest.mark.parametrize(
    ("knobs", "same"),
    [
        ({"training": Training(smoothing=0.2)}, 1),
        ({"training": Training(stages=[1])}, 1),
        ({"training": Training(trainable="head")}, 1),
        ({"network": Network(stride=2)}, 1),
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


def test_another_version_of_the_arithmetic_is_another_round_and_the_same_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainable, "ARITHMETIC", 2)
    now = names(task())
    assert now[:4] == TODAY[:4]
    assert now[4] != TODAY[4]
