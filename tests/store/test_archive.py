"""The archive on a real disk: what is written comes back, and what is damaged is found out."""

import json
import os
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from numpy.typing import NDArray
from pyarrow import fs

from rsrl_ray.core.digest import array_digest
from rsrl_ray.store import storage as storage_module
from rsrl_ray.store.archive import Archive, Damaged, Record, weights_checksum
from rsrl_ray.store.storage import StorageError

KEY = "ab12cd"
WEIGHTS = {
    "features.0.weight": np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 2, 2),
    "classifier.bias": np.array([1.5, -2.25], dtype=np.float16),
    "bn.num_batches_tracked": np.array(7, dtype=np.int64),
}
RECORD = Record(
    number=3,
    logits=np.array([[0.1, -np.inf, 1e-38], [np.nan, 2.0, -0.0]], dtype=np.float32),
    kept=np.array([True, False]),
    conv1={
        "weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
        "bias": np.array([0.5, 0.25], dtype=np.float32),
        "stride": np.array([4, 4]),
        "padding": np.array([2, 2]),
    },
    maker="fold0-paper",
    created=1700000000.125,
    seconds=12.5,
    parent="c0ffee",
    probe="1f0c",
)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An archive that holds one round, `RECORD` with `WEIGHTS` under `KEY`."""
    filled = Archive(str(tmp_path))
    filled.write(KEY, RECORD, WEIGHTS)
    return filled


def _file(root: Path, part: str, key: str = KEY) -> Path:
    return root / "rounds" / key[:2] / key / part


def assert_same_bits(found: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name


def assert_same_record(found: Record | None, expected: Record = RECORD) -> None:
    assert found is not None
    assert_same_bits(
        {"logits": found.logits, "kept": found.kept, **found.conv1},
        {"logits": expected.logits, "kept": expected.kept, **expected.conv1},
    )
    names = ("number", "maker", "created", "seconds", "parent", "frozen", "probe")
    assert [getattr(found, name) for name in names] == [getattr(expected, name) for name in names]


# What is written


def test_a_round_comes_back_bit_for_bit(archive: Archive) -> None:
    assert_same_record(archive.read(KEY))
    assert_same_bits(archive.read_weights(KEY) or {}, WEIGHTS)


def test_what_photos_weigh_comes_back_bit_for_bit(archive: Archive) -> None:
    record = replace(RECORD, kept=np.array([1 / 3, 1e-45], dtype=np.float32))
    archive.write("cd34ef", record, WEIGHTS)
    assert_same_record(archive.read("cd34ef"), record)


def test_the_files_of_a_round(archive: Archive, tmp_path: Path) -> None:
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == [
        "rounds/ab/ab12cd/manifest.json",
        "rounds/ab/ab12cd/record.safetensors",
        "rounds/ab/ab12cd/weights.safetensors",
    ]


@pytest.mark.parametrize(
    "change",
    [np.asfortranarray, lambda array: array[::-1], lambda array: array.transpose(3, 2, 1, 0), lambda a: a[:, 1:]],
    ids=["columns first", "reversed", "transposed", "part"],
)
def test_arrays_come_back_whatever_their_order_in_memory(
    archive: Archive, change: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    # A channels_last layer's weights are such an array.
    weights = {"conv": change(np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5))}
    archive.write(KEY, RECORD, weights)
    assert_same_bits(archive.read_weights(KEY) or {}, weights)


def test_logits_come_back_whatever_their_order_in_memory(archive: Archive) -> None:
    logits = np.arange(12, dtype=np.float32).reshape(4, 3)
    archive.write(KEY, Record(1, np.asfortranarray(logits), RECORD.kept, {}, "t", 0.0, 0.0), WEIGHTS)
    found = archive.read(KEY)
    assert found is not None
    np.testing.assert_array_equal(found.logits, logits)


def test_a_round_that_was_never_written_is_none(tmp_path: Path) -> None:
    empty = Archive(str(tmp_path / "not" / "there"))
    assert empty.read(KEY) is None
    assert empty.read_weights(KEY) is None


def test_rounds_do_not_touch_each_other(archive: Archive) -> None:
    other = Record(4, RECORD.logits + 1, RECORD.kept, RECORD.conv1, "other", 1.0, 2.0)
    archive.write("ab12ce", other, {"w": np.zeros(1)})
    assert_same_record(archive.read(KEY))
    assert_same_record(archive.read("ab12ce"), other)


def test_without_its_manifest_a_round_does_not_exist(archive: Archive, tmp_path: Path) -> None:
    _file(tmp_path, "manifest.json").unlink()
    assert archive.read(KEY) is None
    assert archive.read_weights(KEY) is None


def test_a_directory_and_its_uri_are_the_same_archive(archive: Archive, tmp_path: Path) -> None:
    assert_same_record(Archive(f"file://{tmp_path}/").read(KEY))
    assert_same_record(Archive(f"{tmp_path}/").read(KEY))


# Weights that were not kept


def test_dropped_weights_leave_the_record(archive: Archive, tmp_path: Path) -> None:
    archive.drop_weights(KEY)
    assert not _file(tmp_path, "weights.safetensors").exists()
    assert archive.read_weights(KEY) is None
    assert_same_record(archive.read(KEY))


def test_dropping_what_is_not_there_is_no_error(archive: Archive) -> None:
    archive.drop_weights("ffff")
    archive.drop_weights(KEY)
    archive.drop_weights(KEY)
    assert archive.read_weights("ffff") is None


def test_dropped_weights_can_be_written_again(archive: Archive) -> None:
    archive.drop_weights(KEY)
    archive.write(KEY, RECORD, WEIGHTS)
    assert_same_bits(archive.read_weights(KEY) or {}, WEIGHTS)


def held(root: Path, key: str = KEY) -> list[str]:
    return sorted(path.name for path in _file(root, "held", key).glob("*"))


def test_weights_stay_until_everyone_who_holds_them_has_let_them_go(archive: Archive, tmp_path: Path) -> None:
    archive.hold(KEY, "one", {"experiment": "a", "trial": "fold 0, firm"})
    archive.hold(KEY, "other", {})
    archive.hold(KEY, "one", {"experiment": "a", "trial": "fold 0, firm"})
    assert json.loads((_file(tmp_path, "held") / "one").read_text()) == {"experiment": "a", "trial": "fold 0, firm"}
    archive.drop_weights(KEY)
    archive.release(KEY, "somebody")
    archive.release(KEY, "one")
    assert held(tmp_path) == ["other"]
    assert_same_bits(archive.read_weights(KEY) or {}, WEIGHTS)
    archive.release(KEY, "one", "other")
    archive.release(KEY, "one", "other")
    assert (held(tmp_path), archive.read_weights(KEY)) == ([], None)
    assert_same_record(archive.read(KEY))


def test_a_round_may_be_held_before_it_is_written(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path))
    archive.hold(KEY, "one", {})
    archive.write(KEY, RECORD, WEIGHTS)
    archive.drop_weights(KEY)
    assert_same_bits(archive.read_weights(KEY) or {}, WEIGHTS)


def test_weights_of_a_round_that_is_not_whole_yet_stay(archive: Archive, tmp_path: Path) -> None:
    _file(tmp_path, "manifest.json").unlink()
    archive.release(KEY, "one")
    assert _file(tmp_path, "weights.safetensors").exists()


# Rounds that were written before it was noted what they were trained from, and who holds them


def test_a_round_of_before_reads_as_it_was_and_keeps_its_weights(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path))
    before = replace(RECORD, parent=None, probe="")
    archive.write(KEY, before, WEIGHTS)
    manifest = json.loads(_file(tmp_path, "manifest.json").read_text())
    assert manifest.keys() == {"number", "maker", "created", "seconds", "checksums", "digest"}
    assert manifest["digest"] == "fd5c976da7482e3c134484514105c94f"
    assert_same_record(archive.read(KEY), before)
    archive.release(KEY, "one")
    archive.drop_weights(KEY)
    assert_same_bits(archive.read_weights(KEY) or {}, WEIGHTS)


def test_the_checksum_of_weights_is_known_from_writing_from_reading_and_from_the_weights(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path))
    written, found = archive.write(KEY, RECORD, WEIGHTS), archive.read(KEY)
    assert found is not None
    assert written == found.weights == weights_checksum(WEIGHTS) != weights_checksum({**WEIGHTS, "w": np.zeros(1)})


# Damage


@pytest.mark.parametrize("place", [0, 20, -1], ids=["length", "header", "data"])
@pytest.mark.parametrize(("part", "read"), [("record", Archive.read), ("weights", Archive.read_weights)])
def test_a_flipped_bit_is_found(
    archive: Archive, tmp_path: Path, part: str, read: Callable[[Archive, str], object], place: int
) -> None:
    path = _file(tmp_path, f"{part}.safetensors")
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(Damaged, match=re.escape(f"{path} does not have the checksum with which it was written")):
        read(archive, KEY)


@pytest.mark.parametrize(("part", "read"), [("record", Archive.read), ("weights", Archive.read_weights)])
@pytest.mark.parametrize("length", [0, 50, -1])
def test_a_truncated_file_is_found(
    archive: Archive, tmp_path: Path, part: str, read: Callable[[Archive, str], object], length: int
) -> None:
    path = _file(tmp_path, f"{part}.safetensors")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(Damaged, match=re.escape(str(path))):
        read(archive, KEY)


def test_a_record_that_is_gone_is_found(archive: Archive, tmp_path: Path) -> None:
    path = _file(tmp_path, "record.safetensors")
    path.unlink()
    with pytest.raises(Damaged, match=re.escape(f"{path} is gone")):
        archive.read(KEY)
    assert_same_bits(archive.read_weights(KEY) or {}, WEIGHTS)


def test_a_truncated_manifest_is_found(archive: Archive, tmp_path: Path) -> None:
    path = _file(tmp_path, "manifest.json")
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        for read in (archive.read, archive.read_weights):
            with pytest.raises(Damaged, match=re.escape(str(path))):
                read(KEY)


def test_no_flipped_bit_of_a_manifest_passes_for_another_round(archive: Archive, tmp_path: Path) -> None:
    path = _file(tmp_path, "manifest.json")
    content = path.read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            found = archive.read(KEY)
        except Damaged:
            continue
        assert_same_record(found)  # a flip among the blanks, say


@pytest.mark.parametrize("content", ["null", "3", "[]", "{}", '{"number": 3}', '{"number": 3, "checksums": null}'])
def test_what_is_no_manifest_is_found(archive: Archive, tmp_path: Path, content: str) -> None:
    path = _file(tmp_path, "manifest.json")
    path.write_text(content)
    with pytest.raises(Damaged, match=re.escape(f"{path} is not a manifest")):
        archive.read(KEY)
    with pytest.raises(Damaged, match=re.escape(f"{path} is not a manifest")):
        archive.read_weights(KEY)


@pytest.mark.parametrize("knob", ["number", "maker", "created", "seconds", "checksums"])
def test_a_manifest_that_lacks_something_is_found(archive: Archive, tmp_path: Path, knob: str) -> None:
    path = _file(tmp_path, "manifest.json")
    manifest = json.loads(path.read_text())
    del manifest[knob]
    path.write_text(json.dumps(manifest))
    with pytest.raises(Damaged, match=re.escape(str(path))):
        archive.read(KEY)


def test_a_damaged_round_is_whole_again_once_rewritten(archive: Archive, tmp_path: Path) -> None:
    _file(tmp_path, "record.safetensors").write_bytes(b"noise")
    _file(tmp_path, "manifest.json").write_text("{")
    archive.write(KEY, RECORD, WEIGHTS)
    assert_same_record(archive.read(KEY))


# Writers


class _KilledError(Exception):
    pass


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_round_whose_writer_was_killed_does_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    archive = Archive(str(tmp_path))
    put, calls = archive._put, 0

    def killed(key: str, part: str, content: bytes) -> str:
        nonlocal calls
        if calls == written:
            raise _KilledError
        calls += 1
        return put(key, part, content)

    monkeypatch.setattr(archive, "_put", killed)
    with pytest.raises(_KilledError):
        archive.write(KEY, RECORD, WEIGHTS)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == written
    assert Archive(str(tmp_path)).read(KEY) is None
    assert Archive(str(tmp_path)).read_weights(KEY) is None


def test_what_a_killed_writer_left_is_cleaned_and_what_another_writes_now_is_not(
    archive: Archive, tmp_path: Path
) -> None:
    stale, fresh = (_file(tmp_path, f"weights.safetensors.{digit * 32}.tmp") for digit in "0f")
    another_programs = _file(tmp_path, "weights.safetensors.tmp")
    for path, age in ((stale, 7200), (fresh, 60), (another_programs, 7200)):
        path.write_bytes(b"half a fi")
        os.utime(path, (time.time() - age, time.time() - age))
    archive.write(KEY, RECORD, WEIGHTS)
    assert sorted(path.name for path in fresh.parent.iterdir()) == [
        "manifest.json",
        "record.safetensors",
        "weights.safetensors",
        fresh.name,
        another_programs.name,
    ]
    assert_same_record(archive.read(KEY))


def test_a_full_disk_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(str(tmp_path))

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rsrl_ray.store.files.os.replace", full)
    with pytest.raises(StorageError, match=r"cannot write .*ab12cd/weights\.safetensors \(No space left on device\)"):
        archive.write(KEY, RECORD, WEIGHTS)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_writers_of_the_same_round_do_not_disturb_each_other_or_a_reader(tmp_path: Path) -> None:
    weights = {"w": np.arange(50_000, dtype=np.float32)}
    Archive(str(tmp_path)).write(KEY, RECORD, weights)
    done = threading.Event()

    def write() -> None:
        for _ in range(25):
            Archive(str(tmp_path)).write(KEY, RECORD, weights)

    def read() -> int:
        reader, times = Archive(str(tmp_path)), 0
        while not done.is_set():
            assert_same_record(reader.read(KEY))
            assert_same_bits(reader.read_weights(KEY) or {}, weights)
            times += 1
        return times

    with ThreadPoolExecutor(5) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for writer in [pool.submit(write) for _ in range(3)]:
                writer.result()
        finally:
            done.set()
        assert all(reader.result() > 0 for reader in readers)
    assert list(tmp_path.rglob("*.tmp")) == []


def test_weights_may_be_dropped_by_several_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Archive(str(tmp_path)), Archive(str(tmp_path))
    first.write(KEY, RECORD, WEIGHTS)

    class Race(fs.LocalFileSystem):
        def get_file_info(self, *arguments: Any) -> Any:
            found = super().get_file_info(*arguments)
            second.drop_weights(KEY)  # after the look, before the deletion
            return found

        def delete_file(self, path: str) -> None:
            second.drop_weights(KEY)
            super().delete_file(path)

    monkeypatch.setattr(first._storage, "_fs", Race())
    first.drop_weights(KEY)
    assert first.read_weights(KEY) is None


# Storage


def test_a_file_system_without_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a bucket: no folders, no move; a file is there once it was written.
    bucket, base = fs.PyFileSystem(fs.FSSpecHandler(MemoryFileSystem())), f"{tmp_path.name}/results"
    monkeypatch.setattr(storage_module, "open_storage", lambda root: (bucket, base))
    archive = Archive("s3://bucket/results")
    assert archive.read(KEY) is None
    archive.write(KEY, RECORD, WEIGHTS)
    assert_same_record(archive.read(KEY))
    assert_same_bits(archive.read_weights(KEY) or {}, WEIGHTS)
    found = bucket.get_file_info(fs.FileSelector(base, recursive=True))
    assert sorted(info.base_name for info in found if info.type == fs.FileType.File) == [
        "manifest.json",
        "record.safetensors",
        "weights.safetensors",
    ]
    archive.hold(KEY, "one", {})
    archive.drop_weights(KEY)
    assert_same_bits(archive.read_weights(KEY) or {}, WEIGHTS)
    archive.release(KEY, "one")
    archive.drop_weights(KEY)
    assert archive.read_weights(KEY) is None
    assert_same_record(archive.read(KEY))


# Frozen weights


def test_frozen_weights_make_a_round_whole_and_are_written_once(tmp_path: Path) -> None:
    archive, frozen = Archive(str(tmp_path)), {"conv": np.arange(6, dtype=np.float32).reshape(2, 3)}
    name = array_digest(frozen)
    archive.write_frozen(name, frozen)
    (file,) = (tmp_path / "frozen").iterdir()
    before = file.stat().st_mtime_ns
    archive.write_frozen(name, frozen)
    assert file.stat().st_mtime_ns == before
    head = {"head": np.ones(2, np.float32)}
    record = Record(1, np.zeros((3, 2), np.float32), np.ones(3, bool), {}, "me", 1.0, 2.0, "", frozen=name)
    archive.write("ab" * 16, record, head)
    found = archive.read("ab" * 16)
    assert found is not None and found.frozen == name and found.conv1 == {}
    whole = archive.read_network("ab" * 16)
    assert whole is not None and list(whole) == ["conv", "head"]
    assert np.array_equal(whole["conv"], frozen["conv"]) and np.array_equal(whole["head"], head["head"])
    assert list(archive.read_weights("ab" * 16) or {}) == ["head"]


@pytest.mark.parametrize("content", [None, b"", b"x" * 100, "another"])
def test_frozen_weights_that_are_gone_or_damaged_are_told_and_written_again(tmp_path: Path, content: Any) -> None:
    archive, frozen = Archive(str(tmp_path)), {"conv": np.arange(6, dtype=np.float32)}
    name = array_digest(frozen)
    archive.write_frozen(name, frozen)
    (file,) = (tmp_path / "frozen").iterdir()
    whole = file.read_bytes()
    if content is None:
        file.unlink()
    else:
        file.write_bytes(whole[:-1] + b"\x01" if content == "another" else content)
    record = Record(1, np.zeros((3, 2), np.float32), np.ones(3, bool), {}, "me", 1.0, 2.0, "", frozen=name)
    archive.write("ab" * 16, record, {"head": np.ones(2, np.float32)})
    with pytest.raises(Damaged, match=f"frozen/{name}"):
        archive.read_network("ab" * 16)
    archive.write_frozen(name, frozen)
    assert file.read_bytes() == whole
    assert archive.read_network("ab" * 16) is not None


def test_a_round_whose_weights_are_all_its_own_says_nothing_of_frozen_ones(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path))
    record = Record(1, np.zeros((3, 2), np.float32), np.ones(3, bool), {}, "me", 1.0, 2.0, "")
    archive.write("ab" * 16, record, {"w": np.ones(2, np.float32)})
    assert "frozen" not in json.loads(next(tmp_path.glob("rounds/*/*/manifest.json")).read_text())
    assert list(archive.read_network("ab" * 16) or {}) == ["w"]
    assert archive.read_network("cd" * 16) is None
