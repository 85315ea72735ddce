"""Sweeps whose networks are frozen in part: the same laws, and every photo passes the frozen layers once."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import write_experiment
from sweep.ray_nodes import nodes_of_this_machine
from sweep.sweeping import KNOBS, Gate, Tables, assert_same_bits, bits, start_driver, swept, tables, with_killed_worker
from sweep.test_laws import each_alone

from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.inventory import DECODED, inventory
from rsrl_ray.maps.highlights import highlight
from rsrl_ray.maps.subject import Question
from rsrl_ray.models import load as models
from rsrl_ray.models import register as registry
from rsrl_ray.rounds.table import logits
from rsrl_ray.tracking.names import predictions_path
from rsrl_ray.tracking.needs import OWN
from rsrl_ray.tracking.stores import mlflow_uri

pytestmark = pytest.mark.slow

Write = Callable[..., Path]
FROZEN = KNOBS | {
    "training": KNOBS["training"] | {"epochs": 3, "head_factor": 10, "trainable": "classifier"},
    "rounds": 3,
}
ONCE = {  # how many photos pass the frozen layers, those of the probe aside
    "rsrl_ray.sweep.nodes.devices": """
machine = lambda device: ""
probe = lambda *network: 32 * ("2" if os.path.exists(OTHER) and "RSRL_OTHER" in os.environ else "1")
""",
    "rsrl_ray.vision.features": """
def evaluate(model, inputs, *how, inner=evaluate):
    found = inner(model, inputs, *how)
    with open(LOG + ("there" if "RSRL_OTHER" in os.environ else ""), "a") as log:
        log.write("x" * sum(map(len, found)))
    return found
""",
}


@pytest.fixture(scope="module")
def reference(photos_csv: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Tables:
    """Every trial alone, in this process, on the features that a sweep of another schedule has made."""
    file = write_experiment(tmp_path_factory.mktemp("alone"), photos_csv, **FROZEN)
    swept(file, "--schedules={other: {1: 0.2}}", "--rounds=1")
    return each_alone(file)


def passed(log: Path) -> int:
    return len(log.read_text()) if log.exists() else 0


def test_a_worker_that_is_killed_leaves_the_same_bits_and_no_photo_passes_twice(
    experiment_file: Write, reference: Tables, tmp_path: Path
) -> None:
    file = experiment_file(**FROZEN)
    log = f"LOG, OTHER = {str(tmp_path / 'passed')!r}, ''\n"
    at_round_2 = "fit_together = gate(fit_together, lambda *learn: learn[-1] == 2)"
    code = {module: log + text for module, text in ONCE.items()} | {"rsrl_ray.vision.trainer": at_round_2}
    gate = Gate(tmp_path, code)
    with_killed_worker(start_driver(file, **gate.environment), gate)
    assert_same_bits(tables(file), reference)
    (record,) = (tmp_path / "results" / "features").glob("*.json")
    assert json.loads(record.read_text())["shape"] == [234]
    assert passed(tmp_path / "passed") == 1 + 58  # the first one to see their shape
    rounds = [name for name in bits(tmp_path / "results") if name.endswith("weights.safetensors")]
    assert len(rounds) == 5


def test_features_that_are_gone_or_damaged_are_made_again_with_the_same_bits(
    experiment_file: Write, reference: Tables, tmp_path: Path
) -> None:
    file = experiment_file(**FROZEN)
    swept(file, "--rounds=1")
    (features,) = (tmp_path / "results" / "features").glob("*.npy")
    whole = features.read_bytes()
    features.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    swept(file, "--rounds=2")
    assert features.read_bytes() == whole
    shutil.rmtree(features.parent)
    swept(file)
    assert features.read_bytes() == whole
    assert_same_bits(tables(file), reference)
    needed = {item.kind: item.who for item in inventory(read_experiment(file))}
    assert {needed[kind] for kind in (DECODED, "features", "weights")} == {OWN}
    assert needed["frozen weights"] == "5 rounds"


def test_a_worker_that_dies_while_it_makes_features_is_started_again(
    experiment_file: Write, reference: Tables, tmp_path: Path
) -> None:
    file = experiment_file(**FROZEN)
    dies = f"""
class FeatureWorker(FeatureWorker):
    def features(self, shared, rows):
        if len(rows) > 1 and not os.path.exists({str(tmp_path / "died")!r}):
            open({str(tmp_path / "died")!r}, "w").close()
            os.kill(os.getpid(), 9)
        return super().features(shared, rows)
"""
    gate = Gate(tmp_path, {"rsrl_ray.sweep.nodes.features": dies})
    gate.open()
    driver = start_driver(file, **gate.environment)
    printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, printed
    assert (tmp_path / "died").exists()
    assert_same_bits(tables(file), reference)


OTHER_NODE = {
    "rsrl_ray.sweep.nodes.devices": ONCE["rsrl_ray.sweep.nodes.devices"],
    "rsrl_ray.vision.features": ONCE["rsrl_ray.vision.features"] + "EVALUATION_BATCH = 4\n",
    "rsrl_ray.sweep.nodes.features": """
if "RSRL_OTHER" in os.environ:  # a node with a disk of its own
    FeatureFiles = lambda cache, *rest, made=FeatureFiles: made(type(cache)(os.environ["RSRL_OTHER"]), *rest)
""",
}


@pytest.mark.parametrize("otherwise", [False, True])
def test_all_nodes_make_the_features_and_each_holds_its_own(
    experiment_file: Write, tmp_path: Path, otherwise: bool
) -> None:
    """Where the other node computes otherwise, one of the two makes them for both, and the other for itself."""
    file, other = experiment_file(**FROZEN | {"resources": {"cpus": 1}, "folds": {"count": 2}}), tmp_path / "other"
    log = f"LOG, OTHER = {str(tmp_path / 'passed')!r}, {str(tmp_path) if otherwise else ''!r}\n"
    gate = Gate(tmp_path, {module: log + text for module, text in OTHER_NODE.items()})
    gate.open()
    with nodes_of_this_machine(gate, num_cpus=1) as nodes:
        nodes.add_node(num_cpus=1, env_vars={"RSRL_OTHER": str(other)})
        driver = start_driver(file, RAY_ADDRESS=nodes.address)
        printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, printed
    here, there = passed(tmp_path / "passed"), passed(tmp_path / "passedthere")
    mine, its = (sorted(folder.glob("*.npy")) for folder in (tmp_path / "results" / "features", other))
    assert len(its) == 1
    assert {file.read_bytes() for file in mine} == {its[0].read_bytes()}
    if otherwise:
        assert (here, there) == (58 + 1, 58 + 1)
        assert len({file.name for file in mine} | {its[0].name}) == 2
    else:
        assert here + there == 1 + 58 and min(here, there) >= 4
        assert mine[0].name == its[0].name


@pytest.fixture(scope="module")
def file(photos_csv: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Path:
    """A sweep that has ended."""
    file = write_experiment(tmp_path_factory.mktemp("frozen"), photos_csv, **FROZEN)
    swept(file)
    return file


def test_the_registered_network_is_whole_and_scores_as_its_round(file: Path) -> None:
    experiment = read_experiment(file)
    made = registry.register(experiment, None, None, None)
    loaded = models.load_model(None, mlflow_uri(experiment))
    table = made.choice.run.artifacts.read(predictions_path(made.choice.number), pd.read_parquet)
    folder = Path(experiment.photos).parent
    asked = models.find_photos([str(folder / name) for name in table["image"]])
    scores = models.score(loaded.model, asked)
    outputs = logits(table).astype(np.float64)
    wanted = np.exp(outputs - outputs.max(1, keepdims=True))
    wanted /= wanted.sum(1, keepdims=True)
    found = scores[[name for name in scores.columns if name.startswith("probability_")]].to_numpy(dtype=float)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


def test_a_network_whose_frozen_weights_are_gone_says_how_to_have_them_again(file: Path, tmp_path: Path) -> None:
    experiment = read_experiment(file)
    (frozen,) = Path(experiment.storage, "frozen").glob("*.safetensors")
    frozen.rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"frozen/\w+\.safetensors is gone.*run `rsrl sweep` on the file again"):
        registry.register(experiment, None, None, None)
    swept(file)
    assert frozen.read_bytes() == (tmp_path / "elsewhere").read_bytes()
    assert registry.register(experiment, None, None, None).choice.number >= 1


def test_a_highlight_map_says_that_the_first_convolution_is_frozen(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^training\.trainable: classifier: the first convolution is frozen"):
        highlight(read_experiment(file), Question(), tmp_path / "maps")
