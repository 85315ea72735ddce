"""A Ray of several nodes on this machine."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from ray.cluster_utils import Cluster
from sweep.sweeping import Gate


@contextlib.contextmanager
def nodes_of_this_machine(gate: Gate, **head: Any) -> Iterator[Cluster]:
    """A Ray of several nodes, which are processes of this machine, apart from all other Rays."""
    with (
        tempfile.TemporaryDirectory(prefix="rsrl-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in {**gate.environment, "RAY_TMPDIR": folder}.items():
            patch.setenv(name, value)
        patch.setattr(sys, "executable", os.environ["RSRL_PYTHON"])
        nodes = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **head})
        try:
            yield nodes
        finally:
            nodes.shutdown()


def node(name: str, cpus: float = 1.0, alive: bool = True) -> dict[str, Any]:
    """As `ray.nodes` tells of one."""
    where = {"NodeManagerHostname": f"host-{name}", "NodeManagerAddress": "192.0.2.1"}
    return {"NodeID": name, "Alive": alive, "Resources": {"CPU": cpus}, **where}


def process(node: Any, kind: str) -> psutil.Process:
    """A node's raylet or gcs_server."""
    return psutil.Process(node.all_processes[kind][0].process.pid)
