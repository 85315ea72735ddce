"""The copy of `rsrl server`'s database: which of two histories is gone on with, and that none is overwritten."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from rsrl_ray.store.location import Location
from rsrl_ray.tracking import server
from rsrl_ray.tracking.server import DatabaseCopy


def tell(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True, parents=True)
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS told (text)")
        database.execute("INSERT INTO told VALUES (?)", [text])


def told(file: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(file)) as database:
        return [text for (text,) in database.execute("SELECT text FROM told")]


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    (tmp_path / "bucket").mkdir()
    return tmp_path / "bucket"


def head(tmp_path: Path, name: str) -> tuple[Path, DatabaseCopy]:
    """A machine that has just started its server."""
    file = tmp_path / name / "mlflow.db"
    file.parent.mkdir(exist_ok=True)
    copy = DatabaseCopy(file, str(tmp_path / "bucket"))
    copy.fetch()
    return file, copy


def test_a_new_head_goes_on_and_the_old_one_overwrites_nothing_when_it_comes_back(
    tmp_path: Path, bucket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, copy = head(tmp_path, "first")
    tell(first, "by the first")
    copy.push()
    tell(first, "after its last copy")
    second, other = head(tmp_path, "second")
    assert told(second) == ["by the first"]
    tell(second, "by the second")
    other.push()
    copy.push()  # the first machine lives after all
    assert "another server writes" in capsys.readouterr().out
    assert told(bucket / "mlflow.db") == ["by the first", "by the second"]
    again, copy = head(tmp_path, "first")
    assert told(again) == ["by the first", "by the second"]
    (aside,) = first.parent.glob("before-*/mlflow.db")
    assert told(aside) == ["by the first", "after its last copy"]
    assert str(aside.parent) in capsys.readouterr().out


def test_the_same_head_goes_on_with_what_it_was_told_after_its_last_copy(tmp_path: Path, bucket: Path) -> None:
    file, copy = head(tmp_path, "first")
    for text in ("one", "two"):
        tell(file, text)
        copy.push()
    tell(file, "three")
    file, copy = head(tmp_path, "first")
    assert told(file) == ["one", "two", "three"]
    copy.push()
    assert told(bucket / "mlflow.db") == ["one", "two", "three"]


def test_a_copy_that_was_made_though_the_bucket_answered_with_an_error(
    tmp_path: Path, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, copy = head(tmp_path, "first")
    tell(file, "one")
    copied = server.shutil.copyfileobj

    def lost(*files: object) -> None:
        copied(*files)  # type: ignore[arg-type]
        raise OSError("connection reset")

    with monkeypatch.context() as patch:
        patch.setattr(server.shutil, "copyfileobj", lost)
        copy.push()
    assert told(bucket / "mlflow.db") == ["one"]
    tell(file, "two")
    copy.push()
    assert told(bucket / "mlflow.db") == ["one", "two"]


def test_two_new_heads_on_an_empty_bucket(tmp_path: Path, bucket: Path) -> None:
    (first, copy), (second, other) = head(tmp_path, "first"), head(tmp_path, "second")
    tell(first, "first")
    tell(second, "second")
    copy.push()
    other.push()
    assert told(bucket / "mlflow.db") == ["first"]
    assert told(second) == ["second"]


def test_a_copy_of_an_older_version_is_gone_on_with(tmp_path: Path, bucket: Path) -> None:
    tell(bucket / "mlflow.db", "before")
    file, copy = head(tmp_path, "first")
    tell(file, "now")
    copy.push()
    assert told(bucket / "mlflow.db") == ["before", "now"]


def test_each_bucket_has_a_database_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    a, same, b = (server._local_folder(Location(f"s3://{place}")) for place in ("a/x", "key:secret@a/x/?region=y", "b"))
    assert a == same != b
    elsewhere = server._local_folder(Location("s3://a/x?endpoint_override=minio:9000"))
    assert elsewhere not in (a, b)
