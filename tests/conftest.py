"""Fixtures that make real photos, experiment files and a real Ray."""

import contextlib
import fcntl
import functools
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from preloaded.start import Preloaded, switched_on

SCORES = {2: 6, 3: 14, 4: 24, 5: 10, 6: 4}  # photos of each score


LONGEST = ("hosts", "laws", "faults", "lifeline", "cluster")  # files, which are not divided among processes
preloaded: list[Preloaded] = []


def pytest_configure(config: pytest.Config) -> None:
    """Whatever Ray runs on this machine already is none of the tests' business, and theirs none of it."""
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes would compile this package each
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # six processes for language models
    os.environ["OMP_WAIT_POLICY"] = "passive"  # else threads that wait take the time of other processes
    os.environ["RAY_prestart_worker_first_driver"] = "0"  # noqa: SIM112 its name; as a sweep has it for its own Ray
    os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="rsrl-", dir="/tmp")  # short: sockets' paths have a limit
    if "RSRL_PYTHON" not in os.environ:  # else by the process that has started this one
        os.environ["RSRL_PYTHON"] = sys.executable
        os.environ.setdefault("RSRL_SHARED", os.environ["RAY_TMPDIR"])
        if switched_on():
            preloaded.append(Preloaded(Path(os.environ["RAY_TMPDIR"])))
            start_all_by(str(preloaded[0].python), config)


def start_all_by(python: str, config: pytest.Config) -> None:
    """Processes of the tests, of Ray and of pytest-xdist."""
    os.environ["RSRL_PYTHON"] = python
    os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"] = json.dumps({"runtime_env": {"py_executable": python}})
    config.option.tx = [f"{kind}//python={python}" for kind in config.getoption("tx", None) or []]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever sweeps is slow; the slow come first, so that at the end there is something for every process to do."""
    for item in items:
        if "ray_session" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")
    files = [f"test_{name}.py" for name in LONGEST]
    last = len(files)
    items.sort(key=lambda item: files.index(item.path.name) if item.path.name in files else last)
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_unconfigure() -> None:
    """The tests' Rays are gone."""
    for process in preloaded:
        process.close()
    shutil.rmtree(os.environ.pop("RAY_TMPDIR"), ignore_errors=True)


def once(name: str, make: Callable[[Path], object]) -> Path:
    """A file that the first of the tests' processes that needs it makes for all."""
    path = Path(os.environ["RSRL_SHARED"], name)
    with path.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            make(path)
    return path


def new_database() -> Path:
    """An empty MLflow database; to make one takes longer than a sweep."""
    from mlflow import MlflowClient

    return once("mlflow.db", lambda path: MlflowClient(f"sqlite:///{path}").search_experiments())


def put_database(path: Path) -> None:
    """A new MLflow database for another process."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(new_database(), path)


@pytest.fixture(scope="session", autouse=True)
def quick_mlflow() -> Iterator[None]:
    """In this process too MLflow's new databases are copies of one that it has made."""
    from mlflow.store.db import utils

    new, make = new_database(), utils._initialize_tables

    def initialize(engine: Any) -> None:
        if engine.url.get_backend_name() != "sqlite" or not engine.url.database:
            make(engine)
            return
        with (
            contextlib.closing(sqlite3.connect(new)) as source,
            contextlib.closing(sqlite3.connect(engine.url.database)) as target,
        ):
            source.backup(target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_initialize_tables", initialize)
        patch.setattr(utils, "_get_latest_schema_revision", functools.cache(utils._get_latest_schema_revision))
        yield


@pytest.fixture(scope="session")
def photos_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """58 photos of 40 x 40 pixels: the brighter, the higher the score, with much noise."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    rows = ["image,score"]
    for score, count in SCORES.items():
        for number in range(count):
            noise = generator.normal(40 * (score - 1), 50, (40, 40, 3))
            name = f"{score}-{number}.png"
            Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(folder / name)
            rows.append(f"{name},{score}")
    (folder / "photos.csv").write_text("\n".join(rows) + "\n")
    return folder / "photos.csv"


def write_experiment(folder: Path, photos: Path, name: str = "tiny", **knobs: Any) -> Path:
    """An experiment file of a sweep that takes seconds; keywords change top-level knobs."""
    content = {
        "name": name,
        "photos": str(photos),
        "storage": "results",
        "folds": {"count": 2, "validation": 0.2},
        "network": {"backbone": "small", "weights": "none", "image_size": 32},
        "training": {"epochs": 1, "batch_size": 16, "learning_rate": 0.01, "head_factor": 1, "precision": "fp32"},
        "rounds": 4,
        "schedules": {"firm": {1: 0.5}, "later": {1: 0.5, 3: 0.6}, "none": {1: 0.0}},
        "resources": {"cpus": 2},  # one trial at a time: a second process would take longer to start than to train
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content | knobs, sort_keys=False))
    return path


@pytest.fixture
def experiment_file(photos_csv: Path, tmp_path: Path) -> Callable[..., Path]:
    """`write_experiment` into this test's folder."""
    return functools.partial(write_experiment, tmp_path, photos_csv)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One quiet Ray of two cores for all tests that sweep in this process."""
    import ray

    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", os.environ["RSRL_PYTHON"])
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()
