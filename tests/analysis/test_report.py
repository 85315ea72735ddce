"""`rsrl analyze` and `rsrl highlight` on a sweep that real Ray has made."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from rsrl_ray import cli
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.tracking import mlflow_uri


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
    assert "analysis/rounds.csv" in [file.path for file in client.list_artifacts(parent.info.run_id, "analysis")]

    assert cli.main(["highlight", str(file), "--score", "4", "--top", "2"]) == 0
    assert "4-" in capsys.readouterr().out
    rows = pd.read_csv(folder / "highlights.csv")
    assert len(rows) == 2
    assert (rows["schedule"] == "firm").all()
    for name in rows["map"].dropna():
        assert (folder / f"{name}.npy").exists()
        assert (folder / f"{name}.png").exists()
