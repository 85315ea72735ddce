"""The Ray that a sweep runs on: one that cannot be joined, and one of several nodes, which share the photos."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
import pytest
import ray
from rich.console import Console
from sweep.ray_nodes import node, nodes_of_this_machine
from sweep.sweeping import KNOBS, Gate, Left, Write, start_driver, swept

from rsrl_ray.display import Silent
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.identity import recipe
from rsrl_ray.photos.decoding import Decoder, decode_photos, read_digests
from rsrl_ray.photos.photo_set import load_photos
from rsrl_ray.sweep.driver.launch import run_sweep
from rsrl_ray.sweep.nodes import cluster, gpus, room
from rsrl_ray.sweep.nodes import photos as shared_photos
from rsrl_ray.terminal import Terminal
from rsrl_ray.vision.memory import Gpu

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("memory", "share"), [(24e9, 0.25), (16e9, 0.25), (13e9, 0.3333), (8e9, 0.5), (4.1e9, 1.0), (2e9, 1.0)]
)
def test_as_many_trials_share_a_gpu_as_it_holds(memory: float, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "A_LITTLE", 0)  # no GPU here: a task of this Ray tells of one
    found = [Gpu("NVIDIA H200", 150 * 10**9, 140 * 10**9), Gpu("Tesla T4", 30 * 10**9, int(memory))]
    monkeypatch.setattr(gpus, "gpus", lambda: found)
    console = Console(file=io.StringIO(), width=300)
    assert gpus.gpu_share(4_000_000_000, Terminal(console)) == share
    assert isinstance(console.file, io.StringIO)
    said = (
        f"trials on a GPU: {round(1 / share)}, because each takes up to 4.0 GB, and the fullest or smallest of 2 GPUs, "
        f"Tesla T4, has {memory / 1e9:.1f} of 30.0 GB free; there are never more than 4"
    )
    assert said in console.file.getvalue()


@pytest.mark.usefixtures("ray_session")
def test_gpus_that_pytorch_does_not_see_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "A_LITTLE", 0)
    monkeypatch.setattr(gpus, "gpus", lambda: [])
    with pytest.raises(ValueError, match=r"^resources\.gpus: auto, but PyTorch sees no GPU, and Ray sees some"):
        gpus.gpu_share(4_000_000_000, Silent())


@pytest.mark.usefixtures("ray_session")
def test_an_automatic_share_needs_a_gpu_and_changes_no_result(experiment_file: Callable[..., Path]) -> None:
    experiment = read_experiment(experiment_file(resources={"gpus": "auto"}))
    assert recipe(experiment) == recipe(read_experiment(experiment_file(resources={"gpus": 0.5})))
    with pytest.raises(ValueError, match=r"^resources\.gpus: auto for a trial, but this machine has 0$"):
        run_sweep(experiment, Terminal(Console(file=io.StringIO())))


def test_a_ray_that_does_not_start_in_time_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(**_: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr(ray, "init", start)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    said = "^Ray did not start: The current node timed out .* run the same command again$"
    with pytest.raises(ValueError, match=said), cluster.quiet_ray(Silent()):
        pass


@pytest.mark.parametrize("joined", [True, False])
def test_whoever_waits_for_a_node_with_room_says_so_every_minute(joined: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [[], [], ["done"]]

    def wait(asked: list[object], timeout: float) -> tuple[list[object], list[object]]:
        assert (asked, timeout) == (["one"], 60)
        return list(answers.pop(0)), []

    monkeypatch.setattr(ray, "wait", wait)
    monkeypatch.setattr(room, "began_ray", lambda: not joined)
    console = Console(file=io.StringIO(), width=200)
    room.wait_for_room(["one"], Terminal(console))
    assert isinstance(console.file, io.StringIO)
    line = "nothing can start: waiting for nodes with room (`ray status` shows what the cluster starts)"
    assert console.file.getvalue().splitlines() == [line] * (2 if joined else 0)


OTHER_NODE = {
    "rsrl_ray.sweep.nodes.photos": "os = type(os)('os'); os.cpu_count = lambda: -2",  # two at a time here
    "rsrl_ray.photos.photo_set": """
if "RSRL_OTHER" in os.environ:  # a node with a disk of its own
    PixelFile = lambda path, *rest, made=PixelFile: made(type(path)(os.environ["RSRL_OTHER"], path.name), *rest)
""",
    "rsrl_ray.photos.decoding": """
def decode_photo(*how, inner=decode_photo):
    with open(f"{LOG}/decoded {'there' if 'RSRL_OTHER' in os.environ else 'here'}", "a") as log:
        log.write("x")
    return inner(*how)


def read_bytes(source, inner=read_bytes):
    if "RSRL_OTHER" in os.environ and "/4-" in source:
        raise ValueError("missing")
    return inner(source)


_PHOTOS_A_TASK = 4
""",
}


def test_photos_are_decoded_once_by_all_nodes_and_held_once_a_node(
    experiment_file: Write, tmp_path: Path, undisturbed: Left
) -> None:
    file, other = experiment_file(**KNOBS), tmp_path / "other"
    decoding = OTHER_NODE["rsrl_ray.photos.decoding"]
    gate = Gate(tmp_path, OTHER_NODE | {"rsrl_ray.photos.decoding": f"LOG = {str(tmp_path)!r}\n{decoding}"})
    with nodes_of_this_machine(gate, num_cpus=0) as nodes:
        nodes.add_node(num_cpus=2, env_vars={"RSRL_OTHER": str(other)})
        driver = start_driver(file, RAY_ADDRESS=nodes.address)
        printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, printed
    assert Left.by(file) == undisturbed
    here, there = (len((tmp_path / f"decoded {where}").read_text()) for where in ("here", "there"))
    assert here + there == 58 and here >= 24 and there >= 4
    (held,), (copied,) = ((tmp_path / folder).glob("*.npy") for folder in ("results/photos", "other"))
    assert held.name == copied.name and held.read_bytes() == copied.read_bytes()


@pytest.mark.usefixtures("ray_session")
def test_what_another_node_does_not_manage_is_done_here(photos_csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, gone = str(photos_csv.parent / "2-0.png"), str(photos_csv.parent / "gone.png")
    there, lost = ray.get_runtime_context().get_node_id(), "ab" * 28
    (expected,) = read_digests([good])
    (found,) = shared_photos._there(there, read_digests, [good]) or [None]
    assert np.array_equal(found, expected)
    assert shared_photos._there(there, read_digests, [good, gone]) is None
    assert shared_photos._there(there, decode_photos, [gone], 8, 0.75, PIL.__version__) is None
    assert shared_photos._there(lost, read_digests, [good]) is None
    monkeypatch.setattr(ray, "nodes", lambda: [node(lost, 3.0), node(there, 3.0), node(lost, 3.0, alive=False)])
    spread = shared_photos.Spread()
    assert spread.threads == min(32, (os.cpu_count() or 1) + 4) + 3
    for _ in range(2 * spread.threads):  # on every place twice
        assert np.array_equal(spread(read_digests, [good])[0], expected)


@pytest.mark.usefixtures("ray_session")
def test_photos_are_decoded_again_where_they_cannot_be_copied(photos_csv: Path, tmp_path: Path) -> None:
    photos = load_photos(photos_csv, Decoder(8), tmp_path)
    before = photos.pixels().copy()
    source = shared_photos.row_source(photos.pixels)
    assert np.array_equal(ray.get(source.rows.remote(range(3, 9))), before[3:9])
    ray.kill(source)
    photos.pixels_path.unlink()
    assert np.array_equal(shared_photos.pixels_here(photos, source), before)


NOT_SHARED = {  # a node with a disk of its own where the others have the storage
    "rsrl_ray.store.storage": """
open_storage = lambda root, inner=open_storage: inner(os.environ.get("RSRL_OTHER", root))
""",
    "rsrl_ray.sweep.nodes.common_storage": "SEEN_S = 0.3",
}


def test_a_sweep_waits_for_nodes_with_room_and_takes_none_that_does_not_share_its_storage(
    experiment_file: Write, tmp_path: Path
) -> None:
    file = experiment_file(**KNOBS, resources={"cpus": 2})
    results, other = tmp_path / "results", tmp_path / "other"
    (other / "rounds").mkdir(parents=True)
    with nodes_of_this_machine(Gate(tmp_path, NOT_SHARED), num_cpus=1) as nodes:
        driver = start_driver(file, RAY_ADDRESS=nodes.address)
        assert driver.stdout is not None
        waits = "no node has 2 CPUs and 0 GPUs for a trial yet: the sweep waits until the cluster has such a node"
        assert any(waits in line for line in driver.stdout)
        nodes.add_node(num_cpus=2, env_vars={"RSRL_OTHER": str(other)})
        unseen = f"({nodes.head_node.node_ip_address}) writes to {results}; give a folder that all nodes share"
        out = "gets no more trials: one could not be set up there: storage: the driver does not see what"
        assert any(out in line and unseen in line for line in driver.stdout)
        driver.kill()
        driver.communicate()
        driver = start_driver(file, RAY_ADDRESS=nodes.address)
        printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 2, printed
    refused = printed.splitlines()[-1]
    assert refused.startswith("rsrl sweep: storage: the driver does not see what ")
    assert refused.endswith(f"{unseen}, or a bucket (s3://..., gs://...)")
    assert not list((results / "rounds").iterdir()) and not list((other / "rounds").iterdir())


def test_a_sweep_for_gpus_waits_for_nodes_that_have_them_and_says_so_and_a_stranger_is_refused(
    experiment_file: Write, tmp_path: Path
) -> None:
    file, stranger = experiment_file(resources={"gpus": 0.5}), tmp_path / ".ray" / "auth_token"
    stranger.parent.mkdir()
    stranger.write_text("ab" * 32)
    open_to_all = Gate(tmp_path, {})
    open_to_all.environment["RAY_AUTH_MODE"] = "disabled"
    with nodes_of_this_machine(open_to_all, num_cpus=1) as nodes:  # its address is now in Ray's folder
        address, driver = nodes.address, start_driver(file)
        assert driver.stdout is not None
        said = [next(driver.stdout).strip(), next(driver.stdout).strip()]
        driver.kill()
        driver.communicate()
        driver = start_driver(file, RAY_AUTH_MODE="token", HOME=str(tmp_path))
        refused = driver.communicate(timeout=100)[0]
    assert said[0] == f"Ray at {address} (joined): 1 node, 1 CPUs, 0 GPUs"
    assert said[1].startswith(
        "no node has 1 CPUs and 0.5 GPUs for a trial yet: the sweep waits until the cluster has such a node"
    )
    assert refused.startswith(f"rsrl sweep: Ray at {address}, the one that `ray start` began here, was begun ")


LARGE = KNOBS | {
    "rounds": 1,
    "schedules": {"none": {1: 0.0}},
    "network": {"backbone": "alexnet", "weights": "none", "image_size": 64},
    "training": {**KNOBS["training"], "epochs": 1},
}


def test_a_network_three_times_as_large_as_the_object_store(
    experiment_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_local_fs_capacity_threshold", "0.999")  # the store spills, however full this disk is
    ample, small = experiment_file(name="ample", storage="ample", **LARGE), experiment_file(**LARGE)
    assert len(swept(ample)[0].finished) == 1
    with nodes_of_this_machine(Gate(tmp_path, {}), num_cpus=2, object_store_memory=80_000_000) as nodes:
        driver = start_driver(small, RAY_ADDRESS=nodes.address)
        printed = driver.communicate(timeout=300)[0]
    assert driver.returncode == 0, printed
    left = Left.by(small).archive
    assert left == Left.by(ample).archive
    assert max(map(len, left.values())) > 220_000_000  # the weights, with which every trial starts


def test_a_store_without_room_beside_a_full_disk_is_one_line(
    experiment_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_local_fs_capacity_threshold", "0")  # every disk is full
    file = experiment_file(**LARGE)
    with nodes_of_this_machine(Gate(tmp_path, {}), num_cpus=2, object_store_memory=80_000_000) as nodes:
        driver = start_driver(file, RAY_ADDRESS=nodes.address)
        printed = driver.communicate(timeout=300)[0]
    assert driver.returncode == 2
    assert "Traceback" not in printed
    assert "rsrl sweep: Ray has no room for what every trial starts with: its object store is full" in printed
