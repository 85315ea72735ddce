"""The folder of a model, which anybody may have changed: only its data is read, and none of its code runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from rsrl_ray import config, served
from rsrl_ray.cli import main as cli
from rsrl_ray.models.contract import signature
from rsrl_ray.models.load import LOADER, load_model
from rsrl_ray.vision.network import starting_weights
from rsrl_ray.vision.scorer import Settings

SIZE = 32
DATA = Path("data", "network")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder as `rsrl register` makes one, whose code writes ``ran`` if anybody runs it."""
    weights = starting_weights(config.Network("small", "none", SIZE), 3, [0]).weights
    served.save(tmp_path / "network", [weights], Settings("small", SIZE, (3, 5, 7), "sigmoid", "fp32", 1, "cpu"))
    (tmp_path / "code" / "rsrl_ray").mkdir(parents=True)
    harm = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
    for name in ("olefile.py", "safetensors.py", "rsrl_ray/__init__.py", "rsrl_ray/served.py"):
        (tmp_path / "code" / name).write_text(harm)
    mlflow.pyfunc.save_model(
        tmp_path / "model",
        loader_module=LOADER,
        data_path=str(tmp_path / "network"),
        code_paths=[str(tmp_path / "code" / name) for name in ("olefile.py", "safetensors.py", "rsrl_ray")],
        signature=signature((3, 5, 7)),
        pip_requirements=[],
    )
    return tmp_path / "model"


def test_nothing_of_a_models_folder_runs(
    model: Path, photos_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (model / "code" / "olefile.py").exists() and (model / "code" / "rsrl_ray" / "served.py").exists()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["score", str(photos_csv.parent / "4-0.png"), "--model", str(model)]) == 0
    assert not (tmp_path / "ran").exists()
    expected = served.load(tmp_path / "network").predict(pd.DataFrame({"path": [str(photos_csv.parent / "4-0.png")]}))
    found = pd.read_csv("scores.csv")
    assert found["score"].tolist() == expected["score"].tolist()
    numbers = [f"probability_{score}" for score in (3, 5, 7)]
    np.testing.assert_allclose(found[numbers].to_numpy(), expected[numbers].to_numpy().astype(float), rtol=1e-6)


def described(change: dict[str, Any]) -> Callable[[Path], None]:
    def write(model: Path) -> None:
        content = yaml.safe_load((model / "MLmodel").read_text())
        content["flavors"]["python_function"] |= change
        (model / "MLmodel").write_text(yaml.safe_dump(content))

    return write


def settings(**change: Any) -> Callable[[Path], None]:
    def write(model: Path) -> None:
        file = model / DATA / served.SETTINGS_FILE
        file.write_text(json.dumps(json.loads(file.read_text()) | change))

    return write


def text(path: Path, content: str) -> Callable[[Path], None]:
    return lambda model: (model / path).write_text(content) and None


def link(model: Path) -> None:
    (model / DATA / served.SETTINGS_FILE).rename(model.parent / "elsewhere")
    (model / DATA / served.SETTINGS_FILE).symlink_to(model.parent / "elsewhere")


def cut(model: Path) -> None:
    file = model / DATA / served.WEIGHTS_FILE
    file.write_bytes(file.read_bytes()[:-100])


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "another loader": (described({"loader_module": "os"}), "not made by `rsrl register`"),
    "no YAML": (text(Path("MLmodel"), "a: ["), "its MLmodel is damaged"),
    "YAML of something else": (text(Path("MLmodel"), "- 1"), "its MLmodel is damaged"),
    "data elsewhere": (described({"data": "../network"}), "weights or settings are not in its folder"),
    "data nowhere": (described({"data": None}), "weights or settings are not in its folder"),
    "a link out of it": (link, "weights or settings are not in its folder"),
    "no JSON": (text(DATA / served.SETTINGS_FILE, "{"), "settings.json is damaged"),
    "JSON of something else": (text(DATA / served.SETTINGS_FILE, "[1]"), "settings.json is damaged"),
    "an unknown setting": (settings(more=1), "settings.json is damaged"),
    "a setting of another kind": (settings(image_size="32"), "settings.json is damaged"),
    "an unknown precision": (settings(precision="fp8"), "settings.json is damaged"),
    "an unknown backbone": (settings(backbone="mine"), "do not fit together"),
    "more scores": (settings(scores=[3, 5, 7, 9]), "do not fit together"),
    "half the weights": (cut, "weights.safetensors is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_model_is_one_sentence(damage: str, model: Path) -> None:
    change, said = DAMAGE[damage]
    change(model)
    with pytest.raises(ValueError, match=said) as error:
        load_model(str(model), None)
    assert str(error.value).startswith(f"model {model}: ") and "\n" not in str(error.value)
