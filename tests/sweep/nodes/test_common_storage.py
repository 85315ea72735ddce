"""Notes in storage between processes that may see different folders at one path; over real nodes: test_cluster.py."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.store.storage import Note, StorageError, probe_storage
from rsrl_ray.sweep.nodes import common_storage
from rsrl_ray.sweep.nodes.common_storage import check_here, check_nodes

Folders = dict[str, Path]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """What the nodes see at the path of the storage; this process is the driver, on the node ``head``."""
    folders = {"head": tmp_path / "results"}

    def at(node: str, function: Callable[..., Any], note: Note, *more: Any) -> Any:
        return function(replace(note, root=str(folders[node])), *more)

    def nodes() -> list[dict[str, Any]]:
        there = [("10.0.0.1", "head"), *((f"10.0.0.{9 - n}", name) for n, name in enumerate(folders) if name != "head")]
        return [
            {
                "NodeID": name,
                "NodeManagerHostname": f"host-{name}",
                "NodeManagerAddress": address,
                "Alive": True,
                "Resources": {"CPU": 2.0},
            }
            for address, name in there
        ]

    context = SimpleNamespace(get_node_id=lambda: "head")
    monkeypatch.setattr(common_storage.ray, "nodes", nodes)
    monkeypatch.setattr(common_storage.ray, "get", lambda found: found)
    monkeypatch.setattr(common_storage.ray, "wait", lambda asked, **_: (asked, []))
    monkeypatch.setattr(common_storage.ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(common_storage, "called_on", at)
    monkeypatch.setattr(common_storage, "SEEN_S", 0.0)
    probe_storage(str(folders["head"]))
    return folders


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_nodes_that_share_a_folder_leave_nothing_in_it(
    folders: Folders, experiment_file: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "mounted").symlink_to(folders["head"])
    folders["other"] = tmp_path / "mounted"
    check_nodes(read_experiment(experiment_file()))
    assert files(folders["head"]) == []


def test_nodes_with_folders_of_their_own_are_all_named_with_what_to_do(
    folders: Folders, experiment_file: Callable[..., Path], tmp_path: Path
) -> None:
    folders |= {"own": tmp_path / "own", "none": tmp_path / "none"}
    probe_storage(str(folders["own"]))
    with pytest.raises(ValueError) as refused:
        check_nodes(read_experiment(experiment_file()))
    assert str(refused.value) == (
        f"storage: the driver does not see what host-own (10.0.0.8) writes to {folders['head']}; "
        f"host-none (10.0.0.7) cannot write to {folders['head']} (No such file or directory); "
        "give a folder that all nodes share, or a bucket (s3://..., gs://...)"
    )
    assert not folders["none"].exists()
    assert files(tmp_path) == [tmp_path / "tiny.yaml"]


def test_a_node_that_comes_later_sets_up_no_trial_where_its_folder_is_another_one(
    folders: Folders, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    check_here(str(folders["head"]), "head")  # the driver's node
    folders["driver"] = here
    probe_storage(str(here))
    check_here(str(here), "driver")
    with pytest.raises(StorageError, match=r"^storage: host-head \(10.0.0.1\) cannot write to .*nowhere \(No"):
        check_here(str(tmp_path / "nowhere"), "driver")
    with pytest.raises(StorageError, match=r"^storage: the driver does not see what host-head .* writes to .*; give a"):
        check_here(str(folders["head"]), "driver")
    assert files(tmp_path) == []
    check_here("s3://bucket/rsrl", "driver")  # the same one from everywhere


def test_of_many_nodes_three_are_named() -> None:
    said = common_storage._refusal("s3://key:secret@b/rsrl", {f"10.0.0.{n}": "ACCESS_DENIED" for n in range(5)})
    assert said == (
        "storage: 10.0.0.0, 10.0.0.1, 10.0.0.2 and 2 more cannot write to s3://***@b/rsrl (ACCESS_DENIED); "
        "give every node the right to write there"
    )
