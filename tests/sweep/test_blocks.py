"""Methods of a fold that train in lockstep, in one process: the same laws, and each of them fails by itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import write_experiment
from sweep.sweeping import (
    KNOBS,
    Gate,
    Tables,
    assert_same_bits,
    children,
    entries,
    in_round,
    start_driver,
    states,
    swept,
    tables,
    with_killed_worker,
)
from sweep.test_laws import each_alone

from rsrl_ray.experiment_file import read_experiment

pytestmark = pytest.mark.slow

Write = Callable[..., Path]
HEADS = KNOBS | {
    "training": KNOBS["training"] | {"epochs": 3, "trainable": "head", "steps": "weighted"},
    "network": {"backbone": "small", "weights": "none", "image_size": 64, "standardise": True},
    "rounds": 3,
    "schedules": {"none": {1: 0.0}, "firm": {1: 0.99}, "hair": {1: 0.000001}},  # hair keeps what none keeps
    "methods": {
        "balanced": {"loss": {"balanced": 1.0}},
        "quantile": {"revise": {"quantile": 0.2}},
        "decayed": {"training": {"weight_decay": 0.3, "learning_rate": 0.002}},
        "shorter": {"training": {"epochs": 2}},
        "solved": {"learn": {"ridge": "auto", "targets": "soft"}, "revise": {"quantile": 0.2}},
        "soft": {"revise": {"soft": 0.9, "power": 2}},
        "apart": {"training": {"steps": "all"}},  # not in lockstep
    },
}
OWN = """\
import os
from dataclasses import dataclass
from rsrl_ray.core.rules.rule import Rule

@dataclass(frozen=True)
class Fatal(Rule):
    def drops(self, seen):
        if "RAY_JOB_ID" in os.environ:
            os._exit(1)
        return seen.labels < 0

@dataclass(frozen=True)
class Infinite:
    def __call__(self, logits, labels, counts, number):
        return logits.sum() * float("inf")
"""


@pytest.fixture(scope="module")
def reference(photos_csv: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Tables:
    """Every trial alone, in this process, on the features that a sweep of another schedule has made."""
    file = write_experiment(tmp_path_factory.mktemp("alone"), photos_csv, **HEADS)
    swept(file, "--schedules={other: {1: 0.2}}", "--rounds=1")
    return each_alone(file)


def test_a_block_whose_process_is_killed_and_that_gets_methods_and_rounds_has_the_bits_of_each_alone(
    experiment_file: Write, reference: Tables, tmp_path: Path
) -> None:
    few: dict[str, Any] = {"rounds": 2, "methods": {name: HEADS["methods"][name] for name in ("balanced", "soft")}}
    file = experiment_file(**HEADS | few)
    gate = Gate(tmp_path, in_round(2))
    printed = with_killed_worker(start_driver(file, **gate.environment), gate)
    assert "fold 0, 5 methods: its process ended in round 2; started again" in printed
    outcome, _ = swept(experiment_file(**HEADS))
    assert (len(outcome.finished), outcome.failed, outcome.unlogged) == (10, {}, 0)
    assert_same_bits(tables(file), reference)
    log = children(read_experiment(file))
    # each round once: hair and none share all rounds, quantile, firm and soft share round 1 with them
    assert len(entries(file)) == ((log.metric == "reused") & (log.value == 0)).sum() == 3 + 3 * 2 + 3 + 4 * 3
    assert (log.metric == "reused").sum() == 10 * 3
    soft = next(rounds for key, rounds in reference.items() if "soft" in key)
    assert ["weight" in round for round in soft] == [False, True, True]
    last = log[log.step == 3].assign(method=log.run.str.split(",").str[0])
    seen, epochs = (last[last.metric == name].set_index("method").value for name in ("photos_seen", "epochs_so_far"))
    train = seen["none"] / 9  # 3 rounds of 3 epochs
    assert seen["shorter"] == 6 * train and seen["decayed"] == seen["apart"] == seen["quantile"] == 9 * train
    assert 2 * train < seen["solved"] < 3 * train
    assert (epochs["none"], epochs["shorter"], epochs["solved"]) == (9, 6, 3)


def test_a_method_that_diverges_or_ends_the_process_fails_alone(
    experiment_file: Write, reference: Tables, tmp_path: Path
) -> None:
    (tmp_path / "my_rules.py").write_text(OWN)
    own = {"fatal": {"revise": {"my_rules.Fatal": None}}, "infinite": {"loss": {"my_rules.Infinite": None}}}
    file = experiment_file(**HEADS | {"methods": HEADS["methods"] | own})
    outcome, printed = swept(file)
    assert [key.method for key in outcome.failed] == ["infinite", "fatal"], printed
    state = states(file)
    assert state["infinite"].reason.startswith("round 1: the loss is not finite")
    assert "failed 3 times: its worker process has died" in state["fatal"].reason
    assert " trials run again, each in a process of its own" in printed
    good = {key: rounds for key, rounds in tables(file).items() if key.method not in own}
    assert_same_bits(good, reference)
