"""`rsrl analyze` and `rsrl highlight` on a sweep that real Ray has made."""

import html
import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import write_experiment
from mlflow import MlflowClient

import rsrl_ray as rsrl
from rsrl_ray.analysis.figures import small_photos
from rsrl_ray.cli import main as cli
from rsrl_ray.config import Experiment
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.maps.highlight_files import COLUMNS
from rsrl_ray.maps.sanity import verdict
from rsrl_ray.photos.source import read_bytes
from rsrl_ray.tracking.find import find_results
from rsrl_ray.tracking.names import confusion_path, predictions_path
from rsrl_ray.tracking.stores import mlflow_uri

Said = pytest.CaptureFixture[str]


@pytest.fixture
def folder_per_score(photos_csv: Path, tmp_path: Path) -> Path:
    """The photos of `photos_csv` without a table: ``graded/4/4-0.png``."""
    for photo in photos_csv.parent.glob("*.png"):
        folder = tmp_path / "graded" / photo.name.partition("-")[0]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, folder)
    return tmp_path / "graded"


@pytest.mark.usefixtures("ray_session")
def test_from_a_sweep_to_tables_figures_and_maps(
    folder_per_score: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    methods = {"firm": {1: 0.5}, "none": {1: 0.0}}
    file = write_experiment(tmp_path, folder_per_score, schedules=methods, rounds=2)
    assert cli.main(["sweep", str(file)]) == 0
    capsys.readouterr()
    on_sheets: list[str] = []
    monkeypatch.setattr(small_photos, "read_bytes", lambda source: on_sheets.append(source) or read_bytes(source))
    assert cli.main(["analyze", str(file), "--pictures"]) == 0
    assert on_sheets and all(Path(source).is_relative_to(folder_per_score) for source in on_sheets)
    assert all(Path(source).is_file() for source in on_sheets)
    said = capsys.readouterr().out
    assert "always the largest class  " in said and "difference: to none" in " ".join(said.split()) and "|" not in said
    experiment = read_experiment(file)
    folder = Path(experiment.storage, "analysis", "tiny")
    assert len(pd.read_csv(folder / "rounds.csv")) == 2 * 2 * 2
    assert (folder / "tables" / "methods.tex").read_text().count(r"\toprule") == 1
    assert (folder / "figures" / "total_f.pdf").read_bytes().startswith(b"%PDF")
    assert_all_rounds_are_drawn(experiment, folder)
    assert_at_the_door(experiment, folder)
    client = MlflowClient(mlflow_uri(experiment))
    found = client.get_experiment_by_name("tiny")
    assert found is not None
    (parent,) = client.search_runs([found.experiment_id], "tags.`rsrl.trial` = ''")
    logged = [file.path for file in client.list_artifacts(parent.info.run_id, "analysis")]
    assert {"analysis/rounds.csv", "analysis/index.html", "analysis/highlights"} <= set(logged)
    page = (folder / "index.html").read_text(encoding="utf-8")
    rows = read_rows(folder)
    assert list(rows["photo"]) == surest(experiment)
    assert set(rows["method"]) == {"firm"} and set(rows["round"]) == {2}
    assert page.count('<div class="card">') == len(rows) == page.count("with the control")
    assert f"<strong>{verdict(rows)}.</strong>" in html.unescape(page)

    assert cli.main(["highlight", str(file), "--score", "4", "--top", "2"]) == 0
    said = capsys.readouterr().out
    rows = read_rows(folder)
    assert "4/" in said and verdict(rows) in said
    assert len(rows) == 2
    assert (rows["method"] == "firm").all()
    for name in rows.loc[rows["map"] != "", ["map", "edge_map"]].to_numpy().ravel():
        assert (folder / f"{name}.npy").exists()
        assert (folder / f"{name}.png").exists()


def assert_all_rounds_are_drawn(experiment: Experiment, folder: Path) -> None:
    """With the pictures that MLflow has of the first and the last round."""
    drawn = {str(file.relative_to(folder / "confusion")) for file in (folder / "confusion").glob("*/*")}
    assert drawn == {
        f"{name}_fold_{fold}/0{number}.png" for name in ("firm", "none") for fold in (0, 1) for number in (1, 2)
    }
    artifacts = find_results(experiment).trials[TrialKey(1, "firm")].artifacts
    for number in (1, 2):
        logged = artifacts.read(confusion_path(number), Path.read_bytes)
        assert logged == (folder / "confusion" / "firm_fold_1" / f"0{number}.png").read_bytes()


def assert_at_the_door(experiment: Experiment, folder: Path) -> None:
    """In Python the results are what the CSV files hold, the logged tables, and the figures."""
    results = rsrl.results(experiment)
    for name in ("rounds", "folds", "summary", "classes", "comparisons", "ledger"):
        written = pd.read_csv(folder / f"{name}.csv")
        frame = pd.read_csv(io.StringIO(getattr(results, name).to_csv(index=False)))  # missing and text alike
        pd.testing.assert_frame_equal(frame, written, rtol=1e-5, check_dtype=False)
    table = results.predictions("firm", fold=1, round=2)
    run = results.found.trials[TrialKey(1, "firm")]
    assert table.equals(run.artifacts.read(predictions_path(2), pd.read_parquet))
    assert len(results.predictions("none")) == 58
    for said, ask in (
        ("round 3: of fold 0, firm the rounds 1 to 2 are logged", lambda: results.predictions("firm", round=3)),
        (
            "no round of method 'firm' in fold 7 is logged; rounds are logged of 'firm' in fold 0; ",
            lambda: results.predictions("firm", fold=7),
        ),
        ("figure 'no': there is no such figure; there are macro_f, differences", lambda: results.figure("no")),
        ("method 'no': no round of it", lambda: results.figure("macro_f", "no")),
    ):
        with pytest.raises(ValueError, match=said):
            ask()
    assert "<table" in results._repr_html_() and "trials done" in repr(results)
    assert results.figure("macro_f")._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    for name in ("differences", "confusion", "class_measures", "ledger"):
        assert results.figure(name, "firm").axes


def read_rows(folder: Path) -> pd.DataFrame:
    """``highlights.csv`` with the types of its columns."""
    texts = {name: "" for name, kind in COLUMNS.items() if kind == "object"}
    return pd.read_csv(folder / "highlights.csv", dtype=COLUMNS).fillna(texts)


def surest(experiment: Experiment) -> list[str]:
    """Of every score the two test photos of the highest self-confidence in round 2 of firm, fold 0."""
    found = find_results(experiment)
    table = found.trials[TrialKey(0, "firm")].artifacts.read(predictions_path(2), pd.read_parquet)
    test = table[table["split"] == "test"].sort_values("self_confidence", ascending=False, kind="stable")
    return [photo for _, photos in test.groupby("score") for photo in photos["image"].head(2)]
