"""What the figures draw, from rounds made by hand: twelve photos, two folds, the second still running."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from rsrl_ray.analysis.figures.classes import confusion_matrices, score_histogram
from rsrl_ray.analysis.figures.curves import class_measures, f_measure, majority_share, training_size
from rsrl_ray.analysis.figures.drawings import write_figures
from rsrl_ray.analysis.figures.ledger import ledger
from rsrl_ray.analysis.figures.sheets import (
    PIXELS,
    assigned_examples,
    assigned_scores,
    history_sheet,
    low_and_high,
)
from rsrl_ray.analysis.figures.small_photos import SmallPhotos
from rsrl_ray.analysis.figures.style import PALE, STYLE, look
from rsrl_ray.analysis.numbers.frames import summarise
from rsrl_ray.analysis.numbers.histories import history
from rsrl_ray.analysis.sweep.arrays import Sweep, Trial
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.photos.table import read_table
from rsrl_ray.store.file_names import file_names

NAN = np.nan
SCORES = np.array([3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 2, 2])
CHOSEN = {TrialKey(0, "paper"): 3, TrialKey(1, "paper"): 2}


def _trial(fold: int, method: str, test: dict[int, list[int]], dropped: list[list[int]]) -> Trial:
    """test : photo -> score assigned by round; dropped : photos by round. The photo beside the test ones validates."""
    rounds = len(dropped)
    split = np.zeros(12, np.int8)
    split[list(test)] = 2
    split[1 if fold == 0 else 6] = 1
    predicted = np.tile(SCORES, (rounds, 1))
    for photo, assigned in test.items():
        predicted[:, photo] = assigned
    kept = np.tile(split == 0, (rounds, 1))
    for row, photos in zip(kept, dropped, strict=True):
        row[photos] = False
    metrics = pd.DataFrame({"train_size": kept.sum(axis=1).astype(float)}, index=range(1, rounds + 1))
    confidence, seen = np.full((rounds, 12), 0.5, "f4"), kept.sum(axis=1).cumsum().astype(float)
    return Trial(fold, method, "RUNNING", "", "", metrics, split, SCORES, seen, predicted, kept, confidence)


@pytest.fixture
def sweep() -> Sweep:
    first = _trial(0, "paper", {0: [3, 3, 3], 6: [3, 4, 4], 10: [3, 3, 2]}, [[], [2, 3, 7], [2, 8]])
    first.metrics["test_total_f1"] = [0.5, 5 / 3, 3.0]
    first.metrics["validation_macro_f1"] = [0.1, 0.2, 0.3]  # so that `CHOSEN` are chosen
    first.metrics["majority_share"] = [7 / 8, 4 / 5, 5 / 6]
    first.predicted[2, [2, 3, 8]] = [4, 3, 2]
    first.self_confidence[2, [2, 3, 7, 8]] = [0.1, 0.9, 0.8, 0.2]
    second = _trial(1, "paper", {1: [3, 4], 7: [3, 4], 11: [3, 2]}, [[], [2, 3]])
    second.metrics["test_total_f1"] = [0.5, 5 / 3]
    second.metrics["validation_macro_f1"] = [0.1, 0.2]
    second.metrics["majority_share"] = [7 / 8, 5 / 6]
    second.predicted[1, [2, 3]] = [4, 4]
    second.self_confidence[1, [2, 3, 8]] = [0.3, 0.5, 0.6]
    control = _trial(0, "none", {0: [3, 3, 3], 6: [3, 3, 3], 10: [3, 3, 3]}, [[], [], []])
    control.metrics["test_total_f1"] = [0.5, 0.5, 0.5]
    control.metrics["majority_share"] = [7 / 8, 7 / 8, 7 / 8]
    control.metrics["validation_macro_f1"] = [0.1, 0.1, 0.1]
    trials = {TrialKey(0, "paper"): first, TrialKey(1, "paper"): second, TrialKey(0, "none"): control}
    for trial in trials.values():
        trial.metrics["test_macro_f1"] = trial.metrics["test_total_f1"] / 3
    images = tuple(f"many/{place}.png" for place in range(12))
    return Sweep("made", "", images, SCORES, np.array([2, 3, 4]), 3, ("paper", "none"), (0, 1), trials, 2, ())


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of photos. Photo n is n * 20 grey, 6 x 3 pixels; photo 8 is not there."""
    folder = tmp_path / "photos" / "many"
    folder.mkdir(parents=True)
    for place in set(range(12)) - {8}:
        Image.new("RGB", (6, 3), (place * 20,) * 3).save(folder / f"{place}.png")
    return folder.parent / "photos.csv"


def _lines(axes: Axes) -> list[tuple[list[float], list[float]]]:
    return [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in axes.lines]


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def _legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_score_histogram(sweep: Sweep) -> None:
    figure = score_histogram(sweep)
    bars = figure.axes[0].patches
    assert [bar.get_height() for bar in bars] == [2, 6, 4]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["2", "3", "4"]
    assert _texts(figure) == ["2", "6", "4"]
    assert [bar.get_facecolor() == to_rgba(PALE) for bar in bars] == [True, False, False]
    assert _legend(figure) == ["2 largest classes (83%)", "others (17%)"]


def test_the_mean_of_the_folds_its_band_and_where_a_fold_is_not_there_yet(sweep: Sweep) -> None:
    (axes,) = training_size(sweep).axes
    assert _lines(axes) == [([1, 2], [8, 5.5]), ([2, 3], [5.5, 6]), ([1, 2, 3], [8, 8, 8])]
    assert [line.get_alpha() for line in axes.lines] == [None, 0.35, None]
    corners = axes.collections[0].get_paths()[0].vertices
    assert_allclose(sorted(set(corners[corners[:, 0] == 2, 1])), [5.5 - 0.5**0.5, 5.5 + 0.5**0.5])
    assert corners[:, 0].max() == 2  # one fold alone has no deviation
    assert all(not collection.get_paths() for collection in axes.collections[1:])
    assert _legend(training_size(sweep)) == ["paper", "none"]


def test_majority_share(sweep: Sweep) -> None:
    figure = majority_share(sweep)
    assert_allclose(_lines(figure.axes[0])[0][1], [0.875, (4 / 5 + 5 / 6) / 2])
    assert figure.get_supylabel() == "share of the 2 largest classes"


def test_no_two_ticks_have_the_same_words(sweep: Sweep) -> None:
    """They were 86 %, 86 %, 86 %."""
    for trial in sweep.trials.values():
        trial.metrics["majority_share"] = np.linspace(0.861, 0.8644, len(trial.metrics))
        trial.metrics["train_size"] = np.linspace(6.0, 7.0, len(trial.metrics))
    for figure in (majority_share(sweep), training_size(sweep)):
        figure.draw_without_rendering()
        words = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert len(words) >= 2 and len(set(words)) == len(words)


def test_total_f_marks_the_chosen_round_of_each_fold_at_its_own_value(sweep: Sweep) -> None:
    (axes,) = f_measure(sweep, CHOSEN | {TrialKey(0, "none"): 1}).axes
    drawn = _lines(axes)
    assert_allclose(drawn[0][1], [0.5, 5 / 3])
    assert drawn[3:] == [([1], [0.5]), ([3], [3.0]), ([2], [5 / 3])]
    marks = [(line.get_marker(), line.get_markeredgecolor()) for line in axes.lines[3:]]
    assert marks == [("s", look(1)["color"]), ("o", look(0)["color"]), ("o", look(0)["color"])]


def test_class_measures(sweep: Sweep) -> None:
    figure = class_measures(sweep, ["paper", "none"])
    grid = np.reshape(np.array(figure.axes), (3, 3))
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["score 2", "score 3", "score 4"]
    assert [axes.get_title() for axes in grid[0]] == ["precision", "recall", "F-measure"]
    whole = [[_lines(axes)[0][1] for axes in row] for row in grid]
    expected = [
        [[0, 1 / 2], [0, 1 / 2], [0, 1 / 2]],
        [[1 / 3, 1 / 4], [1, 1 / 2], [1 / 2, 1 / 3]],
        [[0, 3 / 4], [0, 1], [0, 5 / 6]],
    ]
    assert_allclose(whole, expected)
    assert_allclose([_lines(axes)[1][1][-1] for axes in grid.ravel()], 1)  # round 3, of which fold 0 alone has all
    assert_allclose(_lines(grid[1, 0])[2][1], [1 / 3] * 3)  # the control


def test_a_class_without_test_photos_is_left_out_and_a_fold_without_any_does_not_count(sweep: Sweep) -> None:
    first, second = sweep.trials[0, "paper"], sweep.trials[1, "paper"]
    first.split[10] = 1  # no test photo of score 2 in this fold
    figure = class_measures(sweep, ["paper"])
    assert [_lines(axes)[0] for axes in figure.axes[:3]] == [([1, 2], [0, 1])] * 3
    second.split[11] = 1
    assert [axes.get_ylabel() for axes in class_measures(sweep, ["paper"]).axes[::3]] == ["score 3", "score 4"]


def test_one_round_is_a_dot_and_one_fold_has_no_band(sweep: Sweep) -> None:
    trial = sweep.trials[0, "none"]
    short = replace(trial, metrics=trial.metrics.loc[:1], predicted=trial.predicted[:1], kept=trial.kept[:1])
    (axes,) = training_size(replace(sweep, trials={TrialKey(0, "none"): short})).axes
    assert _lines(axes) == [([1], [8])]
    assert axes.lines[0].get_marker() == "."
    assert axes.get_xticks().tolist() == [1]


def test_ten_methods_have_axes_of_their_own_and_no_two_look_alike(sweep: Sweep) -> None:
    names = tuple(f"method {place}" for place in range(10))
    trials = {TrialKey(0, name): replace(sweep.trials[0, "paper"], method=name) for name in names}
    figure = f_measure(replace(sweep, methods=names, trials=trials), {TrialKey(0, "method 3"): 2})
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(names)
    for place, axes in enumerate(figure.axes):
        strong = [line for line in axes.lines if line.get_color() != PALE and line.get_linestyle() != "None"]
        assert [line.get_color() for line in strong] == [look(place)["color"]]
        assert len(axes.lines) == (11 if place == 3 else 10)
    assert len({str(look(place)) for place in range(28)}) == 28
    eleven = replace(sweep, methods=(*names, "last"), trials=trials | {TrialKey(0, "last"): trials[0, "method 0"]})
    shown = training_size(eleven).axes
    assert len(shown) == 11
    assert shown[9].xaxis.get_tick_params()["labelbottom"]  # nothing stands below it


def test_confusion_matrices_of_many_classes_hold_no_counts(sweep: Sweep) -> None:
    """10,000 numbers in a figure are drawn for minutes, and nobody can read them."""
    axes = confusion_matrices(replace(sweep, classes=np.arange(100)), "paper", CHOSEN).axes
    assert [len(axis.texts) for axis in axes] == [0, 0]
    assert [[len(axis.get_xticklabels()), len(axis.get_yticklabels())] for axis in axes] == [[20, 20]] * 2


def test_confusion_matrices_add_up_over_the_folds(sweep: Sweep) -> None:
    figure = confusion_matrices(sweep, "paper", CHOSEN)
    above, below = figure.axes
    # round 1: everything is a 3; chosen: fold 0 has all three right, fold 1 takes the 3 for a 4
    assert_array_equal(above.images[0].get_array(), [[0, 1, 0], [0, 1, 0], [0, 1, 0]])
    assert_array_equal(below.images[0].get_array(), [[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]])
    assert [(text.get_position(), text.get_text()) for text in below.texts] == [
        ((0, 0), "2"),
        ((1, 1), "1"),
        ((2, 1), "1"),
        ((2, 2), "2"),
    ]
    assert [label.get_text() for label in below.get_yticklabels()] == ["2 (2)", "3 (2)", "4 (2)"]
    assert (above.get_title(), below.get_title()) == ("round 1", "chosen rounds 2, 3")
    assert _texts(confusion_matrices(sweep, "paper", {TrialKey(0, "paper"): 2})) == ["1", "1", "1", "1", "1", "1"]


def test_history(sweep: Sweep) -> None:
    found = history(sweep, "paper")
    assert found.times.tolist() == [0, 0, 3, 2, 0, 0, 0, 1, 1, 0, 0, 0]
    assert found.of.tolist() == [1, 0, 3, 3, 3, 3, 0, 2, 3, 3, 1, 2]
    assert found.away.tolist() == [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]
    assert np.flatnonzero(found.is_never_kept).tolist() == [2]
    assert found.assigned.tolist() == [3, -1, 4, 3, 3, 3, -1, 4, 2, 4, 2, 2]  # of two scores the lower
    assert_allclose(found.self_confidence[[0, 2, 3, 7, 8]], [0.5, 0.2, 0.7, 0.8, 0.4])
    assert np.isnan(found.self_confidence[[1, 6]]).all()
    assert_array_equal(found.dropped[[1, 2, 3, 7]], [[NAN] * 3, [0, 1, 1], [0, 1, 0], [0, 1, 0]])
    assert_array_equal(found.dropped[8], [0, 0, 1])
    assert_array_equal(found.dropped[0], [0, 0, NAN])  # only the second fold trains on it


def test_the_ledger_of_one_fold(sweep: Sweep) -> None:
    alone = replace(sweep, trials={TrialKey(0, "paper"): sweep.trials[0, "paper"]})
    figure = ledger(alone, "paper", history(alone, "paper"))
    threes, fours, bar = figure.axes
    assert_array_equal(threes.images[0].get_array(), [[0, 1, 1], [0, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert_array_equal(fours.images[0].get_array(), [[0, 1, 0], [0, 0, 1], [0, 0, 0]])  # as often, the earlier first
    assert threes.images[0].get_extent() == [0.5, 3.5, 4, 0]
    assert (threes.get_title(), fours.get_title()) == ("score 3\n(4 photos)", "score 4\n(3 photos)")
    assert [label.get_text() for label in bar.get_xticklabels()] == ["kept", "dropped"]
    assert threes.images[0].get_cmap().N == 2


def test_the_ledger_of_two_folds_shades_by_the_share_of_them(sweep: Sweep) -> None:
    sweep.trials[1, "paper"].kept[1, 8] = False
    figure = ledger(sweep, "paper", history(sweep, "paper"))
    fours = figure.axes[1].images[0]
    # photo 8: dropped by one fold of two, then by one of one
    assert_array_equal(fours.get_array(), [[0, 0.5, 1], [0, 1, 0], [0, 0, 0]])
    assert fours.get_cmap().N == 3
    assert [label.get_text() for label in figure.axes[2].get_xticklabels()] == ["none", "all"]


def _dropped(sweep: Sweep, table: Path) -> Figure:
    found = history(sweep, "paper")
    return history_sheet(sweep, found, found.dropped_most(), "dropped most often", SmallPhotos(table, PIXELS))


def _sheet(figure: Figure) -> list[list[str]]:
    """Heading, and the lines under each photo."""
    texts = _texts(figure)
    starts = [place for place, text in enumerate(texts) if text.endswith(".png")] + [len(texts)]
    return [texts[: starts[0]], *(texts[start:end] for start, end in pairwise(starts))]


def test_the_sheet_of_the_photos_dropped_most_often(sweep: Sweep, table: Path) -> None:
    figure = _dropped(sweep, table)
    heading, first, second, third, fourth = _sheet(figure)
    assert heading == ["dropped most often"]
    assert first == ["2.png", "score 3 → 4", "confidence 0.20", "dropped 3 of 3"]
    assert second == ["3.png", "score 3 → 3", "confidence 0.70", "dropped 2 of 3"]
    assert third[:4] == ["7.png", "score 4 → 4", "confidence 0.80", "dropped 1 of 2"]
    assert fourth == ["8.png", "score 4 → 2", "confidence 0.40", "dropped 1 of 3"]
    pictures = figure.axes[0].images
    assert [np.unique(picture.get_array()).tolist() for picture in pictures] == [[40], [60], [140]]
    left, right, low, high = pictures[0].get_extent()
    assert (right - left) / (low - high) == pytest.approx(2)  # as the photo itself
    (why,) = (text for text in third if "missing" in text)
    assert "8.png" in re.sub(r"\s", "", why)


@pytest.mark.parametrize("kind", ["csv", "parquet", "AVA.txt", "folder per score"])
def test_every_kind_of_table_has_its_pictures_on_the_sheets(sweep: Sweep, tmp_path: Path, kind: str) -> None:
    """A folder per score had none of them."""
    folder = tmp_path / "data" / "photos"
    names = [f"{number}.jpg" if kind == "AVA.txt" else f"{score}/{number}.jpg" for number, score in enumerate(SCORES)]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 3), (90,) * 3).save(folder / name)
    table = {"csv": folder / "photos.csv", "parquet": folder / "photos.parquet", "AVA.txt": folder / "AVA.txt"}
    rows = pd.DataFrame({"image": names, "score": SCORES})
    rows.to_csv(folder / "photos.csv", index=False)
    rows.to_parquet(folder / "photos.parquet")
    votes = [["0"] * (score - 1) + ["9"] + ["0"] * (10 - score) for score in SCORES]
    ava = [f"{row} {row} {' '.join(counts)}" for row, counts in enumerate(votes)]
    (folder / "AVA.txt").write_text("\n".join(ava))
    path = table.get(kind, folder)
    images = read_table(path).images
    assert sorted(images) == sorted(names)
    named = replace(sweep, images=images)
    figure = _dropped(named, path)
    assert len(figure.axes[0].images) == 4 and not [text for text in _texts(figure) if "missing" in text]


def test_a_table_that_is_gone_is_said_in_every_place(sweep: Sweep, tmp_path: Path) -> None:
    figure = _dropped(sweep, tmp_path / "gone" / "photos.csv")
    assert len([text for text in _texts(figure) if text.startswith("missing (there")]) == 4


def test_the_sheet_of_the_photos_that_came_back(sweep: Sweep, table: Path) -> None:
    found = history(sweep, "paper")
    figure = history_sheet(sweep, found, found.came_back(), "back", SmallPhotos(table, PIXELS))
    heading, *photos = _sheet(figure)
    assert heading == ["back"]
    assert [lines[0] for lines in photos] == ["7.png", "3.png"]  # back after 1 round of 2, and of 3


def test_photos_assigned_to_a_low_and_a_high_score(sweep: Sweep, table: Path) -> None:
    figure = assigned_examples(sweep, assigned_scores(sweep, "paper", CHOSEN), [2, 4], SmallPhotos(table, PIXELS))
    assert _texts(figure) == [
        "assigned to score 2 (2 test photos)",
        *("10.png", "score 2", "11.png", "score 2"),
        "assigned to score 4 (3 test photos)",
        *("1.png", "score 3", "6.png", "score 4", "7.png", "score 4"),
    ]
    assert [picture.get_array().max() for picture in figure.axes[0].images] == [200, 220, 20, 120, 140]


def test_examples_are_taken_evenly_in_whole_rows(sweep: Sweep, table: Path) -> None:
    trial = sweep.trials[0, "paper"]
    trial.split[:] = 2
    trial.predicted[2] = 4
    trial.predicted[2, 5:] = 3  # five of the one, seven of the other
    assigned = assigned_scores(sweep, "paper", {TrialKey(0, "paper"): 3})
    figure = assigned_examples(sweep, assigned, [4, 3], SmallPhotos(table, PIXELS))
    assert [text for text in _texts(figure) if "png" in text and "missing" not in text] == [
        *("0.png", "1.png", "3.png", "4.png"),
        *("5.png", "7.png", "9.png", "11.png"),
    ]


def test_the_scores_of_the_examples() -> None:
    assert low_and_high(np.repeat([-1, 2, 3, 4, 7, 9], [9, 3, 4, 50, 4, 1])) == [3, 7]
    assert low_and_high(np.array([2, 5, 6])) == [2, 6]
    assert low_and_high(np.array([4, 4, -1])) == [4]


@pytest.mark.slow
def test_everything_is_written(sweep: Sweep, table: Path, tmp_path: Path) -> None:
    before = [matplotlib.rcParams[name] for name in STYLE]
    written = write_figures(sweep, summarise(sweep), tmp_path / "figures", table)
    captions = {picture.name: picture.caption for picture in written}
    assert [matplotlib.rcParams[name] for name in STYLE] == before
    drawn = ["differences", "scores", "training_size", "majority_share", "total_f", "class_measures"]
    drawn += ["confusion_paper", "assigned_paper", "ledger_paper"]
    drawn += ["dropped_paper", "returned_paper"]
    assert sorted(captions) == sorted(drawn)
    files = {path.name for path in (tmp_path / "figures").iterdir()}
    assert files == {f"{name}.{kind}" for name in drawn for kind in ("pdf", "png")}
    for name in drawn:
        content = (tmp_path / "figures" / f"{name}.pdf").read_bytes()
        assert b"/FontFile2" in content and b"/Type3" not in content, name
        assert b"CreationDate" not in content
    for name in captions:
        with Image.open(tmp_path / "figures" / f"{name}.png") as picture:
            assert picture.width == 748, name
    pale = "mean of 2 folds, band: one standard deviation, pale where some folds have no such round"
    assert captions["training_size"] == f"Training photos kept, by round (Fig. 4): {pale}."


@pytest.mark.slow
def test_many_methods_are_drawn_in_several_processes(sweep: Sweep, table: Path, tmp_path: Path) -> None:
    names = tuple(f"method {place}" for place in range(5))
    trials = {TrialKey(0, name): replace(sweep.trials[0, "none"], method=name) for name in names}
    many = replace(sweep, methods=names, trials=trials)
    written = [
        (picture.name, picture.method) for picture in write_figures(many, summarise(many), tmp_path / "figures", table)
    ]
    assert written[:4] == [(name, "") for name in ("scores", "training_size", "majority_share", "total_f")]
    files = file_names(names)
    kinds = ("class_measures", "confusion", "assigned")
    assert written[4:] == [(f"{kind}_{files[name]}", name) for name in names for kind in kinds]
    assert len(list((tmp_path / "figures").iterdir())) == 2 * len(written)


@pytest.mark.slow
def test_names_that_no_file_can_have(sweep: Sweep, table: Path, tmp_path: Path) -> None:
    names = ("../K=$1", "../k=$1")
    trials = {TrialKey(0, name): replace(sweep.trials[0, "none"], method=name) for name in names}
    odd = replace(sweep, methods=names, trials=trials)
    written = write_figures(odd, summarise(odd), tmp_path, table)
    matrices = [(picture.name, picture.method) for picture in written if "confusion" in picture.name]
    assert matrices == [("confusion_5ff105fb-K_1", "../K=$1"), ("confusion_86145ca1-k_1", "../k=$1")]
    assert _legend(training_size(odd)) == list(names)
