"""`ray up` for real, on three hosts of this machine: a sweep over all of them, of which one dies in a round.

What is run on the hosts is what cluster.yaml says, word for word: `on_hosts` swaps provider, addresses and storage. Not
shown here: the installation itself, since the hosts find the tests' virtual environment in their home.
"""

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.hosts import Hosts, lacking, three_hosts
from conftest import write_experiment
from sweep.servers import logged
from sweep.sweeping import Gate

ROOT = Path(__file__).parents[2]
REASON = lacking()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(REASON), reason=f"no `ray up` on hosts of this machine: {REASON}"),
]

ROUND_2 = {  # all hosts wait there, the head too: else it may train all that there is before another host begins
    "rsrl_ray.vision.trainer": """
fit_together = gate(fit_together, lambda *learn: learn[-1] == 2, os.uname().nodename)
"""
}


STAYS_HERE = (  # secrets, results, environments and what else lies in a checkout
    ".env",
    ".git/config",
    "any-name/pyvenv.cfg",
    "any-name/lib/python3.11/site-packages/large.py",
    "results/mlflow.db",
    "rsrl-demo/photos.csv",
    "notes.txt",
    "data/.DS_Store",
    "experiments/.env",
    "experiments/results/mlflow.db",
    "experiments/env/pyvenv.cfg",
    "experiments/env/lib/python3.11/site-packages/large.py",
    "rsrl_ray/cli/__pycache__/main.pyc",
)


def checkout(folder: Path) -> Path:
    """A copy of this project as somebody works in it, with photos and all that no node needs."""
    ignored = shutil.ignore_patterns("__pycache__", "results", ".*")
    for part in ("rsrl_ray", "experiments"):
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, folder)
    for name in ("data/photos.csv", *STAYS_HERE):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("not for everybody")
    return folder


def on_hosts(config: dict[str, Any], hosts: Hosts, storage: Path) -> dict[str, Any]:
    """cluster.yaml for machines that are there already; this is all that differs."""
    head, *workers = hosts.addresses
    del config["available_node_types"], config["head_node_type"]
    config["cluster_name"] = hosts.name
    config["provider"] = {"type": "local", "head_ip": head, "worker_ips": workers}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.key)}
    config["max_workers"] = len(workers)
    commands = config["head_start_ray_commands"]
    config["head_start_ray_commands"] = [command.replace("s3://my-bucket/rsrl", str(storage)) for command in commands]
    return config


@dataclass
class Cluster:
    """The cluster as its user has it: a laptop, a file."""

    hosts: Hosts
    project: Path
    file: Path
    storage: Path
    gate: Gate

    def environment(self, **changes: str) -> dict[str, str]:
        """Of the laptop: a home of its own, no Ray of this machine's, and the autoscaler that local hosts need."""
        names = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        own = {"HOME": str(self.file.parent / "laptop"), "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}"}
        return names | own | {"RAY_UP_enable_autoscaler_v2": "0"} | changes

    def run(self, *command: str, timeout: float = 120, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the laptop, in the project's folder."""
        return subprocess.run(
            self.hosts.on_laptop(*command),
            env=self.environment(**changes),
            cwd=self.project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def done(self, *command: str, timeout: float = 120) -> str:
        """Run a command that must not fail; what it printed."""
        ended = self.run(*command, timeout=timeout)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three hosts that `ray up` has made a cluster of."""
    folder = tmp_path_factory.mktemp("cluster")
    gate = Gate(folder, ROUND_2)
    with three_hosts(folder, gate.environment) as hosts:

        def has_raylet(host: str) -> bool:
            return any("raylet" in line for line in hosts.processes(host))

        cluster = Cluster(hosts, checkout(folder / "project"), folder / "cluster.yaml", folder / "storage", gate)
        config = on_hosts(yaml.safe_load((ROOT / "cluster.yaml").read_text()), hosts, cluster.storage)
        cluster.file.write_text(yaml.safe_dump(config))
        (folder / "laptop").mkdir()
        cluster.done("ray", "get-auth-token", "--generate")
        cluster.done("ray", "up", "-y", str(cluster.file))
        wait_until("each host has a raylet", 300, lambda: all(map(has_raylet, hosts.addresses)))
        try:
            yield cluster
        finally:
            down = cluster.run("ray", "down", "-y", str(cluster.file))
            for left in Path("/tmp/ray").glob(f"cluster-{hosts.name}.*"):
                left.unlink()
        assert down.returncode == 0, down.stdout
        assert "No nodes remaining" in down.stdout
        assert not has_raylet(hosts.addresses[0])


def wait_until(what: str, seconds: float, holds: Any) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.1)


def test_nodes_get_the_project_and_the_photos_and_nothing_else_of_the_folder(cluster: Cluster) -> None:
    def files(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    wanted = files(cluster.project) - set(STAYS_HERE)
    assert "data/photos.csv" in wanted and "rsrl_ray/cli/main.py" in wanted and "experiments/quickstart.yaml" in wanted
    for host in cluster.hosts.addresses:  # the head's come from the laptop, the workers' from the head
        assert files(cluster.hosts.home(host) / "rsrl_ray") == wanted


def test_nobody_gets_in_without_the_token(cluster: Cluster, tmp_path: Path) -> None:
    ask = ("ray", "status", "--address", f"{cluster.hosts.addresses[0]}:6379")
    asked = functools.partial(cluster.run, *ask, RAY_AUTH_MODE="token")
    wait_until("three nodes are active", 300, lambda: "3 local.cluster.node" in asked().stdout)
    no_token = cluster.run(*ask, HOME=str(tmp_path))
    wrong = cluster.run(*ask, HOME=str(tmp_path), RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
    for ended in (no_token, wrong):
        assert ended.returncode != 0
        assert "InvalidAuthToken: Authentication token is missing or incorrect" in ended.stderr
        assert "local.cluster.node" not in ended.stdout


def test_mlflow_and_the_dashboard_are_reached_through_ssh_alone(cluster: Cluster) -> None:
    head, pages = cluster.hosts.addresses[0], {5000: "/health", 8265: "/"}

    def answers(host: str, port: int) -> bool:
        code = f"import urllib.request; urllib.request.urlopen('http://{host}:{port}{pages[port]}', timeout=5)"
        return cluster.run(sys.executable, "-c", code).returncode == 0

    command = ["ray", "attach", str(cluster.file), "-p", "5000", "-p", "8265"]
    attached = subprocess.Popen(
        cluster.hosts.on_laptop(*command),
        env=cluster.environment(),
        cwd=cluster.project,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for port in pages:
            wait_until(f"port {port} answers through ssh", 60, lambda port=port: answers("127.0.0.1", port))
            assert not answers(head, port)
    finally:
        attached.communicate(b"exit\n", timeout=30)


def test_a_host_dies_in_the_middle_of_a_round_and_the_bits_are_those_of_one_node(
    cluster: Cluster, photos_csv: Path, tmp_path: Path
) -> None:
    file = write_experiment(
        tmp_path,
        photos_csv,
        storage=str(cluster.storage),
        mlflow="http://127.0.0.1:5000",
        folds={"count": 2, "validation": 0.2},
        rounds=3,
        network={"backbone": "small", "weights": "none", "image_size": 64},
        training={"epochs": 5, "batch_size": 16, "learning_rate": 0.01, "head_factor": 1, "precision": "fp32"},
        schedules={"firm": {1: 0.9}, "none": {1: 0.0}},
        resources={"cpus": os.cpu_count()},  # one trial a host
    )
    printed, ended = tmp_path / "printed", tmp_path / "ended"
    sweep = f"rsrl sweep {file} > {printed} 2>&1; echo $? > {ended}"
    cluster.done("ray", "exec", str(cluster.file), "--tmux", sweep)

    def workers_in_round_2() -> list[str]:
        assert not ended.exists(), printed.read_text()
        waiting = [f"{cluster.hosts.subnet}.{name.rpartition('-')[2]}" for name in cluster.gate.names()]
        return [host for host in waiting if host != cluster.hosts.addresses[0]]

    wait_until("a worker is in round 2", 600, workers_in_round_2)
    cluster.hosts.kill(workers_in_round_2()[0])
    cluster.gate.open()
    with contextlib.suppress(AssertionError):
        wait_until("the sweep has ended", 600, ended.exists)
    assert ended.exists() and ended.read_text() == "0\n", printed.read_text()
    assert "started again" in printed.read_text()

    alone = tmp_path / "alone"
    words = ["sweep", str(file), "--storage", str(alone), "--mlflow", f"sqlite:///{alone}/mlflow.db"]
    command = [os.environ["RSRL_PYTHON"], "-m", "rsrl_ray.cli", *words]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    assert len(bits(alone)) == 2 * len(list(alone.glob("rounds/*/*/manifest.json"))) >= 2 * 2 * (3 + 1)
    assert bits(cluster.storage) == bits(alone)
    ours, theirs = (logged(f"sqlite:///{storage}/mlflow.db", "tiny") for storage in (cluster.storage, alone))
    assert ours == theirs


def bits(storage: Path) -> dict[str, bytes]:
    """Logits, kept masks, weights: every byte of every round that is done."""
    done = [manifest.parent for manifest in sorted(storage.glob("rounds/*/*/manifest.json"))]
    return {f"{folder.name}/{path.name}": path.read_bytes() for folder in done for path in folder.glob("*.safetensors")}
