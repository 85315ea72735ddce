"""Every figure is written, and drawn by its name."""

from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest
from analysis.figures.conftest import legend_of, lines_of
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from rsrl_ray.analysis.figures.curves import training_size
from rsrl_ray.analysis.figures.drawings import figure, write_figures
from rsrl_ray.analysis.figures.style import STYLE
from rsrl_ray.analysis.numbers.frames import summarise
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.store.file_names import file_names


@pytest.mark.slow
def test_everything_is_written(sweep: Sweep, table: Path, tmp_path: Path) -> None:
    before = [matplotlib.rcParams[name] for name in STYLE]
    written = write_figures(sweep, summarise(sweep), tmp_path / "figures", table)
    captions = {picture.name: picture.caption for picture in written}
    assert [matplotlib.rcParams[name] for name in STYLE] == before
    drawn = ["differences", "scores", "training_size", "majority_share", "total_f", "class_measures"]
    drawn += ["confusion_none", "assigned_none", "confusion_paper", "assigned_paper", "ledger_paper"]
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
    assert legend_of(training_size(odd)) == list(names)


def test_a_figure_by_its_name(sweep: Sweep, table: Path) -> None:
    frames = summarise(sweep)
    (axes,) = figure(sweep, frames, table, "macro_f", "paper").axes
    assert_allclose(lines_of(axes)[0][1], [1 / 6, 5 / 9])
    assert_array_equal(figure(sweep, frames, table, "confusion", "paper").axes[0].images[0].get_array()[:, 1], 1)
    assert figure(sweep, frames, table, "ledger", "paper").axes[0].get_title().startswith("score 3")
    there = "macro_f, differences, scores, training_size, majority_share, total_f, class_measures, confusion, assigned"
    with pytest.raises(ValueError, match=f"^figure 'ledger': there is no such figure; there are {there}$"):
        figure(sweep, frames, table, "ledger", "none")  # which drops nothing
