"""The demo's photos, and the page it closes with."""

import contextlib
import io
import os
import re
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console, RenderableType

from rsrl_ray import demo
from rsrl_ray.analysis import report
from rsrl_ray.analysis import results as swept_results
from rsrl_ray.cli import main as cli
from rsrl_ray.config import Experiment
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.demo import Line, Outcome
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.sweep import ahead, launch
from rsrl_ray.tracking import standing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "PHOTOS", 200)
        return demo.prepare(tmp_path_factory.mktemp("demo") / "new" / "folder").parent


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PHOTOS", 16)


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


IMAGES = [*"abcdefghij", "v1", "v2", "t1", "t2", "t3", "t4"]
EVERYTHING = "1111111111"
TRUTH = pd.DataFrame(
    {
        "image": IMAGES,
        "score": [3, 3, 3, 4, 4, 4, 5, 5, 6, 2, 3, 4, 3, 3, 4, 4],
        "true_score": [4, 3, 3, 5, 4, 4, 5, 5, 6, 2, 4, 4, 3, 3, 4, 4],  # of a, d and v1 it is another
    }
)


def predictions(kept: str, predicted: str, validation_right: int) -> pd.DataFrame:
    """Predictions for ten training photos a to j (kept: 1 or 0), two validation and four test photos (predicted)."""
    table = pd.DataFrame(
        {
            "image": IMAGES,
            "split": ["train"] * 10 + ["validation"] * 2 + ["test"] * 4,
            "score": list(TRUTH["score"]),
            "true_score": list(TRUTH["true_score"]),
        }
    )
    right = [3, 4][:validation_right] + [6, 6][validation_right:]
    table["predicted"] = [*table["score"][:10], *right, *map(int, predicted)]
    table["kept"] = pd.array([bool(int(digit)) for digit in kept] + [None] * 6, dtype="boolean")
    table["returned"] = pd.array([False] * 10 + [None] * 6, dtype="boolean")
    table["self_confidence"] = 0.5
    return table.assign(**{f"logit_{score}": np.float32(0) for score in (2, 3, 4, 5, 6)})


def test_outcome_follows_from_literal_predictions() -> None:
    first = predictions(EVERYTHING, "3333", validation_right=0)  # F of 3: 2/3, of 4: 0
    trials = {
        TrialKey(0, "paper"): [
            first,
            predictions("0110111111", "3344", validation_right=1),  # drops a and d, both wrong; chosen
            predictions("0011111111", "4433", validation_right=1),  # drops a, and b, which is right
        ],
        TrialKey(0, "mild"): [predictions(EVERYTHING, "3344", 1), predictions("1011111111", "3344", 0)],  # drops b
        TrialKey(1, "paper"): [
            first,
            predictions("1111011111", "3333", validation_right=0),  # drops e, which is right
            predictions(EVERYTHING, "3344", validation_right=2),  # chosen
        ],
    }
    assert demo.outcome(trials) == Outcome(
        lines=(
            Line("paper", first=1 / 3, chosen=1.0, dropped=5, wrong=3 / 5),
            Line("mild", first=1.0, chosen=1.0, dropped=1, wrong=0.0),
        ),
        folds=2,
        dropped=6,
        wrong_dropped=3 / 6,
        wrong_majority=2 / 8,
    )


def test_outcome_chooses_on_the_test_photos_where_none_are_for_validation() -> None:
    rounds = [predictions(EVERYTHING, predicted, 0) for predicted in ("3333", "3344", "4433")]
    trials = {TrialKey(0, "none"): [table[table["split"] != "validation"] for table in rounds]}
    (line,) = demo.outcome(trials).lines
    assert (line.first, line.chosen) == (1 / 3, 1.0)


def test_outcome_of_a_sweep_that_dropped_nothing_and_of_a_trial_without_rounds() -> None:
    trials = {TrialKey(0, "paper"): [], TrialKey(0, "none"): [predictions(EVERYTHING, "3344", validation_right=1)]}
    result = demo.outcome(trials)
    assert [line.method for line in result.lines] == ["none"]
    assert result.dropped == 0
    assert np.isnan([result.wrong_dropped, result.lines[0].wrong]).all()
    assert "No photo was dropped" in printed(demo.render(result))


def test_the_summary_says_what_its_columns_mean_and_what_came_out() -> None:
    rounds = [predictions(EVERYTHING, "3333", 0), predictions("0010111111", "3344", 1)]
    page = printed(demo.summary({TrialKey(0, "paper"): rounds, TrialKey(0, "none"): rounds[:1]}))
    columns = ("method", "F, first network", "F, chosen network", "photos dropped", "wrong labels")
    assert re.search(r"\W+".join(columns), page)
    assert re.search(r"paper\W+0\.333\W+1\.000\W+3\W+66\.7%", page)
    assert re.search(r"none\W+0\.333\W+0\.333\W+0", page)
    assert "66.7% of the dropped photos have a wrong label. Dropped at random it would be 25.0%" in page
    assert "none drops nothing: a method that does no better than it has gained nothing" in page
    for word in ("F: the F-measure", "chosen network: ", "photos dropped: "):
        assert f"\n{word}" in page


def test_the_end_names_what_to_look_at_next_and_the_page_is_there(
    few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`rsrl demo` where the sweep is a stub: what it prints, and that it has the page made."""
    key, rounds = TrialKey(0, "paper"), [predictions(EVERYTHING, "3344", 1)]
    results = SimpleNamespace(trials={key: key}, results=SimpleNamespace(predictions=lambda run: rounds))
    swept = launch.Outcome(finished=[key], failed={}, stopped=[], unlogged=0)

    addresses = []

    def run_sweep(*arguments: object) -> launch.Outcome:
        addresses.append(os.environ["RAY_ADDRESS"])
        return swept

    def analyze(experiment: Experiment, out: None, *rest: object) -> SimpleNamespace:
        folder = report.default_folder(experiment)
        folder.mkdir(parents=True)
        (folder / "index.html").write_text("the page")
        return SimpleNamespace(page=folder / "index.html")

    monkeypatch.setattr(ahead, "started_ahead", lambda display, wanted: contextlib.nullcontext())
    monkeypatch.setattr(launch, "run_sweep", run_sweep)
    monkeypatch.setattr(standing, "find_results", lambda experiment: results)
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
