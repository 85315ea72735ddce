"""The file of features is found by what it was made of, and only if no byte of it has changed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsrl_ray.vision.features import FeatureFiles, parts

ROWS = np.arange(12, dtype=np.int16).reshape(4, 3)


@pytest.fixture
def files(tmp_path: Path) -> Any:
    return FeatureFiles(tmp_path / "features", "8f07", 4)


def written(files: Any, kind: str = "cpu-AVX2") -> Any:
    file = files.file(kind, (3,), "<i2")
    file.write(lambda rows: list(ROWS[rows.start : rows.stop]))
    return file


def test_what_was_written_is_found(files: Any) -> None:
    assert files.find("cpu-AVX2") is None and files.find(None) is None
    file = written(files)
    found = files.find("cpu-AVX2")
    assert found == file == files.find(None)
    assert found.open().dtype == np.int16 and found.open().tolist() == ROWS.tolist()
    assert files.find("cpu-AVX512") is None


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def lose_the_record(path: Path) -> None:
    path.with_suffix(".json").unlink()


def break_the_record(path: Path) -> None:
    path.with_suffix(".json").write_text("[]")


@pytest.mark.parametrize("damage", [flip_a_bit, cut_short, lose_the_record, break_the_record])
def test_a_damaged_file_is_not_found_and_is_made_again(files: Any, damage: Any) -> None:
    file = written(files)
    damage(file.path)
    assert files.find("cpu-AVX2") is None
    assert written(files).open().tolist() == ROWS.tolist()
    assert files.find("cpu-AVX2") is not None


def test_parts_are_of_whole_batches() -> None:
    assert parts(300, 2) == [range(0, 192), range(192, 300)]
    assert parts(193, 100) == [range(0, 64), range(64, 128), range(128, 193)]  # no batch of one
    assert parts(10, 4) == [range(0, 10)]
    assert parts(300, 0) == [range(0, 300)]
