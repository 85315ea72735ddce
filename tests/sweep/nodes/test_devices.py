"""A device is known by what it makes of a probe: the first of a name is noted, others have theirs in their name."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweep.reports import six_photos

from rsrl_ray import identity
from rsrl_ray.config import Experiment, Network, Revision, Training
from rsrl_ray.core.folds import Fold
from rsrl_ray.core.trial import Device
from rsrl_ray.identity import round_key
from rsrl_ray.learning import Learning
from rsrl_ray.store.archive import Archive, Record
from rsrl_ray.store.storage import Storage
from rsrl_ray.sweep import task as task_module
from rsrl_ray.sweep.nodes import devices as module
from rsrl_ray.sweep.nodes.devices import device_here
from rsrl_ray.sweep.task import Task
from rsrl_ray.sweep.trial.trainers import NetworkTrainers
from rsrl_ray.vision.memory import OutOfMemory
from rsrl_ray.vision.network import starting_weights

KIND = "cpu-AVX2"
FOLD = Fold(0, np.arange(4), np.arange(4, 5), np.arange(5, 6))
ONE, TWO = 32 * "1", 32 * "2"
TOLD = (f"the archive has rounds of {KIND} that do not say which machine made them: this one is assumed",)
On = Callable[..., Device]


@pytest.fixture
def task(tmp_path: Path) -> Task:
    experiment = Experiment(
        "a", "photos.csv", {"firm": {1: 0.9}}, storage=str(tmp_path / "results"), revision=Revision(majority_classes=1)
    )
    photos = six_photos(tmp_path)
    return Task(experiment, photos, [FOLD], {"w": np.zeros(1)}, "07", NetworkTrainers)


@pytest.fixture
def on(task: Task, monkeypatch: pytest.MonkeyPatch) -> On:
    """The device of a new process on a machine that makes this of the probe."""
    monkeypatch.setattr(module, "device_kind", lambda device: KIND)
    monkeypatch.setattr(module, "_KNOWN", {})

    def device(made: str, of: Task = task, machine: str = "") -> Device:
        module._KNOWN.clear()
        monkeypatch.setattr(module, "probe", lambda *network: made)
        monkeypatch.setattr(module, "machine", lambda device: machine)
        return device_here(of)

    return device


def notes(task: Task) -> list[Path]:
    return sorted(Path(task.experiment.storage, "rounds", "devices").glob("*.json"))


def first_round(task: Task, probe: str = "") -> None:
    """In the archive, as a device of the plain name has made it."""
    kept, made = np.arange(6) < 4, np.zeros((6, 2), np.float32)
    key = round_key(task.start_key(FOLD, Learning(), KIND), kept, 1)
    Archive(task.experiment.storage).write(key, Record(1, made, kept, {}, "one", 1.0, 2.0, "", probe=probe), {})


def test_the_first_device_of_a_name_has_the_plain_name_and_another_one_its_probe(task: Task, on: On) -> None:
    assert on(ONE) == Device(KIND, ONE)
    (note,) = notes(task)
    assert json.loads(note.read_text())["probe"] == ONE and json.loads(note.read_text())["device"] == KIND
    assert on(TWO) == Device(f"{KIND}-probe=222222222222", TWO)
    assert on(ONE) == Device(KIND, ONE)
    assert json.loads(note.read_text())["probe"] == ONE


def test_of_two_devices_that_race_for_the_note_the_second_reads_the_first_ones(
    task: Task, on: On, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_first = Storage.write_first

    def late(storage: Storage, path: str, content: bytes) -> bool:
        assert write_first(storage, path, json.dumps({"probe": TWO}).encode())
        return write_first(storage, path, content)

    monkeypatch.setattr(Storage, "write_first", late)
    assert on(ONE).kind == f"{KIND}-probe=111111111111"


def test_rounds_of_before_are_taken_for_the_first_machines_and_a_line_says_so(task: Task, on: On) -> None:
    first_round(task)
    assert on(ONE) == Device(KIND, ONE, TOLD)
    assert device_here(task) == Device(KIND, ONE)  # it is said once
    assert on(ONE) == Device(KIND, ONE)
    assert on(TWO).remarks == ()


def test_of_rounds_that_tell_their_machine_nothing_need_be_said(task: Task, on: On) -> None:
    first_round(task, probe=ONE)
    assert on(TWO) == Device(KIND, TWO)  # the note was deleted: the round is trained again, see `CachedLearner`


@pytest.mark.parametrize("damage", [b"", b"[]", b"{", b"\xff"])
def test_a_damaged_note_is_said_and_written_anew(task: Task, on: On, damage: bytes) -> None:
    on(ONE)
    (note,) = notes(task)
    note.write_bytes(damage)
    assert on(TWO) == Device(KIND, TWO, (f"{note} was damaged and is written again, for this machine",))
    assert on(ONE).kind == f"{KIND}-probe=111111111111"


def test_a_probe_is_of_the_network_and_of_how_it_is_computed_and_of_nothing_else(
    task: Task, on: On, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_(**knobs: Any) -> Task:
        return replace(task, experiment=replace(task.experiment, **knobs))

    on(ONE)
    for other in (
        with_(rounds=3, name="b", schedules={"soft": {1: 0.1}}),
        with_(training=Training(epochs=1, learning_rate=1.0, augmentation=["flip"])),
        with_(network=Network(weights="elsewhere.pt")),
    ):
        on(ONE, other)
    assert len(notes(task)) == 1
    for other in (
        with_(training=Training(threads=2)),
        with_(training=Training(batch_size=8)),
        with_(training=Training(precision="fp32")),
        with_(training=Training(trainable="head")),
        with_(network=Network("resnet18")),
        with_(network=Network(image_size=64)),
        replace(task, start_digest="08"),
    ):
        assert on(TWO, other) == Device(KIND, TWO)
    assert len(notes(task)) == 8
    monkeypatch.setattr(identity, "ARITHMETIC", 2)
    assert on(TWO) == Device(KIND, TWO)
    monkeypatch.setattr(task_module, "versions", lambda backbone: ["3.0", "1.0"])
    assert on(ONE) == Device(KIND, ONE)


def test_a_machine_is_tried_once_until_it_is_started_again(task: Task, on: On) -> None:
    assert on(ONE, machine="a") == Device(KIND, ONE)
    assert on(TWO, machine="a") == Device(KIND, ONE)  # another process of it, which tries nothing
    assert on(TWO, machine="b") == Device(f"{KIND}-probe=222222222222", TWO)
    (known,) = Path(task.experiment.storage, "probes").glob("*-on-a")
    known.write_text("damaged")
    assert on(ONE, machine="a") == Device(KIND, ONE)
    assert known.read_text() == ONE


def test_the_trainers_of_a_process_say_what_their_device_is(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a real probe; where that fails they say why for every trial, and go on where it does not any more."""
    network, training = Network("small", "none", 32), Training(precision="fp32")
    start = starting_weights(network, 2, [0]).weights
    task = replace(task, experiment=replace(task.experiment, network=network, training=training), start=start)
    inner, full = module.probe, [True, True]

    def probe(*what: Any) -> str:
        if full:
            full.pop()
            raise OutOfMemory("CUDA out of memory.")
        return inner(*what)

    monkeypatch.setattr(module, "_KNOWN", {})
    monkeypatch.setattr(module, "probe", probe)
    monkeypatch.setattr("rsrl_ray.sweep.trial.trainers.pixels_here", lambda *photos: np.zeros((6, 32, 32, 3), np.uint8))
    kind = module.device_kind("cpu")
    trainers = NetworkTrainers(task)
    with pytest.raises(OutOfMemory):
        trainers(FOLD, Learning())
    found = trainers(FOLD, Learning()).device
    assert (found.kind, len(found.probe), found.remarks) == (kind, 32, ())
    assert NetworkTrainers(task)(FOLD, Learning()).device == found
