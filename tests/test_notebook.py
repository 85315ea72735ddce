"""The notebook of the experiments, run as Jupyter does it, with a real Ray."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import put_database
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


def shown(cell: Any, kind: str) -> list[str]:
    """What a cell shows of this kind."""
    return [output.data[kind] for output in cell.outputs if kind in output.get("data", {})]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Jupyter's own
def test_the_notebook_runs(tmp_path: Path) -> None:
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
