"""What comes from data is shown as it is, at a console with markup and at one without."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from rsrl_ray import terminal
from rsrl_ray.cli import tables
from rsrl_ray.config import Experiment
from rsrl_ray.photos.photo_set import Examination
from rsrl_ray.photos.readers import Problem
from rsrl_ray.tracking.find import Chosen

NAMES = ["[/]", "[red]x", "a\\", "[link=x]y", ":smile:", "a[b]\\"]


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("markup", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_data_is_never_markup(name: str, markup: bool) -> None:
    console = Console(file=io.StringIO(), width=300, markup=markup)
    for kind in ("note", "failure"):
        terminal.Terminal(console).said(name, kind)
    found = Examination((name,), np.array([3]), (Problem(1, name, name),), (name,))
    console.print(tables.examination(found, name))
    row = {"photo": name, "score": None, "error": name}
    console.print(tables.scores(pd.DataFrame([row])))
    console.print(tables.trials(Experiment("x", "p.csv", {name: {1: 0.5}}), {}, Chosen("test", {})))
    assert shown(console).count(name) >= 2 + 4 + 2 + 5


def test_what_would_steer_the_terminal_is_escaped() -> None:
    console = Console(file=io.StringIO(), width=300)
    terminal.Terminal(console).said("a\x1b[2Jb\udcff")
    assert shown(console) == "a\\x1b[2Jb\\udcff\n"


def test_no_password_is_shown() -> None:
    console = Console(file=io.StringIO(), width=300)
    terminal.Terminal(console).said("line 3, s3://key:secret@bucket/a.jpg: missing")
    assert shown(console) == "line 3, s3://***@bucket/a.jpg: missing\n"


def test_the_console_of_commands_has_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.make_console().print("[red]:smile:[/]")
    assert capsys.readouterr().out == "[red]:smile:[/]\n"
