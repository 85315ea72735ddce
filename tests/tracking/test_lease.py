"""One sweep at a time writes to an MLflow experiment."""

import contextlib
import os
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mlflow import MlflowClient

from rsrl_ray.store.processes import is_alive, process
from rsrl_ray.tracking import lease, write
from rsrl_ray.tracking.entries import SweepRun
from rsrl_ray.tracking.lease import Lease
from rsrl_ray.tracking.write import Tracker

HERE = socket.gethostname()
BOOT = process().split(":")[2]
LIVES, UNKNOWN, DEAD = f"{HERE}:{os.getppid()}:a", "far-away:1:a", f"{HERE}:999999999:a"
INSIDE = f"{HERE}:999999999:{BOOT}:1:5:a"  # in a container of the same host name
SWEEP = SweepRun("one", {}, "", {}, {})


@pytest.fixture
def client(tmp_path: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")


def tags(client: MlflowClient, experiment: str) -> dict[str, str]:
    return dict(client.get_experiment(experiment).tags)


def held(client: MlflowClient, experiment: str) -> str:
    return tags(client, experiment).get("rsrl.lease", "")


def nobody(holder: str) -> bool:
    """What a sweep that takes over says of who may live."""
    return False


def test_who_holds_it_and_how_it_is_taken_over(client: MlflowClient) -> None:
    experiment = client.create_experiment("tiny")
    said = {LIVES: LIVES[:-2], UNKNOWN: UNKNOWN[:-2], INSIDE: f"{HERE}:999999999 in another container"}
    for holder, words in said.items():
        client.set_experiment_tag(experiment, "rsrl.lease", holder)
        with pytest.raises(ValueError, match=rf"\({words}\).*crashed: rsrl sweep FILE --take_over"):
            Lease(client, experiment).take()
        assert tags(client, experiment) == {"rsrl.lease": holder}
    lost = Lease(client, experiment, nobody)
    lost.take()
    lost.take()
    assert held(client, experiment).startswith(f"{process()}:")
    client.set_experiment_tag(experiment, "rsrl.lease", UNKNOWN)  # somebody else takes it over
    with pytest.raises(ValueError, match="far-away"):
        lost.take()
    lost.release()
    assert held(client, experiment) == UNKNOWN
    client.set_experiment_tag(experiment, "rsrl.lease", DEAD)
    after = Lease(client, experiment)
    after.take()
    after.release()
    assert tags(client, experiment) == {}


def test_a_container_that_was_started_again_goes_on_where_a_lock_says_that_the_one_before_is_gone(
    client: MlflowClient,
) -> None:
    experiment = client.create_experiment("tiny")
    client.set_experiment_tag(experiment, "rsrl.lease", INSIDE)
    Lease(client, experiment, partial(is_alive, unseen=False)).take()
    assert held(client, experiment).startswith(process())


class Slow:
    """A client before whose call number ``at`` others do something."""

    def __init__(self, client: MlflowClient, at: int, meanwhile: Callable[[], None]) -> None:
        self._client, self._at, self._meanwhile = client, at, meanwhile
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        def call(*words: str) -> Any:
            self.calls += 1
            if self.calls == self._at:
                self._meanwhile()
            return getattr(self._client, name)(*words)

        return call


@pytest.mark.parametrize("numbers", ["12", "21"])
def test_of_two_that_ask_at_once_one_has_it_however_slow_the_other_is(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, numbers: str
) -> None:
    monkeypatch.setattr(lease, "CLAIM_WAIT_S", 0)

    def asks(who: str, client: object, number: str) -> None:
        with monkeypatch.context() as patch, contextlib.suppress(ValueError):  # it may be refused
            patch.setattr(lease, "process", lambda: f"{who}:1")
            patch.setattr(lease, "uuid", SimpleNamespace(uuid4=lambda: SimpleNamespace(hex=number)))
            Lease(cast(MlflowClient, client), experiment).take()
            taken.append(who)

    for at in range(1, 20):
        experiment, taken = client.create_experiment(f"tiny {at}"), list[str]()
        slow = Slow(client, at, lambda: asks("quick", client, numbers[1]))
        asks("slow", slow, numbers[0])
        assert len(taken) == 1, (at, taken)
        assert tags(client, experiment) == {"rsrl.lease": f"{taken[0]}:1:{numbers['quick' in taken]}"}
        if slow.calls < at:  # it has taken it before the other one came
            break
    assert 5 < at < 19


def test_of_those_that_ask_the_first_by_name_stays_and_what_the_dead_have_left_is_taken_away(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = client.create_experiment("tiny")
    client.set_experiment_tag(experiment, "rsrl.lease.claim.0", DEAD)
    client.set_experiment_tag(experiment, "rsrl.lease.claim.-", UNKNOWN)  # before any hexadecimal number
    with pytest.raises(ValueError, match="far-away"):
        Lease(client, experiment).take()
    assert tags(client, experiment) == {"rsrl.lease.claim.-": UNKNOWN}
    client.delete_experiment_tag(experiment, "rsrl.lease.claim.-")
    client.set_experiment_tag(experiment, "rsrl.lease.claim.g", UNKNOWN)  # behind any

    def give_way(seconds: float) -> None:
        assert held(client, experiment) == ""
        client.delete_experiment_tag(experiment, "rsrl.lease.claim.g")

    monkeypatch.setattr(lease, "time", SimpleNamespace(sleep=give_way, monotonic=time.monotonic))
    Lease(client, experiment).take()
    assert list(tags(client, experiment)) == ["rsrl.lease"]


@pytest.mark.parametrize("holder", [LIVES, INSIDE], ids=["lives", "inside"])
def test_a_second_sweep_is_refused_before_it_ends_the_first_ones_runs(
    client: MlflowClient, tmp_path: Path, holder: str
) -> None:
    uri = client.tracking_uri
    first = Tracker(uri, "tiny", (tmp_path / "artifacts").as_uri(), print)
    first.open_sweep(SWEEP)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    client.set_experiment_tag(experiment.experiment_id, "rsrl.lease", holder)  # as if by another process
    with pytest.raises(ValueError, match="is being swept by another process"):
        Tracker(uri, "tiny", None, print).open_sweep(SWEEP)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "RUNNING"
    with pytest.raises(ValueError, match="is being swept by another process"):
        first.end_sweep("FINISHED")  # it has lost the experiment
    assert client.get_run(run.info.run_id).info.status == "RUNNING"
    over = Tracker(uri, "tiny", None, print, nobody)
    over.open_sweep(SWEEP)
    over.end_sweep("FINISHED")
    assert held(client, experiment.experiment_id) == ""


def test_who_loses_it_before_the_first_run_makes_none(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        write, "mend", lambda uri, experiment, *_: client.set_experiment_tag(experiment, "rsrl.lease", UNKNOWN)
    )
    with pytest.raises(ValueError, match="is being swept by another process"):
        Tracker(client.tracking_uri, "tiny", (tmp_path / "artifacts").as_uri(), print).open_sweep(SWEEP)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    assert client.search_runs([experiment.experiment_id]) == []
    assert held(client, experiment.experiment_id) == UNKNOWN
