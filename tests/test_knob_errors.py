"""What is wrong with a knob is one line in plain words, in Python, in a file and on the command line alike."""

from pathlib import Path
from typing import Any

import pytest

from rsrl_ray.experiment_file import Experiment, read_experiment

KNOBS: dict[str, dict[str, Any]] = {
    "rounds: 1.5; give a whole number, 1 or more": {"rounds": 1.5},
    "rounds: null; give a whole number, 1 or more": {"rounds": None},
    "seed: 'a'; give a whole number, 0 or more": {"seed": "a"},
    "training.learning_rate: 0; give a number above 0": {"training": {"learning_rate": 0}},
    "training.momentum: 1; give a number from 0 to below 1": {"training": {"momentum": 1}},
    "training.precision: fp8; give one of 'bf16', 'fp32'": {"training": {"precision": "fp8"}},
    "training.augmentation: x; give one of 'flip', 'crop'": {"training": {"augmentation": ["x"]}},
    "training: 3; give its knobs, such as {'trainable': 'all'}": {"training": 3},
    "resources.gpus: -1; give a number, 0 or more, or 'auto'": {"resources": {"gpus": -1}},
    "folds.use: a; give a list, or null": {"folds": {"use": "a"}},
    "folds.use: [0, -1]; give a whole number, 0 or more, or null": {"folds": {"use": [0, -1]}},
    "schedules: 3; give settings, such as {name: value}": {"schedules": 3},
    "schedules: 'a'; give a whole number": {"schedules": {"none": {"a": 1}}},
    "system_metrics: perhaps; give true or false": {"system_metrics": "perhaps"},
    "mlflow: 3; give a text, or null": {"mlflow": 3},
    "roundz: there is no such knob": {"roundz": 3},
}


@pytest.mark.parametrize("said", KNOBS)
def test_a_knob_in_python(said: str) -> None:
    with pytest.raises(ValueError) as error:
        Experiment("p.csv", **{"methods": {"none": {}}, **KNOBS[said]})
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--rond 3", "--rond 3: there is no such knob or switch"),
        ("--rounds", "--rounds: give a value behind it"),
        ("--name=", "name: ''; give letters, digits, '.', '_' and '-', a letter or a digit first"),
        ("--training 3", "training: '3'; give its knobs by their names"),
    ],
)
def test_a_knob_on_the_command_line(words: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("{name: a, photos: p.csv, methods: {none: {}}}")
    with pytest.raises(ValueError) as error:
        read_experiment(file, words.split())
    assert str(error.value) == f"{words}: {said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{name: a}", "photos: missing; each experiment needs it"),
        ("{name: a, photos: b, training: null}", "training: None; give its knobs, such as {'trainable': 'all'}"),
        ("{name: a, photos: b, training: {epoch: 3}}", "training.epoch: there is no such knob"),
    ],
)
def test_a_knob_in_a_file(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError) as error:
        read_experiment(tmp_path / "a.yaml")
    assert str(error.value).removeprefix(f"{tmp_path}/a.yaml: ") == said
