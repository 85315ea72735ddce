"""Every knob: parsed, checked, documented, and what of it makes a trial another trial."""

import ast
import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from rsrl_ray import config
from rsrl_ray.config import (
    Experiment,
    Folds,
    Network,
    Noise,
    Resources,
    Retention,
    Revision,
    Training,
    check,
    check_resources,
)
from rsrl_ray.core.digest import digest
from rsrl_ray.core.schedule import make_schedule
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.identity import recipe

CONTRACT = """\
name: paper
photos: ../data/photos.csv          # relative to this file
storage: results                    # a directory, or s3://..., gs://...
folds: {count: 5, kind: stratified, validation: 0.1, use: [0, 1, 2, 3, 4]}
network: {backbone: alexnet, weights: imagenet, image_size: 224}
training: {epochs: 5, batch_size: 32, learning_rate: 0.001, head_factor: 10, momentum: 0.9, weight_decay: 0.0001, precision: bf16, threads: 1}
revision: {membership: sigmoid, majority_classes: 3, min_kept: 0.01, warm_start: all}
rounds: 30
schedules:
  paper:  {1: 0.9, 3: 0.95}          # from revision 1 on 0.9, from revision 3 on 0.95, for K1, K2, K3 alike
  strict: {1: [0.95, 0.95, 0.9]}     # K1, K2, K3
  none:   {1: 0.0}                   # nothing is dropped: the control with equal training
seed: 0
resources: {cpus: 1, gpus: 0}
archive: {weights: needed}          # or all: every round's
mlflow: null                        # a tracking URI; by default a SQLite file in storage
"""  # noqa: E501
SHORT = "name: small\nphotos: photos.csv\nschedules: {none: {1: 0.0}}\n"
KNOBS = (Experiment, Folds, Network, Training, Revision, Noise, Resources, Retention)


def _parser() -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog="rsrl sweep", exit_on_error=False)
    parser.add_class_arguments(Experiment)
    return parser


def _read(folder: Path, text: str) -> Experiment:
    file, parser = folder / "experiment.yaml", _parser()
    file.write_text(text)
    return Experiment(**vars(parser.instantiate(parser.parse_path(file))))


def _experiment(**knobs: Any) -> Experiment:
    return Experiment(**{"name": "small", "photos": "photos.csv", "schedules": {"none": {1: 0.0}}, **knobs})


# Reading


def test_the_contract_is_read_into_the_dataclasses(tmp_path: Path) -> None:
    experiment = _read(tmp_path, CONTRACT)
    check(experiment)
    assert experiment == Experiment(
        name="paper",
        photos="../data/photos.csv",
        storage="results",
        folds=Folds(count=5, kind="stratified", validation=0.1, use=[0, 1, 2, 3, 4]),
        network=Network(backbone="alexnet", weights="imagenet", image_size=224),
        training=Training(
            epochs=5,
            batch_size=32,
            learning_rate=0.001,
            head_factor=10.0,
            momentum=0.9,
            weight_decay=0.0001,
            precision="bf16",
            threads=1,
            augmentation=[],
        ),
        revision=Revision(membership="sigmoid", majority_classes=3, min_kept=0.01, warm_start="all"),
        rounds=30,
        schedules={"paper": {1: 0.9, 3: 0.95}, "strict": {1: [0.95, 0.95, 0.9]}, "none": {1: 0.0}},
        seed=0,
        resources=Resources(cpus=1.0, gpus=0.0),
        archive=Retention(weights="needed"),
        mlflow=None,
    )
    assert experiment.schedule("paper") == make_schedule({1: 0.9, 3: 0.95})
    assert experiment.schedule("strict").thresholds(30) == (0.95, 0.95, 0.9)


def test_a_short_file_means_the_contracts_defaults(tmp_path: Path) -> None:
    written = _read(tmp_path, CONTRACT)
    assert digest(recipe(_read(tmp_path, SHORT))) == digest(recipe(written))


def test_whole_numbers_may_stand_for_decimal_ones(tmp_path: Path) -> None:
    decimal = _read(tmp_path, SHORT + "training: {head_factor: 10.0, learning_rate: 1.0, momentum: 0.0}\n")
    whole = _read(tmp_path, SHORT + "training: {head_factor: 10, learning_rate: 1, momentum: 0}\n")
    assert digest(recipe(whole)) == digest(recipe(decimal))


@pytest.mark.parametrize(
    ("knob", "values"),
    [
        ("folds.count", ["0", "2.5", "many"]),
        ("folds.repeats", ["0", "1.5"]),
        ("folds.kind", ["grouped"]),
        ("folds.validation", ["-0.1", "0.6"]),
        ("folds.use", ["[-1]", "0", "[a]"]),
        ("network.image_size", ["0", "large"]),
        ("network.head", ["mine"]),
        ("network.standardise", ["3"]),
        ("training.epochs", ["0", "true"]),
        ("training.batch_size", ["0", "-32"]),
        ("training.learning_rate", ["0", "-1.0", ".nan", "fast"]),
        ("training.head_factor", ["0"]),
        ("training.momentum", ["1", "-0.1"]),
        ("training.weight_decay", ["-0.0001"]),
        ("training.precision", ["fp16"]),
        ("training.threads", ["0"]),
        ("training.augmentation", ["flip", "[rotate]"]),
        ("training.steps", ["some", "5"]),
        ("revision.membership", ["tanh"]),
        ("revision.majority_classes", ["0"]),
        ("revision.min_kept", ["-0.01", "1.5"]),
        ("revision.warm_start", ["body"]),
        ("noise.share", ["-0.1", "1.5", "much"]),
        ("noise.kind", ["swap"]),
        ("noise.seed", ["-1"]),
        ("resources.cpus", ["0"]),
        ("resources.gpus", ["-1"]),
        ("archive.weights", ["none"]),
        ("rounds", ["0", "2.5"]),
        ("seed", ["-1"]),
        ("name", ["a/b", ".hidden", "''", "two words"]),
        ("schedules", ["[0.9]", "{a: 0.9}", "{a: {1: high}}", "{a: {first: 0.9}}", "{a: {1: true}}"]),
        ("methods", ["[a]", "3", "{a: 3}", "{a: [quantile]}", "{a: null}"]),
    ],
)
def test_a_value_out_of_range_is_refused_and_the_knob_named(tmp_path: Path, knob: str, values: list[str]) -> None:
    for value in values:
        group, _, last = knob.rpartition(".")
        lines = {line.partition(":")[0]: line for line in SHORT.splitlines()}
        lines[group or last] = f"{group}: {{{last}: {value}}}" if group else f"{last}: {value}"
        with pytest.raises(ArgumentError, match=re.escape(f'"{knob}"')):
            _read(tmp_path, "\n".join(lines.values()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SHORT + "epochs: 5\n", "Option 'epochs' is not accepted"),
        (SHORT + "training: {epoch: 5}\n", "Group 'training' does not accept option 'epoch'"),
        ("name: small\nschedules: {none: {1: 0.0}}\n", "the following arguments are required: photos"),
    ],
)
def test_an_unknown_or_missing_knob_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        _read(tmp_path, text)


# Help


def _docstrings(knobs: type) -> dict[str, str]:
    """The string below each field of a dataclass."""
    body = ast.parse(inspect.getsource(knobs)).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: below.value.value
        for field, below in zip(body.body, body.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


def test_every_knob_reaches_the_help_with_its_docstring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10000")  # no line is broken
    entries = [" ".join(entry.split()) for entry in _parser().format_help().split("\n  --")]
    prefixes = {field.type: f"{field.name}." for field in dataclasses.fields(Experiment)}
    for knobs in KNOBS:
        prefix = prefixes.get(knobs, "")
        documented = _docstrings(knobs)
        for field in dataclasses.fields(knobs):
            if field.type in KNOBS:
                continue
            shown = next(entry for entry in entries if re.match(re.escape(prefix + field.name) + r"[ ,]", entry))
            assert f" {documented[field.name]} (" in shown
            assert re.search(r"\((required, )?type: .+, default: .+\)|\(required, type: .+\)", shown)


def test_no_dataclass_of_knobs_is_forgotten_here() -> None:
    found = {
        value
        for value in vars(config).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == config.__name__
    }
    assert found == set(KNOBS)


# Checking


@pytest.mark.parametrize(
    "experiment",
    [
        _experiment(),
        _experiment(folds=Folds(count=2, validation=0.0, use=[1, 0, 1])),
        _experiment(revision=Revision(majority_classes=1), schedules={"one": {1: [0.9]}}),
        _experiment(resources=Resources(gpus=0.25)),
        _experiment(resources=Resources(gpus=2.0)),
        _experiment(schedules={"late": {100: 1.0}, "v1.0_a-b": {1: 1}}),
        _experiment(folds=Folds(count=2, repeats=3, use=[5])),
        _experiment(schedules={}, methods={"plain": {}}),
    ],
)
def test_sound_experiments_pass(experiment: Experiment) -> None:
    check(experiment)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"folds": Folds(count=1)}, "folds.count: 1 leaves no photos to train on; give 2 or more"),
        (
            {"folds": Folds(count=3, use=[0, 3, 7])},
            "folds.use: [3, 7], but there are 3 folds; give numbers from 0 to 2",
        ),
        ({"folds": Folds(use=[])}, "folds.use: an empty list runs nothing; leave it out to run every fold"),
        (
            {"folds": Folds(count=3, repeats=2, use=[5, 6])},
            "folds.use: [6], but there are 6 folds; give numbers from 0 to 5",
        ),
        ({"schedules": {}}, "schedules: there are none, and no methods; name one at least, such as {none: {1: 0.0}}"),
        ({"methods": {"none": {}}}, "methods.none: a schedule has this name too; give another name"),
        ({"methods": {"": {}}}, "methods: '' is not a name"),
        ({"schedules": {"a": {}}}, "schedules.a: a schedule needs at least one step, such as {1: 0.9}"),
        ({"schedules": {"a": {0: 0.9}}}, "schedules.a: revision: 0; give a whole number, 1 or more"),
        ({"schedules": {"a": {1: 9.0}}}, "schedules.a: revision 1: K: 9.0; give a number, 0 to 1"),
        (
            {"schedules": {"a": {1: [0.9, 0.9]}}},
            "schedules.a: revision 1: 2 thresholds [0.9, 0.9] for 3 majority classes; give one K for all, or 3",
        ),
        (
            {"network": Network(standardise=True), "training": Training(trainable="classifier")},
            "network.standardise: with trainable: classifier; it is for trainable: head",
        ),
        (
            {"network": Network("timm/resnet18"), "training": Training(trainable="classifier")},
            "training.trainable: classifier, which timm's networks have in many ways; give head or all",
        ),
        (
            {"training": Training(steps="weighted")},
            "training.steps: weighted with trainable: all, where batch normalisation would see the dropped photos; "
            "give steps: all, or train the classifier or the head alone",
        ),
    ],
)
def test_a_contradiction_is_named_with_its_way_out(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        check(_experiment(**knobs))


def test_auto_is_the_size_that_the_network_was_made_for(tmp_path: Path) -> None:
    sizes = {"timm/tf_efficientnet_lite0": 224, "timm/test_vit": 160, "inception_v3": 299, "small": 64}
    for backbone, size in sizes.items():
        network = f"network: {{backbone: {backbone}, image_size: auto}}"
        (tmp_path / "a.yaml").write_text(f"name: a\nphotos: p.csv\nschedules: {{none: {{1: 0.0}}}}\n{network}")
        assert read_experiment(tmp_path / "a.yaml").network.image_size == size
    other = read_experiment(tmp_path / "a.yaml", ["--network.backbone", "timm/test_vit"])
    assert other.network == Network("timm/test_vit", "imagenet", 160)
    with pytest.raises(ValueError, match=r"^network\.image_size: auto: there is no network 'alexnett'"):
        read_experiment(tmp_path / "a.yaml", ["--network.backbone", "alexnett"])


@pytest.mark.parametrize("gpus", [2.0, 1.5])
def test_more_than_one_gpu_a_trial_is_refused_where_trials_train_and_read_where_they_have(gpus: float) -> None:
    experiment = _experiment(resources=Resources(gpus=gpus))
    check(experiment)
    with pytest.raises(ValueError, match=rf"^resources\.gpus: {gpus:g}, but a trial trains on one GPU; give 1, a frac"):
        check_resources(experiment)
    one = _experiment(resources=Resources(gpus=1.0))
    check_resources(one)
    assert recipe(one) == recipe(experiment)
    check_resources(_experiment(resources=Resources(gpus="auto")))


def test_all_contradictions_are_named_together() -> None:
    wrong = _experiment(folds=Folds(count=1, use=[4]), schedules={"a": {1: 2.0}, "b": {1: 0.5}, "c": {0: 0.5}})
    with pytest.raises(ValueError, match="folds") as error:
        check(wrong)
    named = [line.split(":")[0] for line in str(error.value).splitlines()]
    assert named == ["folds.count", "folds.use", "schedules.a", "schedules.c"]


@pytest.mark.parametrize("name", ["", 1, False])
def test_a_schedule_has_a_name_that_can_be_shown_and_found_again(name: Any) -> None:
    # YAML reads `no: {1: 0.0}` as False, `1: {1: 0.9}` as 1.
    with pytest.raises(ValueError, match="schedules"):
        check(_experiment(schedules={name: {1: 0.5}}))


def test_folds_that_are_run() -> None:
    assert _experiment(folds=Folds(count=3, repeats=2)).fold_numbers() == [0, 1, 2, 3, 4, 5]
    assert _experiment(folds=Folds(count=3)).fold_numbers() == [0, 1, 2]
    assert _experiment(folds=Folds(count=5, use=[4, 1, 4])).fold_numbers() == [1, 4]
