"""The saved view that compares methods: what MLflow's UI draws of it in a real browser, from a real tracking server."""

import base64
import contextlib
import json
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import pytest
from conftest import put_database
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from playwright.sync_api import Page
from sweep.servers import free_port

from rsrl_ray.cli import main as cli
from rsrl_ray.core.trial import Link, Origin, TrialKey
from rsrl_ray.tracking import views
from rsrl_ray.tracking.entries import BestSoFar, Round, SweepRun, Trial
from rsrl_ray.tracking.server import started
from rsrl_ray.tracking.write import Tracker

TAG = "mlflow.sharedViewState."
VIEW = f"{TAG}rsrl-ab"
F = {  # test macro F by method and fold, of the rounds 1, 2, 3; the validation photos' is twice that
    TrialKey(0, "none"): (0.1, 0.2, 0.15),
    TrialKey(1, "none"): (0.3, 0.4, 0.25),
    TrialKey(0, "paper"): (0.2, 0.3, 0.4),
    TrialKey(1, "paper"): (0.4, 0.35, 0.1),
}
TRIALS = {f"id-{key.method}-{key.fold}": key for key in F}
SWEEP = SweepRun("ab", {}, "", {}, {}, TRIALS, (2, 3))


def log_sweep(tracker: Tracker, sweep: SweepRun = SWEEP) -> None:
    """All trials of a sweep, 3 rounds each; kept photos 30, 20, 10."""
    tracker.open_sweep(sweep)
    for name, key in sweep.trials.items():
        trial, best, rounds = Trial(name, key, {}), 0.0, []
        for number, value in enumerate(F[key], start=1):
            values = {"test_macro_f1": value, "validation_macro_f1": 2 * value, "train_size": 40.0 - 10 * number}
            values |= {"f1_2": value / 2, "f1_3": value / 4, "majority_share": 0.5}
            choice = BestSoFar(number, 1000.0, {"round": float(number), **values}) if value > best else None
            best = max(best, value)
            link = Link(f"{name}-{number}")
            rounds.append(Round(number, values, "", link, 1000.0 + number, lambda folder: None, choice))
        tracker.take_up(trial, [done.link for done in rounds], Origin("start", "cpu", ("2",)))
        tracker.log_rounds(trial, rounds)
        tracker.end_trial(trial, "FINISHED")
    tracker.end_sweep("FINISHED")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server that a sweep was tracked in, another sweep of the same experiment before it."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    put_database(folder / "server.db")
    uri, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 300
    with started(f"sqlite:///{folder}/server.db", port, str(folder / "a")) as process:
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{uri}/health", timeout=5).close()
                break
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.2)
        older = {"id-other": TrialKey(0, "paper")}
        for sweep in (SweepRun("cd", {}, "", {}, {}, older, (2, 3)), SWEEP):
            log_sweep(Tracker(uri, "photos", None, print), sweep)
        yield uri
    with pytest.raises(OSError, match="refused"):  # its workers have ended with it
        urllib.request.urlopen(uri, timeout=5)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium.opened() as browser:
        page = browser.new_page(viewport={"width": 1500, "height": 2600})
        page.set_default_timeout(120_000)
        yield page


def links(server: str) -> dict[str, str]:
    client = MlflowClient(server)
    found = client.get_experiment_by_name("photos")
    assert found is not None
    return views.pages(server, found.experiment_id, found.tags, "ab")


DRAWN = """() => Object.fromEntries(
    [...document.querySelectorAll("[data-testid=experiment-view-compare-runs-card]")].map(card => [
        card.innerText.split("\\n")[0],
        [...card.querySelectorAll(".js-plotly-plot")].flatMap(plot => plot.data)
            .filter(trace => trace.type == "bar" || trace.mode == "lines+markers")
            .map(trace => trace.type == "bar" ? [...trace.x] : [[...trace.x], [...trace.y]]),
    ])
)"""


@pytest.mark.slow
def test_the_charts_are_a_line_a_method_the_mean_over_folds(server: str, page: Page) -> None:
    page.goto(links(server)["Methods, mean over folds, charts"])
    page.wait_for_function(f"() => Object.values(({DRAWN})()).filter(lines => lines.length).length >= 6")
    heads = page.locator("[data-testid=experiment-view-compare-runs-section-header]").all_inner_texts()
    assert [head.split("\n")[0].split(" (")[0] for head in heads] == [
        *("Macro F", "Training set", "F of each score"),
        *("chosen", "Model metrics"),  # closed
    ]
    drawn = page.evaluate(DRAWN)
    shown = ["test_macro_f1", "chosen/test_macro_f1", "train_size", "majority_share"]
    assert list(drawn) == [*shown, "f1_2", "f1_3"]
    paper, none = [0.3, 0.325, 0.25], [0.2, 0.3, 0.2]  # paper first: it is better at the chosen rounds
    assert_lines(drawn["test_macro_f1"], paper, none)
    assert_lines(drawn["f1_3"], [f / 4 for f in paper], [f / 4 for f in none])
    assert_lines(drawn["train_size"], [30, 20, 10], [30, 20, 10])
    assert np.sort(np.ravel(drawn["chosen/test_macro_f1"])) == pytest.approx([0.3, 0.4])
    legend = page.locator("[data-testid=experiment-view-compare-runs-card]").first.inner_text()
    assert "paper (test_macro_f1)" in legend and "none (test_macro_f1)" in legend
    assert "fold" not in legend and "sweep" not in legend


def assert_lines(lines: list[tuple[list[int], list[float]]], *expected: list[float]) -> None:
    assert [steps for steps, _ in lines] == [[1, 2, 3]] * len(expected)
    assert [values for _, values in lines] == [pytest.approx(values) for values in expected]


@pytest.mark.slow
def test_the_table_is_a_row_a_method_at_its_chosen_rounds(server: str, page: Page) -> None:
    page.goto(links(server)["Methods, mean over folds, table"])
    page.get_by_text("0.4 (average)").wait_for()
    groups = page.locator(".ag-row").get_by_text("Group: ").all_inner_texts()
    assert groups == ["Group: paper", "Group: none"]
    for name, values in {"test_macro_f1": (0.4, 0.3), "train_size": (20, 20), "round": (2, 2)}.items():
        cells = page.locator(f".ag-cell[col-id='metrics.`chosen/{name}`']").all_inner_texts()
        assert [float(cell.split(" (average)")[0]) for cell in cells if cell] == pytest.approx(list(values))


@pytest.mark.slow
def test_ui_prints_the_view_first(
    server: str, experiment_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["ui", str(experiment_file(name="photos", mlflow=server))]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("note: ")]
    assert lines[:2] == [f"{name}: {page}" for name, page in links(server).items()]
    assert [line.partition(": ")[0] for line in lines] == [
        "Methods, mean over folds, table",
        "Methods, mean over folds, charts",
        "runs",
        "macro F by round",
    ]
    assert f"{server}/#/experiments/" in lines[0] and lines[1].endswith("&compareRunsMode=CHART")


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    put_database(tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def opened(uri: str, sweep: SweepRun, said: list[str]) -> dict[str, str]:
    """Take a sweep up and leave it; the experiment's tags then."""
    tracker = Tracker(uri, "photos", None, said.append)
    tracker.open_sweep(sweep)
    tracker.end_sweep("FINISHED")
    found = MlflowClient(uri).get_experiment_by_name("photos")
    assert found is not None
    return {name: value for name, value in found.tags.items() if name.startswith(TAG)}


def test_a_sweep_has_one_view_and_what_people_saved_stays(sqlite: str) -> None:
    said: list[str] = []
    first = opened(sqlite, SWEEP, said)
    assert list(first) == [VIEW]
    client = MlflowClient(sqlite)
    found = client.get_experiment_by_name("photos")
    assert found is not None
    theirs = {f"{TAG}mine": '{"name": "Methods, mean over folds", "createdAt": 1, "state": "{}"}',
              f"{TAG}odd": "no JSON"}  # fmt: skip
    changed = json.dumps(json.loads(first[VIEW]) | {"state": "deflate;theirs", "updatedAt": 2})
    for name, value in {**theirs, VIEW: changed}.items():
        client.set_experiment_tag(found.experiment_id, name, value)
    assert opened(sqlite, SWEEP, said) == {**theirs, VIEW: changed}  # also the one that they have overridden
    client.delete_experiment_tag(found.experiment_id, VIEW)
    other = opened(sqlite, SweepRun("cd", {}, "", {}, {}, TRIALS, (2, 3)), said)
    assert {name: other[name] for name in theirs} == theirs
    both = opened(sqlite, SWEEP, said)
    assert {name: json.loads(value)["name"] for name, value in both.items() if name not in theirs} == {
        VIEW: "Methods, mean over folds",
        f"{TAG}rsrl-cd": "Methods, mean over folds (an older sweep)",
    }
    assert said == []


def test_a_large_sweep_loads_whole_methods_and_fits_into_a_tag(sqlite: str) -> None:
    """MLflow's UI reads 100 runs at first; by macro F these would be the best folds of each method."""
    trials = {str(number): TrialKey(number % 5, f"a method of the name {number // 5}") for number in range(1500)}
    view = json.loads(opened(sqlite, SweepRun("ab", {}, "", {}, {}, trials, tuple(range(10))), [])[VIEW])
    state = json.loads(zlib.decompress(base64.b64decode(view["state"].removeprefix("deflate;"))))
    assert (state["orderByKey"], state["orderByAsc"]) == ("params.`method`", True)


def test_the_sweep_goes_on_where_the_view_cannot_be_made(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(
        client: MlflowClient, experiment: str, tag: str, value: str, inner: Any = MlflowClient.set_experiment_tag
    ) -> None:
        if tag == VIEW:
            raise MlflowException("the tag is too long")
        inner(client, experiment, tag, value)

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", fails)
    said: list[str] = []
    assert opened(sqlite, SWEEP, said) == {}
    assert said == ["mlflow: the saved view 'Methods, mean over folds' could not be made: the tag is too long"]
    found = MlflowClient(sqlite).get_experiment_by_name("photos")
    assert found is not None and views.pages("http://x", "1", found.tags, "ab") == {}
