"""How the terminal and a notebook show what a long call does."""

import io
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from rsrl_ray import api, notebook
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.display import Display, Row
from rsrl_ray.terminal import Terminal

ROWS = [Row(TrialKey(0, "firm"), "running", "2/3", "0.500"), Row(TrialKey(1, "firm"), "waiting", "0/3")]


def tell(display: Display) -> None:
    with display.started("looking at the photos"):
        display.progress("decoding", 3, 9)
    with display.started("training"):
        display.said("fold 0, firm: round 2 of 3", "detail")
        display.progress("rounds", 2, 6, ROWS)
        display.said("s3://key:secret@bucket is slow", "note")
    display.said("it <b>is</b> over", "failure")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_terminal_keeps_the_last_table_and_lines(is_terminal: bool) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=is_terminal, _environ={})
    tell(Terminal(console))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert ("decoding photos" in text, "running" in text, "round 2 of 3" in text) == (is_terminal,) * 2 + (
        not is_terminal,
    )
    assert "secret" not in text and "bucket is slow" in text and "it <b>is</b> over" in text


def test_a_notebook_has_a_bar_that_changes_and_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs: list[list[dict[str, str]]] = []

    def display(shown: dict[str, str], raw: bool, display_id: bool) -> SimpleNamespace:
        assert raw and display_id
        shows = [shown]
        outputs.append(shows)
        return SimpleNamespace(update=lambda shown, raw: shows.append(shown))

    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=None))
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    display = api.here()
    assert isinstance(display, notebook.Notebook)
    tell(display)
    assert [[shown["text/plain"] for shown in output] for output in outputs] == [
        ["looking at the photos", "decoding 3/9", ""],
        ["training", "rounds 2/6 fold 0, firm 2/3 0.500"],
        ["note: s3://***@bucket is slow"],
        ["it <b>is</b> over"],
    ]
    assert outputs[1][-1]["text/html"].startswith('<div><progress value="2" max="6"></progress> rounds 2/6')
    assert "&lt;b&gt;" in outputs[3][0]["text/html"]
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert isinstance(api.here(), Terminal)
