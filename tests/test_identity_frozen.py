"""Names of rounds, trials, sweeps, probes and features as 0.1.0 had them: others would make all users train again."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from rsrl_ray import identity
from rsrl_ray.config import Experiment, digest, recipe
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.identity import Given, probe_identity, round_identity
from rsrl_ray.method import method_of
from rsrl_ray.store.archive import array_digest, round_key, start_key
from rsrl_ray.store.holders import EVERY_ROUND, data_holder, sweep_holder, trial_holder
from rsrl_ray.sweep.tracked import _ids, sweep_id
from rsrl_ray.tracking.find import photos_digest
from rsrl_ray.vision import features
from rsrl_ray.vision.features import FeatureFiles

SCORES = np.array([2, 3, 4, 3, 2, 4])
LABELS = np.array([0, 1, 2, 1, 0, 2])
GROUPS = np.array([0, 1, 2, 1, 3, 4])
KEPT = np.array([True, True, False, False, False, False])
VERSIONS = ["2.15.0", "0.30.0"]


def names(experiment: Experiment) -> dict[str, Any]:
    """Everything that something of this experiment is called by."""
    photos = SimpleNamespace(fingerprint="8f00", scores=SCORES, images=tuple("abcdef"), groups=None)
    task = SimpleNamespace(experiment=experiment, photos=photos, start_digest="07aa")
    found: dict[str, Any] = {"recipe": digest(recipe(experiment)), "sweep": sweep_id(task)}
    last = experiment.fold_numbers()[-1]
    found["trials"] = {key.method: name for key, name in _ids(task).items() if key.fold == last}
    grouped = SimpleNamespace(**{**vars(photos), "groups": GROUPS})
    task.photos = grouped
    found["grouped"] = [sweep_id(task, dealing=way) for way in (1, 2)]
    fold = Fold(1, np.array([0, 1, 2]), np.array([3]), np.array([4, 5]))
    found["rounds"] = {}
    for name in experiment.method_names():
        given = Given("8f00", "07aa", 1, "cpu-AVX2")
        start = start_key(round_identity(experiment, method_of(experiment, name).learning, given), LABELS, fold.train)
        found["rounds"][name] = [start, round_key(start, KEPT, 2)]
    found["probe"] = digest(probe_identity(experiment, "07aa", "cuda-NVIDIA H200"))
    files = FeatureFiles(Path("/"), "8f00", "f0", 6, experiment.network, experiment.training, "cpu")
    found["features"] = files.file("cpu-AVX2", (2,), "<f4").path.name
    bucket = Experiment(name="a", photos="p", storage="s3://b/c")
    holders = [trial_holder("a", TrialKey(0, "none"), found["sweep"]), sweep_holder("a", found["sweep"], EVERY_ROUND)]
    found["holders"] = [holder.id for holder in [*holders, data_holder(bucket, "1f")]]
    return found


@pytest.fixture(autouse=True)
def _versions(monkeypatch):
    monkeypatch.setattr(identity, "versions", lambda: VERSIONS)
    monkeypatch.setattr(features, "versions", lambda: VERSIONS)


FROZEN = yaml.safe_load((Path(__file__).parent / "data" / "identities.yaml").read_text())


@pytest.mark.parametrize("name", FROZEN)
def test_names_are_those_of_before(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: a\nphotos: photos.csv\n" + FROZEN[name]["file"])
    assert names(read_experiment(tmp_path / "a.yaml")) == FROZEN[name]["names"]


def test_digests_are_those_of_before() -> None:
    arrays = array_digest({"labels": LABELS, "kept": KEPT})
    assert [digest(["8f00", SCORES.tolist()]), photos_digest([("b", 3), ("a", 2)]), arrays] == [
        "730b48c0e591834e319e08c07873ce50",
        "80f82a895a012dcfe552986af0ba6706",
        "afe6d9f729356f9ff315d37a4536157c",
    ]
