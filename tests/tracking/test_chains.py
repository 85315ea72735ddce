"""Which of a trial's chains of rounds is the trial, in a real SQLite store: the one that was taken up last."""

from pathlib import Path

import pytest
from conftest import put_database
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run, RunData, RunInfo, RunTag

from rsrl_ray.core.trial import Link, Origin, TrialKey
from rsrl_ray.tracking.chains import newest, newest_of_methods, place_tags
from rsrl_ray.tracking.entries import BestSoFar, Round, SweepRun, Trial
from rsrl_ray.tracking.read import TrackedResults
from rsrl_ray.tracking.write import Tracker

TRIAL = Trial("id-0", TrialKey(0, "paper"), {})


class Store:
    """A store with one sweep of one trial, whose run is named ``paper, fold 0`` for device a and ``... 2`` for b."""

    def __init__(self, folder: Path) -> None:
        put_database(folder / "mlflow.db")
        self.uri, self.artifacts = f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri()
        self.client = MlflowClient(self.uri)

    def open(self) -> Tracker:
        """Take the sweep up, as a new driver does."""
        tracker = Tracker(self.uri, "photos", self.artifacts, lambda line: None)
        tracker.open_sweep(SweepRun("sweep", {}, "", {}, {}, {TRIAL.id: TRIAL.key}, rounds=6))
        return tracker

    def read(self) -> tuple[str, int]:
        """The device of the trial as readers find it, and how many rounds it has."""
        results = TrackedResults(self.uri, "photos", self.artifacts, "no results")
        (run,) = results.trial_runs(results.sweep_runs()[0])
        return run.tags["rsrl.device"], run.rounds

    def runs(self) -> dict[str, Run]:
        """The trial's runs by device."""
        experiment = self.client.get_experiment_by_name("photos")
        assert experiment is not None
        found = self.client.search_runs([experiment.experiment_id], f"tags.`rsrl.trial` = '{TRIAL.id}'")
        return {run.data.tags["rsrl.device"]: run for run in found}

    def shown(self) -> dict[str, str]:
        """What the runs say to MLflow's UI, by device."""
        return {device: run.data.tags["rsrl.newest"] for device, run in self.runs().items()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def nothing(folder: Path) -> None:
    """No files."""


def make(tracker: Tracker, device: str, last: int) -> None:
    """The trial runs on a device from its first round on, which is replayed if it is known."""
    origin = Origin(device, device, ())
    rounds = [
        Round(number, {}, "", Link(f"{device}{number}"), 1.0, nothing, BestSoFar(number, 1.0, {"round": number}))
        for number in range(1, last + 1)
    ]
    for done in range(1, last + 1):
        logged = tracker.take_up(TRIAL, [one.link for one in rounds[:done]], origin)
        if logged < done:
            tracker.log_rounds(TRIAL, rounds[logged:done])


def test_there_and_back_within_one_opening(store: Store) -> None:
    tracker = store.open()
    make(tracker, "a", 4)
    make(tracker, "b", 2)
    assert (store.read(), store.shown()) == (("b", 2), {"a": "no", "b": "yes"})
    make(tracker, "a", 6)
    tracker.end_trial(TRIAL, "FINISHED")
    tracker.end_sweep("FINISHED")
    assert {device: run.info.status for device, run in store.runs().items()} == {"a": "FINISHED", "b": "KILLED"}
    for _ in range(2):  # also when the sweep is opened again
        assert (store.read(), store.shown()) == (("a", 6), {"a": "yes", "b": "no"})
        tracker = store.open()
        tracker.summary.log(["paper"])
        assert store.client.get_run(tracker.parent.run.info.run_id).data.metrics["chosen/paper/round_mean"] == 6
    make(tracker, "b", 3)
    assert (store.read(), store.shown()) == (("b", 3), {"a": "no", "b": "yes"})


def test_a_store_that_did_not_count_is_read_by_what_ended_last(store: Store) -> None:
    tracker = store.open()
    make(tracker, "a", 4)
    make(tracker, "b", 2)
    make(tracker, "a", 6)
    tracker.end_trial(TRIAL, "FINISHED")
    for device, run in store.runs().items():  # as versions without the count left it when they opened it again
        store.client.delete_tag(run.info.run_id, "rsrl.taken_up")
        store.client.set_tag(run.info.run_id, "rsrl.newest", {"a": "no", "b": "yes"}[device])
    assert store.read() == ("a", 6)
    tracker = store.open()
    assert store.shown() == {"a": "yes", "b": "no"}
    make(tracker, "b", 1)
    make(tracker, "a", 1)
    make(tracker, "b", 3)
    assert (store.read(), store.shown()) == (("b", 3), {"a": "no", "b": "yes"})


def test_a_run_that_is_deleted_or_restored_keeps_its_place(store: Store) -> None:
    tracker = store.open()
    make(tracker, "a", 1)
    make(tracker, "b", 2)
    make(tracker, "a", 3)
    runs = {device: run.info.run_id for device, run in store.runs().items()}
    store.client.delete_run(runs["a"])
    assert store.read() == ("b", 2)
    store.client.restore_run(runs["a"])
    assert store.read() == ("a", 3)
    make(tracker, "b", 2)
    store.client.delete_run(runs["b"])
    make(store.open(), "a", 3)
    store.client.restore_run(runs["b"])
    assert store.read() == ("a", 3)


def run(name: str, trial: str, fold: int = 0, method: str = "paper", **said: int) -> Run:
    """A run as MLflow has it; ``said``: opened, taken_up, started, ended (none: it goes on)."""
    started, ended = said.pop("started", 1), said.pop("ended", None)
    status = "RUNNING" if ended is None else "KILLED"
    info = RunInfo(name, "0", "me", status, started, ended, LifecycleStage.ACTIVE)
    tags = {"rsrl.trial": trial, "fold": str(fold), "method": method}
    tags |= {f"rsrl.{tag}": str(value) for tag, value in said.items()}
    return Run(info, RunData(tags=[RunTag(key, value) for key, value in tags.items()]))


def names(found: list[Run]) -> list[str]:
    return [one.info.run_id for one in found]


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ({"opened": 1, "ended": 9}, {"opened": 2, "ended": 5}),  # the clock was set back
        ({"opened": 1, "taken_up": 2, "started": 5}, {"opened": 1, "taken_up": 3, "started": 1, "ended": 3}),
        (
            {"opened": 2, "taken_up": 3, "ended": 5},
            {"opened": 3, "taken_up": 1, "ended": 4},
        ),  # then by an older version
        ({"opened": 1, "started": 2, "ended": 5}, {"opened": 1, "started": 1, "ended": 6}),
        ({"opened": 1, "started": 2, "ended": 5}, {"opened": 1, "started": 1}),
        ({"started": 1, "ended": 5}, {"started": 2, "ended": 5}),
    ],
)
def test_the_order_in_which_chains_were_taken_up(first: dict[str, int], last: dict[str, int]) -> None:
    both = [run("first", "id-0", **first), run("last", "id-0", **last)]
    for order in (both, both[::-1]):
        assert names(newest(order)) == ["last"]
    tags = place_tags(both, 7)
    assert int(tags["rsrl.taken_up"]) == 1 + max(said.get("taken_up", 0) for said in (first, last))


def test_a_method_that_was_redefined_is_what_the_file_says_it_is() -> None:
    runs = [
        run("old", "paper-0.9", opened=1, taken_up=1, ended=1),
        run("new", "paper-0.5", opened=2, taken_up=1, ended=2),
        run("new, elsewhere", "paper-0.5", opened=2, taken_up=2, ended=3),
        run("other fold", "paper-0.5, 1", fold=1, opened=2, taken_up=1, ended=2),
        run("gone", "gone-0.9", method="gone", opened=1, taken_up=1, ended=2),
        run("gone, redefined", "gone-0.5", method="gone", opened=3, taken_up=1, ended=4),
    ]
    assert names(newest(runs)) == ["old", "gone", "other fold", "new, elsewhere", "gone, redefined"]
    for asked, found in (("paper-0.5", ["new, elsewhere"]), ("paper-0.9", ["old"]), ("paper-0.7", [])):
        shown = names(newest_of_methods(runs, {asked: TRIAL.key}))
        assert sorted(shown) == sorted([*found, "other fold", "gone, redefined"])
