"""`rsrl analyze` and `rsrl highlight` on a sweep that real Ray has made."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from rsrl_ray.cli import main as cli
from rsrl_ray.config import Experiment
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.tracking.read import open_results
from rsrl_ray.tracking.write import mlflow_uri


@pytest.mark.usefixtures("ray_session")
def test_from_a_sweep_to_tables_figures_and_maps(
    experiment_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = experiment_file(schedules={"firm": {1: 0.5}, "none": {1: 0.0}}, rounds=2)
    assert cli.main(["sweep", str(file)]) == 0
    capsys.readouterr()
    assert cli.main(["analyze", str(file)]) == 0
    said = capsys.readouterr().out
    assert "| always the largest class | 2 |" in said
    experiment = read_experiment(file)
    folder = Path(experiment.storage, "analysis", "tiny")
    assert len(pd.read_csv(folder / "rounds.csv")) == 2 * 2 * 2
    assert (folder / "tables" / "schedules.tex").read_text().count(r"\toprule") == 1
    assert (folder / "figures" / "total_f.pdf").read_bytes().startswith(b"%PDF")
    client = MlflowClient(mlflow_uri(experiment))
    found = client.get_experiment_by_name("tiny")
    assert found is not None
    (parent,) = client.search_runs([found.experiment_id], "tags.`rsrl.trial` = ''")
    logged = [file.path for file in client.list_artifacts(parent.info.run_id, "analysis")]
    assert {"analysis/rounds.csv", "analysis/index.html", "analysis/highlights"} <= set(logged)
    page = (folder / "index.html").read_text(encoding="utf-8")
    rows = pd.read_csv(folder / "highlights.csv")
    assert list(rows["photo"]) == surest(experiment)
    assert set(rows["schedule"]) == {"firm"} and set(rows["round"]) == {2}
    assert page.count('<div class="card">') == len(rows) == page.count("agreement with the control")

    assert cli.main(["highlight", str(file), "--score", "4", "--top", "2"]) == 0
    assert "4-" in capsys.readouterr().out
    rows = pd.read_csv(folder / "highlights.csv")
    assert len(rows) == 2
    assert (rows["schedule"] == "firm").all()
    for name in rows["map"].dropna():
        assert (folder / f"{name}.npy").exists()
        assert (folder / f"{name}.png").exists()


def surest(experiment: Experiment) -> list[str]:
    """Of every score the two test photos of the highest self-confidence in round 2 of firm, fold 0."""
    table = open_results(experiment).predictions()[0, "firm"][1]
    test = table[table["split"] == "test"].sort_values("self_confidence", ascending=False, kind="stable")
    return [photo for _, photos in test.groupby("score") for photo in photos["image"].head(2)]
