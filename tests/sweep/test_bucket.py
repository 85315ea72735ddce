"""Storage in a bucket of a real S3 server, a process of its own, also one that refuses for a while."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import write_experiment
from sweep.servers import KEYS, Proxy, place, proxied, s3_server, stored
from sweep.sweeping import at_first_result, swept, tables

from rsrl_ray.cli import main as cli
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.inventory import DECODED, inventory
from rsrl_ray.store.storage import Storage
from rsrl_ray.tracking.needs import OWN

pytestmark = pytest.mark.usefixtures("keys")
KNOBS: dict[str, Any] = {
    "folds": {"count": 2, "validation": 0.2, "use": [0]},
    "rounds": 2,
    "schedules": {"firm": {1: 0.5}, "none": {1: 0.0}},
}


@pytest.fixture(scope="module")
def keys() -> Iterator[None]:
    """Set before Ray starts, whose processes inherit them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def server(keys: None) -> Iterator[int]:
    """The port of an S3 server that holds the bucket ``rsrl``."""
    with s3_server() as port:
        yield port


@pytest.fixture
def proxy(server: int) -> Iterator[Proxy]:
    with proxied(server) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def local(keys: None, ray_session: None, photos_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sweep into a directory."""
    file = write_experiment(tmp_path_factory.mktemp("local"), photos_csv, name="local", **KNOBS)
    assert len(swept(file)[0].finished) == 2
    return file


def test_a_file_is_there_whole_or_not_at_all(server: int) -> None:
    storage = Storage(place(server, "files"))
    assert storage.read("a/b") is None
    storage.write("a/b", b"first")
    storage.write("a/b", b"second")
    assert storage.read("a/b") == b"second"
    storage.write("a/c/d", b"deeper")
    assert storage.list("a") == ["b", "c/d"]
    assert storage.list("nowhere") == []
    storage.delete("a/b")
    storage.delete("a/b")
    assert storage.list("a") == ["c/d"]
    assert storage.read("a/b") is None


@pytest.mark.usefixtures("ray_session")
def test_a_sweep_its_resume_and_its_analysis(
    experiment_file: Callable[..., Path], local: Path, server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{server}")
    monkeypatch.setenv("HOME", str(tmp_path))
    root = place(server, "sweep")
    file = experiment_file(name="bucket", storage=root, mlflow=f"sqlite:///{tmp_path}/mlflow.db", **KNOBS)
    assert len(swept(file)[0].finished) == 2
    first = stored(root)
    assert first == stored(read_experiment(local).storage)
    assert len(first) == 2 * 3
    assert len(swept(file)[0].finished) == 2  # replayed from the bucket
    assert stored(root) == first
    monkeypatch.setattr("rsrl_ray.analysis.report.folder.write_figures", lambda *_: [])  # they know of no bucket
    assert cli.main(["analyze", str(file), "--out", str(tmp_path / "analysis")]) == 0
    ours, theirs = (tables(where) for where in (file, local))
    assert ours.keys() == theirs.keys()
    for trial, rounds in ours.items():
        for number, table in enumerate(rounds):
            pd.testing.assert_frame_equal(table, theirs[trial][number], check_exact=True)
    held = {item.kind: item.who for item in inventory(read_experiment(file))}
    assert (held["weights"], held["tables of rounds, models"].partition(":")[0]) == (OWN, "MLflow")
    assert held[DECODED] == OWN  # at home
    assert cli.main(["prune", str(file), "--yes"]) == 0
    assert stored(root) == first
    fewer = KNOBS | {"schedules": {"none": {1: 0.0}}}
    experiment_file(name="bucket", storage=root, mlflow=f"sqlite:///{tmp_path}/mlflow.db", **fewer)
    assert cli.main(["prune", str(file), "--yes"]) == 0
    names = Storage(root).list("rounds")
    assert [sum(name.endswith(f"{part}.safetensors") for name in names) for part in ("weights", "record")] == [2, 3]


@pytest.mark.usefixtures("ray_session")
def test_a_bucket_that_answers_503_for_a_while_costs_nothing_but_time(
    experiment_file: Callable[..., Path], local: Path, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{proxy.target}")
    root = place(proxy.server_port, "refused")
    file = experiment_file(name="refused", storage=root, mlflow=f"sqlite:///{tmp_path}/mlflow.db", **KNOBS)

    def refuse_for_a_while() -> None:
        proxy.refuses = 30  # arrow asks 10 times itself

    at_first_result(monkeypatch, refuse_for_a_while)
    outcome, _ = swept(file)
    assert proxy.refuses == 0
    assert (len(outcome.finished), outcome.failed) == (2, {})
    assert stored(place(proxy.target, "refused")) == stored(read_experiment(local).storage)
