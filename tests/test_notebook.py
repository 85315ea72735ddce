"""The notebook of the experiments, run as Jupyter does it, with a real Ray."""

import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import put_database
from nbclient import NotebookClient

from rsrl_ray import demo

ROOT = Path(__file__).parents[1]


def shown(cell: Any, kind: str) -> list[str]:
    """What a cell shows of this kind."""
    return [output.data[kind] for output in cell.outputs if kind in output.get("data", {})]


@pytest.fixture
def forked_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jupyter's kernel is a fork, as the tests' other processes are."""
    kernel = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    words = [os.environ["RSRL_PYTHON"], "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": words, "display_name": "Python 3", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Jupyter's own
@pytest.mark.usefixtures("forked_kernel")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word for word, on a demo of fewer photos: `make_demo` leaves what it finds."""
    monkeypatch.setattr(demo, "DEMO_PHOTOS", 400)
    demo.prepare(tmp_path / "rsrl-demo")
    notebook = nbformat.read(ROOT / "experiments" / "notebook.ipynb", 4)
    assert len(notebook.cells) <= 20 and not any(cell.get("outputs") for cell in notebook.cells)
    put_database(tmp_path / "rsrl-demo" / "results" / "mlflow.db")
    NotebookClient(notebook, timeout=400, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    trained, summary, compared, figure, wrong, _, mine, scores = cells
    assert any("rounds 8/8" in text for text in shown(trained, "text/plain"))
    assert not any("round 1 of" in text for text in shown(trained, "text/plain"))  # a line a round would be too many
    assert "less" in shown(summary, "text/html")[0] and "less" in shown(compared, "text/html")[0]
    assert len(shown(figure, "image/png")) == 1
    assert "False" in shown(wrong, "text/plain")[0]
    assert "mine" in shown(mine, "text/html")[-1]
    assert "quantile" in shown(scores, "text/html")[0]
