"""Chosen rounds in a real SQLite store: of a trial, and of a method over its folds."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import put_database
from mlflow import MlflowClient
from mlflow.entities import Run

from rsrl_ray.core.trial import Link, Origin, TrialKey
from rsrl_ray.tracking.entries import BestSoFar, Round, SweepRun, Trial
from rsrl_ray.tracking.names import summed_name
from rsrl_ray.tracking.write import Tracker

ORIGIN = Origin("start", "cpu", ("2",))


def trial(fold: int, method: str = "paper", name: str = "") -> Trial:
    return Trial(name or f"{method}-{fold}", TrialKey(fold, method), {})


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], Tracker]:
    put_database(tmp_path / "mlflow.db")

    def opened(rounds: int = 1, **trials: TrialKey) -> Tracker:
        trials = trials or {f"paper-{fold}": TrialKey(fold, "paper") for fold in (0, 1)}
        tracker = Tracker(f"sqlite:///{tmp_path}/mlflow.db", "photos", (tmp_path / "artifacts").as_uri(), print)
        tracker.open_sweep(SweepRun("s", {}, "", {}, {}, trials, rounds=rounds))
        return tracker

    return opened


def log(tracker: Tracker, of: Trial, *values: float, chosen: tuple[int, ...] = (), chain: str = "") -> None:
    """Log a trial's rounds as far as they are not; those of ``chosen`` are better than all before them."""
    rounds = [
        Round(
            number,
            {"test_macro_f1": value},
            "",
            Link(f"{of.id}{chain}-{number}"),
            1000.0 + number,
            lambda folder: None,
            BestSoFar(number, 1000.0 + number, {"round": number, "test_macro_f1": value, "train_size": 10 * number})
            if number in chosen
            else None,
        )
        for number, value in enumerate(values, start=1)
    ]
    logged = tracker.take_up(of, [done.link for done in rounds], ORIGIN)
    if rounds[logged:]:
        tracker.log_rounds(of, rounds[logged:])


def runs(tmp_path: Path) -> dict[str, Run]:
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    found = client.get_experiment_by_name("photos")
    assert found is not None
    return {run.info.run_name or "": run for run in client.search_runs([found.experiment_id])}


def chosen(run: Run) -> dict[str, float]:
    return {name: value for name, value in run.data.metrics.items() if name.startswith("chosen/")}


def steps(tmp_path: Path, run: str, metric: str) -> list[int]:
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    return [point.step for point in client.get_metric_history(runs(tmp_path)[run].info.run_id, metric)]


def test_a_method_is_summed_up_over_its_folds_and_anew_when_more_rounds_come(
    opened: Callable[..., Tracker], tmp_path: Path
) -> None:
    tracker = opened(rounds=2)
    log(tracker, trial(0), 0.2, 0.4, chosen=(1, 2))
    tracker.summary.log(["paper"])
    assert chosen(runs(tmp_path)["sweep"]) == {"chosen/paper/folds": 1}  # no mean that could be compared with others
    log(tracker, trial(1), 0.3, 0.1, chosen=(1,))
    tracker.summary.log(["paper"])
    expected = {
        "folds": 2,
        "test_macro_f1_mean": 0.35,
        "test_macro_f1_sd": 0.05 * math.sqrt(2),
        "test_macro_f1_low": 0.3,
        "test_macro_f1_high": 0.4,
        "round_mean": 1.5,
        "round_sd": math.sqrt(0.5),
        "round_low": 1,
        "round_high": 2,
        "train_size_mean": 15,
        "train_size_sd": 10 * math.sqrt(0.5),
        "train_size_low": 10,
        "train_size_high": 20,
    }
    assert chosen(runs(tmp_path)["sweep"]) == pytest.approx(
        {f"chosen/paper/{name}": value for name, value in expected.items()}
    )
    tracker.summary.log(["paper"])  # nothing has changed
    again = opened(rounds=2)
    log(again, trial(0), 0.2, 0.4, chosen=(1, 2))
    again.summary.log(["paper"])
    assert steps(tmp_path, "sweep", "chosen/paper/folds") == [0, 1]
    more = opened(rounds=3)
    log(more, trial(0), 0.2, 0.4, 0.1, chosen=(1, 2))
    log(more, trial(1), 0.3, 0.1, 0.6, chosen=(1, 3))
    more.summary.log(["paper"])
    now = chosen(runs(tmp_path)["sweep"])
    assert (now["chosen/paper/test_macro_f1_mean"], now["chosen/paper/round_high"]) == (pytest.approx(0.5), 3)
    assert steps(tmp_path, "sweep", "chosen/paper/folds") == [0, 1, 2]
    assert steps(tmp_path, "paper, fold 1", "chosen/round") == [1, 3]
    assert chosen(runs(tmp_path)["paper, fold 1"]) == {
        "chosen/round": 3,
        "chosen/test_macro_f1": 0.6,
        "chosen/train_size": 30,
    }
    opened(rounds=2).summary.log(["paper"])  # the file asks for fewer than there are: the mean is over these
    now = chosen(runs(tmp_path)["sweep"])
    assert (now["chosen/paper/test_macro_f1_mean"], now["chosen/paper/round_high"]) == (pytest.approx(0.35), 2)
    fewer = opened(rounds=2)
    choice = BestSoFar(1, 1001.0, {"round": 1, "test_macro_f1": 0.3, "train_size": 10})
    fewer.take_up(trial(1), [Link("paper-1-1"), Link("paper-1-2")], ORIGIN)
    fewer.log_choices(trial(1), [choice], 2)  # as a trial that has ended tells them
    fewer.summary.log(["paper"])
    assert chosen(runs(tmp_path)["sweep"])["chosen/paper/test_macro_f1_mean"] == pytest.approx(0.35)
    assert steps(tmp_path, "sweep", "chosen/paper/folds") == [0, 1, 2, 3]


def test_a_fold_whose_run_was_deleted_is_lacking(opened: Callable[..., Tracker], tmp_path: Path) -> None:
    tracker = opened()
    log(tracker, trial(0), 0.2, chosen=(1,))
    log(tracker, trial(1), 0.4, chosen=(1,))
    tracker.summary.log(["paper"])
    MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").delete_run(runs(tmp_path)["paper, fold 1"].info.run_id)
    opened().summary.log(["paper"])
    now = chosen(runs(tmp_path)["sweep"])
    assert now["chosen/paper/folds"] == 1
    assert math.isnan(now["chosen/paper/test_macro_f1_mean"]) and math.isnan(now["chosen/paper/test_macro_f1_sd"])
    opened().summary.log(["paper"])
    assert len(steps(tmp_path, "sweep", "chosen/paper/folds")) == 2


def test_only_the_newest_chain_and_the_present_meaning_of_a_method_count(
    opened: Callable[..., Tracker], tmp_path: Path
) -> None:
    tracker = opened(paper=trial(0).key)
    log(tracker, trial(0), 0.2, chosen=(1,))
    log(tracker, trial(0), 0.3, chosen=(1,), chain="-elsewhere")
    tracker.summary.log(["paper"])
    assert chosen(runs(tmp_path)["sweep"])["chosen/paper/test_macro_f1_mean"] == 0.3
    newest = {name: run.data.tags.get("rsrl.newest") for name, run in runs(tmp_path).items()}
    assert newest == {"sweep": None, "paper, fold 0": "no", "paper, fold 0, chain 2": "yes"}
    redefined = trial(0, name="other")
    tracker = opened(other=redefined.key)  # the file has given the name to other thresholds
    assert tracker.summary.methods() == set()
    log(tracker, redefined, 0.7, chosen=(1,))
    tracker.summary.log(["paper"])
    assert chosen(runs(tmp_path)["sweep"])["chosen/paper/test_macro_f1_mean"] == 0.7


def test_rounds_that_were_logged_without_choices_get_them(opened: Callable[..., Tracker], tmp_path: Path) -> None:
    """As by versions up to 0.1."""
    log(opened(rounds=3), trial(0), 0.2, 0.1, 0.4)
    assert chosen(runs(tmp_path)["paper, fold 0"]) == {}
    tracker = opened(rounds=3)
    log(tracker, trial(0), 0.2, 0.1, 0.4)
    choices = [BestSoFar(number, 1000.0, {"round": number}) for number in (1, 3)]
    for _ in range(2):
        tracker.log_choices(trial(0), choices, 3)
    assert steps(tmp_path, "paper, fold 0", "chosen/round") == [1, 3]
    assert tracker.summary.methods() == {"paper"}


def test_a_method_of_any_name_is_a_metric_that_mlflow_takes(opened: Callable[..., Tracker], tmp_path: Path) -> None:
    names = ["<b>late</b> & {{ 7 * 7 }}", "../..", "a/b", "a.b", "é è", "x" * 400, "system"]
    assert len({summed_name(name, "folds") for name in names}) == len(names)
    assert summed_name("paper", "folds") == "chosen/paper/folds"
    tracker = opened(**{f"id-{number}": TrialKey(0, name) for number, name in enumerate(names)})
    for number, name in enumerate(names):
        log(tracker, Trial(f"id-{number}", TrialKey(0, name), {}), 0.5, chosen=(1,))
    tracker.summary.log(names)
    assert len(chosen(runs(tmp_path)["sweep"])) == len(names) * 10
