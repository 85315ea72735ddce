"""A directory and a bucket: what is refused, what is waited for."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import fs

from rsrl_ray.store import storage as storage_module
from rsrl_ray.store.storage import Note, Storage, StorageError, open_storage


class Unsteady(fs.FSSpecHandler):
    """A bucket that answers 503 as often as it is told, and then does what it is asked."""

    def __init__(self, refusals: int) -> None:
        super().__init__(MemoryFileSystem())
        self.refusals = refusals

    def _refuse(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OSError("AWS Error SLOW_DOWN during PutObject operation: 503 https://user:word@host")

    def open_input_stream(self, path: str) -> Any:
        self._refuse()
        return super().open_input_stream(path)

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        self._refuse()
        return super().open_output_stream(path, metadata)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that storage waited, on a clock that only its waiting moves."""
    slept: list[float] = []
    monkeypatch.setattr(storage_module.time, "sleep", slept.append)
    monkeypatch.setattr(storage_module.time, "monotonic", lambda: sum(slept))
    return slept


def bucket(monkeypatch: pytest.MonkeyPatch, name: str, refusals: int) -> tuple[Storage, Unsteady]:
    handler = Unsteady(refusals)
    monkeypatch.setattr(storage_module, "open_storage", lambda root: (fs.PyFileSystem(handler), name))
    return Storage("s3://bucket"), handler


def test_a_bucket_that_is_away_for_a_while_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pauses: list[float]
) -> None:
    storage, handler = bucket(monkeypatch, tmp_path.name, 7)
    storage.write("rounds/a", b"content")
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    handler.refusals = 2
    assert storage.read("rounds/a") == b"content"
    assert storage.read("rounds/none") is None
    assert len(pauses) == 9


@pytest.mark.parametrize("links", [True, False])
def test_of_those_who_write_a_file_first_one_is_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr("os.link", refused)
    storages = [Storage(str(tmp_path)) for _ in range(8)]
    together = threading.Barrier(len(storages))

    def write(number: int) -> bool:
        together.wait(30)
        return storages[number].write_first("devices/a", str(number).encode())

    with ThreadPoolExecutor(len(storages)) as pool:
        first = list(pool.map(write, range(len(storages))))
    found = storages[0].read("devices/a")
    assert first[int(found or b"")]
    assert sum(first) == 1 or not links
    assert not storages[1].write_first("devices/a", b"later") and storages[1].read("devices/a") == found
    assert [path.name for path in (tmp_path / "devices").iterdir()] == ["a"]


def refused(*paths: Any) -> None:
    raise PermissionError("no hard links here")


def test_of_those_who_race_for_a_file_in_a_bucket_the_last_one_s_is_read_by_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pauses: list[float]
) -> None:
    storage, _ = bucket(monkeypatch, tmp_path.name, 0)

    def rival(seconds: float) -> None:
        pauses.append(seconds)
        storage.write("devices/a", b"theirs")

    monkeypatch.setattr(storage_module.time, "sleep", rival)
    assert storage.write_first("devices/a", b"ours")
    assert storage.read("devices/a") == b"theirs"
    assert not storage.write_first("devices/a", b"ours")
    assert pauses == [1.0]


def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pauses: list[float]) -> None:
    storage, _ = bucket(monkeypatch, tmp_path.name, 1000)
    said = rf"storage: cannot write {tmp_path.name}/rounds/a \(AWS Error .* 503 https://\*\*\*@host\); mend that, then"
    with pytest.raises(StorageError, match=said):
        storage.write("rounds/a", b"content")
    assert 300 - 15 < sum(pauses) <= 300


def test_a_disk_is_not_waited_for(tmp_path: Path, pauses: list[float]) -> None:
    (tmp_path / "rounds").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match=r"cannot write .*/rounds/a"):
        Storage(str(tmp_path)).write("rounds/a", b"content")
    assert pauses == []


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("foo://bucket/x", "storage: foo://bucket/x: Unrecognized filesystem type"),
        ("https://example.org/x", "storage: https://example.org/x: Unrecognized filesystem type"),
        ("s3:///x", "storage: s3:///x: Missing bucket name"),
        ("s3://bucket/x?regoin=eu-west-1", "storage: .*Unexpected query parameter in S3 URI: 'regoin'"),
        ("file://elsewhere/x", "storage: file://elsewhere/x: Unsupported hostname"),
    ],
)
def test_storage_that_cannot_be_is_refused(root: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        open_storage(root)
    assert str(error.value).endswith("give a folder, s3://... or gs://...")


def test_a_directory_needs_no_uri(tmp_path: Path) -> None:
    system, base = open_storage(f"{tmp_path}/")
    assert isinstance(system, fs.LocalFileSystem)
    assert base == str(tmp_path)


def test_a_note_makes_no_folder_is_seen_until_it_is_removed_and_an_error_is_one_line(tmp_path: Path) -> None:
    note = Note(str(tmp_path / "results"))
    assert note.leave() == "No such file or directory"
    assert not note.is_seen() and not (tmp_path / "results").exists()
    (tmp_path / "results" / "rounds").mkdir(parents=True)
    assert note.leave() == ""
    assert note.is_seen() and not Note(note.root).is_seen()
    note.remove()
    note.remove()
    assert not note.is_seen() and not list(tmp_path.rglob("probe*"))
    (tmp_path / "file").touch()
    assert Note(str(tmp_path / "file")).leave() == "Not a directory"


def test_what_a_note_cannot_look_into_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(Unsteady):
        def get_file_info(self, paths: list[str]) -> Any:
            self._refuse()

    monkeypatch.setattr(storage_module, "open_storage", lambda root: (fs.PyFileSystem(Away(9)), "rsrl"))
    with pytest.raises(StorageError, match=r"^storage: cannot read s3://rsrl \(.*503 https://\*\*\*@host\)$"):
        Note("s3://rsrl").is_seen()
