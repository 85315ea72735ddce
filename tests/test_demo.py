"""The demo's photos, and the page it closes with."""

import contextlib
import io
import os
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest
from analysis.conftest import make_by_hand
from PIL import Image
from rich.console import Console, RenderableType

from rsrl_ray import demo
from rsrl_ray.analysis.numbers.frames import Frames, summarise
from rsrl_ray.analysis.report import folder as report
from rsrl_ray.analysis.report import results as swept_results
from rsrl_ray.cli import main as cli
from rsrl_ray.config import Experiment
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.sweep.driver import ahead, launch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "DEMO_PHOTOS", 200)
        return demo.prepare(tmp_path_factory.mktemp("demo") / "new" / "folder").parent


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "DEMO_PHOTOS", 16)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_prepare_makes_photos_table_and_experiment(folder: Path) -> None:
    photos = pd.read_csv(folder / "photos.csv")
    assert list(photos.columns) == ["image", "score"]
    assert {path.name for path in folder.iterdir()} == {"images", "photos.csv", "about.txt", "quickstart.yaml"}
    assert sorted(photos["image"]) == sorted(f"images/{path.name}" for path in (folder / "images").iterdir())
    for name in photos["image"][::20]:
        with Image.open(folder / name) as picture:
            picture.load()
            assert (picture.mode, picture.size) == ("RGB", (96, 96))


def test_the_experiment_file_is_relative_to_its_folder(folder: Path) -> None:
    experiment = read_experiment(folder / "quickstart.yaml")
    assert experiment.photos == str(folder / "photos.csv")
    assert experiment.storage == str(folder / "results")
    assert (experiment.network.backbone, experiment.network.weights) == ("small", "none")
    assert (len(experiment.fold_numbers()), len(experiment.schedules), experiment.rounds) == (2, 3, 5)
    assert (experiment.noise.share, experiment.noise.kind) == (0.2, "shift")


def test_an_installed_package_brings_its_own_experiment_file(
    few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quickstart.yaml").write_text("# of the wheel")
    files = resources.files
    monkeypatch.setattr(resources, "files", lambda package: tmp_path if package == "rsrl_ray" else files(package))
    assert demo.prepare(tmp_path / "demo").read_text() == "# of the wheel"


def test_labels_have_the_papers_shares() -> None:
    table = demo.labels(np.random.default_rng(0))
    assert len(table) == len(set(table["image"]))
    paper = {2: 93, 3: 697, 4: 1488, 5: 512, 6: 186, 7: 113}
    for score, size in paper.items():
        assert (table["score"] == score).mean() == pytest.approx(size / 3100, abs=0.001)
    assert (table["score"] == 9).sum() == 2
    assert not table["score"].is_monotonic_increasing


def test_a_lower_score_is_a_worse_picture() -> None:
    scores = np.repeat(np.arange(2, 10), 12)
    pictures = np.stack([np.asarray(picture) for picture in demo.graded(scores, np.random.default_rng(0))])
    brightness = [pictures[scores == score].mean() for score in range(2, 10)]
    assert brightness == sorted(brightness)
    assert brightness[-1] > 2 * brightness[0]


def test_the_best_score_is_untouched() -> None:
    grey = Image.new("RGB", (640, 427), (200, 100, 50))
    untouched = np.asarray(demo.degraded(grey, 0.0, np.random.default_rng(0)))
    assert np.array_equal(untouched, np.broadcast_to([200, 100, 50], (96, 96, 3)))
    assert np.asarray(demo.degraded(grey, 1.0, np.random.default_rng(0))).mean() < 60


def test_prepare_gives_the_same_bits_for_the_same_seed_only(few: None, tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in ("first", "second", "other"))
    demo.prepare(first)
    demo.prepare(second)
    demo.prepare(other, seed=1)
    assert contents(first) == contents(second)
    assert contents(first)["images/0001.jpg"] != contents(other)["images/0001.jpg"]


def test_prepare_leaves_what_is_there(few: None, tmp_path: Path) -> None:
    experiment = demo.prepare(tmp_path)
    experiment.write_text("mine")
    (tmp_path / "photos.csv").write_text("image,score\n")
    assert demo.prepare(tmp_path, seed=1) == experiment
    assert experiment.read_text() == "mine"
    assert (tmp_path / "photos.csv").read_text() == "image,score\n"


def test_prepare_makes_again_what_was_interrupted(few: None, tmp_path: Path) -> None:
    demo.prepare(tmp_path)
    whole = contents(tmp_path)
    (tmp_path / "photos.csv").unlink()
    (tmp_path / "quickstart.yaml").unlink()
    (tmp_path / "images" / "0002.jpg").unlink()
    (tmp_path / "images" / "0001.jpg").write_bytes(b"half a pict")
    demo.prepare(tmp_path)
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("name", ["photos.csv", "images/holiday.jpg"])
def test_prepare_refuses_a_folder_with_other_photos(tmp_path: Path, name: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match="photos that are not the demo's; give `rsrl demo` another folder"):
        demo.prepare(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_prepare_refuses_the_demo_of_an_earlier_version(tmp_path: Path) -> None:
    (tmp_path / "shifted.csv").write_text("image,score,true_score\n")
    with pytest.raises(ValueError, match="holds the demo of an earlier version; give `rsrl demo` another folder"):
        demo.prepare(tmp_path)


@pytest.fixture(name="frames")
def _frames() -> Frames:
    """Of the sweep made by hand: photo 5, truly 5, is labelled 3, the only class that can be dropped.

    Fold 0 of paper drops 5 and 6, then 6; fold 1 drops 0.
    """
    by_hand = make_by_hand()
    labelled = by_hand.scores.copy()
    labelled[5] = 3
    by_hand.trials[TrialKey(0, "paper")].kept[1, [3, 5]] = True, False
    trials = {key: replace(trial, scores=labelled) for key, trial in by_hand.trials.items()}
    for trial in trials.values():
        trial.metrics["dropped"] = trial.dropped().sum(axis=1).astype(float)
    return summarise(replace(by_hand, trials=trials, is_noisy=True))


def test_the_outcome_of_a_sweep_made_by_hand(frames: Frames) -> None:
    found = demo.outcome(frames)
    assert list(found.index) == ["paper", "none", "late"]
    assert found.loc["paper"].tolist() == pytest.approx([(0.4 + 1 / 3) / 2, (0.4 + 11 / 15) / 2, 4, 1])
    assert found.loc["none", "dropped"] == 0 and found.loc["late", "first"] == pytest.approx(1 / 3)


def test_nothing_dropped_and_no_label_wrong(frames: Frames) -> None:
    rounds = frames.rounds.assign(dropped=0.0)
    page = printed(demo.summary(replace(frames, rounds=rounds, noise=frames.noise[:0])))
    assert "No photo was dropped" in page and "nan" not in page


def test_the_summary_says_what_its_columns_mean_and_what_came_out(frames: Frames) -> None:
    page = printed(demo.summary(frames))
    columns = ("method", "F, first network", "F, chosen network", "photos dropped", "wrong labels")
    assert re.search(r"\W+".join(columns), page)
    assert re.search(r"paper\W+0\.367\W+0\.567\W+4\W+25\.0%", page)
    assert re.search(r"none\W+0\.367\W+0\.367\W+0", page)
    assert "25.0% of the dropped photos have a wrong label. Dropped at random it would be 20.0%" in page
    assert "none drops nothing: a method that does no better than it has gained nothing" in page
    for word in ("F: the F-measure", "chosen network: ", "photos dropped: "):
        assert f"\n{word}" in page


def test_the_end_names_what_to_look_at_next_and_the_page_is_there(
    few: None, frames: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`rsrl demo` where the sweep is a stub: what it prints, and that it has the page made."""
    swept = launch.Outcome(finished=[TrialKey(0, "paper")], failed={}, stopped=[], unlogged=0)

    addresses = []

    def run_sweep(*arguments: object) -> launch.Outcome:
        addresses.append(os.environ["RAY_ADDRESS"])
        return swept

    def analyze(experiment: Experiment, out: None, *rest: object) -> report.Written:
        folder = report.default_folder(experiment)
        folder.mkdir(parents=True)
        (folder / "index.html").write_text("the page")
        return report.Written(folder, frames, ())

    monkeypatch.setattr(ahead, "started_ahead", lambda display, wanted: contextlib.nullcontext())
    monkeypatch.setattr(launch, "run_sweep", run_sweep)
    monkeypatch.setattr(swept_results, "analyze", analyze)
    folder = tmp_path / "a demo"
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert cli.main(["demo", str(folder), "--ray", "new"]) == 0
    assert addresses == ["local"]
    shown = capsys.readouterr().out
    file = f"'{folder / 'quickstart.yaml'}'"
    assert f"rsrl show {file}\n" in shown and f"rsrl ui {file}\n" in shown
    (page,) = re.findall(r"file://\S+", shown)
    assert Path(unquote(urlsplit(page).path)).read_text() == "the page"
    assert shown.endswith("rsrl init photos.csv\n")


def printed(page: RenderableType) -> str:
    console = Console(width=300, file=io.StringIO())
    console.print(page)
    return console.file.getvalue()
