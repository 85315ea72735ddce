"""A sweep that nothing disturbs."""

import pickle
from pathlib import Path

import pytest
from conftest import once, write_experiment
from sweep.sweeping import KNOBS, Left, swept


@pytest.fixture(scope="session")
def undisturbed(photos_csv: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Left:
    """What it leaves; one for all processes of the tests, whose photos are the same."""

    def sweep(path: Path) -> None:
        file = write_experiment(tmp_path_factory.mktemp("undisturbed"), photos_csv, **KNOBS)
        swept(file)
        path.write_bytes(pickle.dumps(Left.by(file)))

    left = pickle.loads(once("undisturbed", sweep).read_bytes())
    assert isinstance(left, Left) and len(left.archive) == 2 * 3
    return left
