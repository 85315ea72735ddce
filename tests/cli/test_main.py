import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rsrl_ray.cli import main as cli
from rsrl_ray.config import Experiment
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.sweep.driver import ahead, launch


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, pkgutil, importlib, rsrl_ray, rsrl_ray.cli.main, rsrl_ray.experiment_file;"
        "heavy = {'torch', 'torchvision', 'ray', 'mlflow', 'pandas', 'sklearn', 'matplotlib'};"
        "print(heavy & set(sys.modules));"
        "import rsrl_ray.core, rsrl_ray.store;"
        "grounds = [m.name for p in (rsrl_ray.core, rsrl_ray.store)"
        " for m in pkgutil.iter_modules(p.__path__, p.__name__ + '.')];"
        "[importlib.import_module(name) for name in grounds];"
        "print(len(grounds) > 8, heavy & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split("\n") == ["set()", "True set()", ""]


@pytest.mark.parametrize(
    "words", [["--help"], *([command, "--help"] for command in ("sweep", "check", "demo", "init", "register", "score"))]
)
def test_help_answers_at_once(words: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "rsrl_ray.cli", *words]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "usage" in shown.stdout or shown.stdout.startswith("rsrl COMMAND")
    loaded = {line.rsplit("|", 1)[-1].strip() for line in shown.stderr.splitlines() if "|" in line}
    assert not loaded & {"torch", "ray", "mlflow", "pandas", "numpy"}


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"rsrl {version('rsrl_ray')}\n"


def test_sweep_help_documents_every_knob(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["sweep", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for knob in dataclasses.fields(Experiment):
        assert f"--{knob.name}" in shown
        if dataclasses.is_dataclass(knob.type):
            for inner in dataclasses.fields(knob.type):  # type: ignore[arg-type]
                assert f"--{knob.name}.{inner.name}" in shown
    assert "Step size of the pretrained layers, above 0. (type: PositiveFloat, default: 0.001)" in shown


def test_commands_that_need_a_file_say_so_in_their_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("show", "ui"):
        with pytest.raises(SystemExit, match="0"):
            cli.main([command, "--help"])
        assert f"rsrl {command} EXPERIMENT.yaml" in capsys.readouterr().out


def test_a_mistake_in_the_photos_is_told_before_ray_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, asked = tmp_path / "mine.yaml", []
    file.write_text("{name: mine, photos: photos.csv, schedules: {none: {1: 0.0}}, network: {weights: none}}")

    def started(console: Console, wanted: bool) -> contextlib.AbstractContextManager[None]:
        asked.append((wanted, os.environ["RAY_ADDRESS"]))
        return contextlib.nullcontext()

    monkeypatch.setattr(ahead, "started_ahead", started)
    assert cli.main(["sweep", str(file)]) == 2
    assert "photos.csv: cannot be read" in capsys.readouterr().err
    assert asked == []
    (tmp_path / "photos.csv").write_text("image,score\ngone.jpg,1\n")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert cli.main(["sweep", str(file), "--ray", "new"]) == 2
    assert os.environ["RAY_ADDRESS"] == "auto"  # as it was
    assert "line 2, gone.jpg: missing" in capsys.readouterr().err
    assert asked == [(False, "local")]


def test_ctrl_c_before_the_sweep_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_show", interrupted)
    assert cli.main(["show", "x.yaml"]) == 130
    assert capsys.readouterr().err == "stopped; what is done is kept, the same command goes on\n"


@pytest.mark.parametrize(
    ("ended", "status"),
    [
        ({}, 0),
        ({"unlogged": 1}, 1),
        ({"unkept": 1}, 1),
        ({"failed": {TrialKey(0, "firm"): "it diverged"}}, 1),
        ({"stopped": [TrialKey(0, "firm")], "unlogged": 1}, 130),
    ],
)
def test_the_exit_status_of_a_sweep_says_whether_all_is_done_and_where_it_belongs(
    ended: dict[str, Any], status: int, experiment_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = launch.Outcome(**({"finished": [], "failed": {}, "stopped": [], "unlogged": 0} | ended))
    monkeypatch.setattr(ahead, "started_ahead", lambda console, wanted: contextlib.nullcontext())
    monkeypatch.setattr(launch, "run_sweep", lambda *words: outcome)
    assert cli.main(["sweep", str(experiment_file())]) == status
