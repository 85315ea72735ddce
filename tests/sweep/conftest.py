"""A sweep that nothing disturbs."""

from pathlib import Path

import pytest
from conftest import write_experiment
from sweep.sweeping import KNOBS, Left, swept


@pytest.fixture(scope="session")
def undisturbed(photos_csv: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Left:
    file = write_experiment(tmp_path_factory.mktemp("undisturbed"), photos_csv, **KNOBS)
    swept(file)
    left = Left.by(file)
    assert len(left.archive) == 2 * 3
    return left
