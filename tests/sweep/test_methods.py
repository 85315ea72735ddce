"""Sweeps of methods: rules, losses, samplings and predictions in one file, under the laws that schedules have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_experiment
from mlflow import MlflowClient
from rounds.replayed import next_kept
from sweep.sweeping import (
    Gate,
    Tables,
    assert_same_bits,
    children,
    entries,
    in_round,
    start_driver,
    swept,
    tables,
    wait_for,
)
from sweep.test_laws import each_alone

from rsrl_ray.analysis.numbers.frames import summarise
from rsrl_ray.analysis.sweep.read import read_sweep
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.method import method_of
from rsrl_ray.tracking.find import find_results
from rsrl_ray.tracking.stores import mlflow_uri

pytestmark = pytest.mark.slow

Write = Callable[..., Path]
METHODS: dict[str, Any] = {
    "adjusted": {"predict": {"average": "half", "logit_adjustment": "validation"}},  # trains nothing
    "expected_f": {"predict": {"decision": "expected_f"}},  # nor does this one
    "mean": {"revise": {"quantile": 0.3, "likelihood": "mean"}},
    "at_random": {"revise": {"thresholds": {1: 0.99}, "pick": "random"}},
    "balanced": {"loss": {"balanced": 0.5, "ordinal": 1.0, "smooth": 1.0}},
    "ldam": {"loss": {"ldam": 0.5, "drw": 3}, "sampling": "class_balanced", "balanced_from": 3},
    "edited": {"revise": {"edited_neighbours": 3}},  # asks for the features
    "trimmed": {"revise": {"lowest_loss": 0.8}, "warm_start": "cold", "mixup": 0.2},
}
MIXED: dict[str, Any] = {
    "folds": {"count": 2, "repeats": 2, "validation": 0.2, "use": [0, 3]},
    "network": {"backbone": "small", "weights": "none", "image_size": 64},
    "training": {"trainable": "head", "epochs": 2, "batch_size": 16, "precision": "fp32", "steps": "all"},
    "noise": {"share": 0.2, "kind": "shift"},
    "rounds": 4,
    "schedules": {"none": {1: 0.0}, "firm": {1: 0.99}},
    "methods": METHODS,
}


@pytest.fixture(scope="module")
def file(photos_csv: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Path:
    file = write_experiment(tmp_path_factory.mktemp("mixed"), photos_csv, **MIXED)
    outcome, _ = swept(file)
    assert (len(outcome.finished), outcome.failed, outcome.stopped, outcome.unlogged) == (20, {}, [], 0)
    return file


@pytest.fixture(scope="module")
def reference(file: Path) -> Tables:
    """Every trial alone, in this process; only the features are those of the sweep."""
    return each_alone(file)


def test_methods_share_rounds_and_have_the_bits_that_each_has_alone(file: Path, reference: Tables) -> None:
    assert_same_bits(tables(file), reference)
    log = children(read_experiment(file))
    trained = log[(log.metric == "reused") & (log.value == 0)]
    assert len(trained) == len(entries(file))
    names = trained["run"].str.partition(", ")[0]
    assert not {"adjusted", "expected_f"} & set(names)
    # By fold: four rounds each of the first method, balanced and ldam, and of the others the first only once.
    assert names.value_counts().drop("none").to_dict() == {
        **{"firm": 6, "mean": 6, "at_random": 6, "edited": 6, "trimmed": 8, "balanced": 8, "ldam": 8}
    }


def test_predictions_of_the_same_rounds_differ(reference: Tables) -> None:
    for name in ("adjusted", "expected_f"):
        pairs = [pair for fold in (0, 3) for pair in zip(reference[fold, "none"], reference[fold, name], strict=True)]
        assert all(a.drop(columns="predicted").equals(b.drop(columns="predicted")) for a, b in pairs)
        assert any(not plain["predicted"].equals(other["predicted"]) for plain, other in pairs)


def test_the_next_kept_photos_follow_from_the_tables_alone(file: Path, reference: Tables) -> None:
    experiment = read_experiment(file)
    for (fold, name), rounds in reference.items():
        rule = method_of(experiment, name).rule
        if rule.needs_features:  # these are not in the tables
            continue
        for number in range(1, len(rounds)):
            kept = next_kept(rounds[:number], rule, experiment.revision, experiment.seed, fold)
            assert np.array_equal(kept, rounds[number]["kept"].to_numpy(dtype=bool, na_value=False)), (name, number)


def test_labels_are_wrong_where_networks_learn_and_right_where_they_are_tested(reference: Tables) -> None:
    for rounds in reference.values():
        wrong = rounds[0]["score"] != rounds[0]["true_score"]
        split = rounds[0]["split"]
        assert wrong[split == "train"].sum() >= 3 and not wrong[split == "test"].any()
        assert all(table["score"].equals(rounds[0]["score"]) for table in rounds)
    first, other = (reference[fold, "none"][0] for fold in (0, 3))
    learns = (first["split"] != "test") & (other["split"] != "test")
    assert first["score"][learns].equals(other["score"][learns])


def test_mlflow_has_the_chosen_rounds_that_the_analysis_has(file: Path) -> None:
    """Of a trial and over its folds; also of methods that average rounds, and with labels that are wrong on purpose."""
    assert_as_analysed(file)


def assert_as_analysed(file: Path, *overrides: str) -> None:
    experiment = read_experiment(file, overrides)
    frames, found = summarise(read_sweep(experiment)), find_results(experiment)
    client, shared = MlflowClient(mlflow_uri(experiment)), ("macro_f1", "macro_f1_50", "quadratic_kappa", "mae")
    folds = frames.folds[frames.folds["criterion"] == "validation"]
    assert len(folds) == 20
    assert not [name for name in frames.rounds if name.startswith("chosen")]  # what is chosen is no metric of a round
    for row in folds.to_dict("records"):
        metrics = client.get_run(found.trials[TrialKey(row["fold"], row["method"])].id).data.metrics
        assert (metrics["chosen/round"], metrics["chosen/train_size"]) == (row["round"], row["train_size"])
        for name in (*shared, "accuracy", "macro_mae", "spearman"):
            assert metrics.get(f"chosen/test_{name}", np.nan) == pytest.approx(row[name], nan_ok=True), (row, name)
    parent = client.get_run(found.sweep.id).data.metrics
    for row in frames.summary[frames.summary["criterion"] == "validation"].to_dict("records"):
        by_fold = folds[folds["method"] == row["method"]]
        assert parent[f"chosen/{row['method']}/folds"] == row["folds"] == 2
        for name in ("round", "train_size", *shared):
            metric = f"chosen/{row['method']}/{'test_' if name in shared else ''}{name}"
            told = [parent.get(f"{metric}_{statistic}", np.nan) for statistic in ("mean", "sd", "low", "high")]
            analysed = [row[f"{name}_mean"], row[f"{name}_sd"], by_fold[name].min(), by_fold[name].max()]
            assert told == pytest.approx(analysed, nan_ok=True), metric


def test_a_driver_that_is_killed_goes_on_with_the_same_bits(
    file: Path, reference: Tables, tmp_path: Path, photos_csv: Path
) -> None:
    some = ("mean", "ldam", "adjusted")
    fewer = {"folds": {**MIXED["folds"], "use": [3]}, "methods": {name: METHODS[name] for name in some}}
    again = write_experiment(tmp_path, photos_csv, **MIXED | fewer)
    gate = Gate(tmp_path, in_round(3))
    driver = start_driver(again, **gate.environment)
    wait_for(driver, lambda: len(gate.names()) > 0)
    driver.kill()
    driver.communicate()
    gate.open()
    swept(again)
    found = tables(again)
    assert {name for _, name in found} == {"none", "firm", *some}
    assert_same_bits(found, {key: reference[key] for key in found})
    log = children(read_experiment(again))
    assert not log.duplicated(["run", "metric", "step"]).any()
    assert entries(again).keys() <= entries(file).keys()


OWN = """
from dataclasses import dataclass
from pathlib import Path

import numpy as np

with Path({log!r}).open("a") as log:
    log.write("imported\\n")


@dataclass(frozen=True)
class First:
    count: int

    def drops(self, seen):
        drops = np.zeros(len(seen.labels), dtype=bool)
        drops[seen.members(seen.majority[0])[:self.count]] = True
        return drops


@dataclass(frozen=True)
class Halved:
    def __call__(self, logits, labels, counts, number):
        from torch.nn.functional import cross_entropy
        return cross_entropy(logits, labels) / 2
"""


def test_a_rule_and_a_loss_of_ones_own_are_named_by_their_import_paths(photos_csv: Path, tmp_path: Path) -> None:
    """Their module lies beside the file: workers get it, other code is another trial, and no reader imports it."""
    log = tmp_path / "imports.txt"
    (tmp_path / "my_rules.py").write_text(OWN.format(log=str(log)))
    knobs = MIXED | {"rounds": 2, "folds": {"count": 2, "validation": 0.2, "use": [1]}, "schedules": {"none": {1: 0.0}}}
    rules = {name: {"revise": {"my_rules.First": {"count": count}}} for name, count in (("two", 2), ("three", 3))}
    knobs["methods"] = {**rules, "halved": {"loss": {"my_rules.Halved": None}}}
    file = write_experiment(tmp_path, photos_csv, **knobs)
    outcome, printed = swept(file)
    assert (len(outcome.finished), outcome.failed) == (4, {}), printed
    imports = len(log.read_text().splitlines())
    assert imports >= 2  # here, where the rules are tried, and in a worker
    rounds = tables(file)
    dropped = {key: int(each[1]["kept"].eq(False).sum()) for (_, key), each in rounds.items()}
    assert dropped == {"none": 0, "two": 2, "three": 3, "halved": 0}
    assert not rounds[1, "halved"][0].equals(rounds[1, "none"][0])
    sweep = read_sweep(read_experiment(file))
    assert sweep.methods == ("none", "two", "three", "halved") and len(sweep.trials) == 4
    (tmp_path / "my_rules.py").write_text(OWN.format(log=str(log)) + "# other code")
    found = find_results(read_experiment(file))
    assert [key.method for key in found.trials] == ["none"]
    assert any(
        "Method two was swept with other settings (rule was my_rules.First, count 2" in line for line in found.differs
    )
    assert len(log.read_text().splitlines()) == imports


def test_more_rounds_choose_anew(file: Path) -> None:
    """The last test of the file: its runs hold more rounds afterwards."""
    swept(file, "--rounds", "6")
    assert_as_analysed(file, "--rounds", "6")
