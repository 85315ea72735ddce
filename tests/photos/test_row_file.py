"""The file of decoded photos: made once, by one process, never half, and made again where it is damaged."""

import shutil
import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rsrl_ray.photos.decoding import Decoder, digest_row
from rsrl_ray.photos.pixels import PixelFile

COUNT, SIZE = 5, 4


@pytest.fixture
def file(tmp_path: Path) -> Any:
    return PixelFile.of(np.zeros((COUNT, 16), np.uint8), Decoder(SIZE), tmp_path / "cache")


def shade(row: Any) -> Any:
    return np.full((SIZE, SIZE, 3), row + 1, dtype=np.uint8)


def shades(rows: Any) -> Any:
    return [shade(row) for row in rows]


def refuse(rows: Any) -> None:
    raise AssertionError("made again")


def names(file: Any) -> Any:
    return sorted(path.name.removeprefix(file.path.stem) for path in file.path.parent.iterdir())


def test_write_and_open(file: Any) -> None:
    assert file.record() is None and file.open() is None
    record = file.write(shades)
    assert file.record() == record and record.causes == {}
    pixels = file.open()
    assert pixels.shape == (COUNT, SIZE, SIZE, 3) and pixels[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5]
    assert not pixels.flags.writeable and isinstance(pixels, np.memmap)
    assert np.array_equal(np.load(file.path), pixels)
    assert names(file) == [".json", ".lock", ".npy"]
    assert file.write(refuse) == record


def test_pictures_that_are_no_good(file: Any) -> None:
    def one_bad(rows: Any) -> Any:
        return ["zero bytes" if row == 3 else shade(row) for row in rows]

    assert file.write(one_bad).causes == {3: "zero bytes"}
    assert file.record().causes == {3: "zero bytes"}
    assert file.open()[:, 0, 0, 0].tolist() == [1, 2, 3, 0, 5]


def test_the_fingerprint_is_of_pixels_in_order_and_their_size(tmp_path: Path) -> None:
    def fingerprint(name: Any, size: Any, order: Any) -> Any:
        file = PixelFile.of(np.zeros((len(order), 16), np.uint8), Decoder(size), tmp_path / name)
        return file.write(
            lambda rows: [np.full((size, size, 3), order[row], dtype=np.uint8) for row in rows]
        ).fingerprint

    prints = [
        fingerprint("a", 4, [1, 2]),
        fingerprint("b", 4, [2, 1]),
        fingerprint("c", 4, [1, 2, 2]),
        fingerprint("d", 2, [1, 2]),
    ]
    assert len(set(prints)) == 4 and fingerprint("e", 4, [1, 2]) == prints[0]


def test_the_key_is_of_bytes_in_order_size_and_way_to_warp(tmp_path: Path) -> None:
    digests = np.stack([digest_row(b"a"), digest_row(b"b")])
    paths = {
        PixelFile.of(digests, Decoder(4), tmp_path).path,
        PixelFile.of(digests[::-1], Decoder(4), tmp_path).path,
        PixelFile.of(digests[:1], Decoder(4), tmp_path).path,
        PixelFile.of(digests, Decoder(5), tmp_path).path,
        PixelFile.of(digests, Decoder(4, interpolation="bicubic"), tmp_path).path,
    }
    assert len(paths) == 5 and PixelFile.of(digests.copy(), Decoder(4), tmp_path).path in paths


def cut(file: Any) -> None:
    file.path.write_bytes(file.path.read_bytes()[:-1])


def reshape(file: Any) -> None:
    np.save(file.path, np.zeros((COUNT, SIZE, SIZE * 3, 1), np.uint8))


def empty(file: Any) -> None:
    file.path.write_bytes(b"")


def lose(file: Any) -> None:
    file.path.unlink()


def break_record(file: Any) -> None:
    file.path.with_suffix(".json").write_text('{"fingerprint": ')


def misshape_record(file: Any) -> None:
    file.path.with_suffix(".json").write_text('{"fingerprint": "1", "problems": []}')


@pytest.mark.parametrize("damage", [cut, reshape, empty, lose, break_record, misshape_record])
def test_a_damaged_file_is_made_again(file: Any, damage: Any) -> None:
    record = file.write(shades)
    damage(file)
    assert file.open() is None or file.record() is None
    assert file.write(shades) == record == file.record()
    assert file.open()[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5]


def test_what_was_mapped_stays_when_the_file_is_made_again(file: Any) -> None:
    file.write(shades)
    pixels = file.open()
    file.path.unlink()
    file.write(lambda rows: shades(row + 10 for row in rows))
    assert pixels[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5]


def test_two_at_once_make_it_once(file: Any) -> None:
    made = []

    def slow(rows: Any) -> Any:
        made.extend(rows)
        threading.Event().wait(0.1)
        return shades(rows)

    threads = [threading.Thread(target=file.write, args=(slow,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == list(range(COUNT))


def test_what_a_killed_process_left_is_removed_before_room_is_asked_for(
    file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.path.parent.mkdir()
    file.path.with_suffix(".part").write_bytes(b"half")
    usage = shutil.disk_usage
    seen = []

    def spy(path: Path) -> Any:
        seen.append(names(file))
        return usage(path)

    monkeypatch.setattr(shutil, "disk_usage", spy)
    file.write(shades)
    assert seen == [[".lock"]]
    assert names(file) == [".json", ".lock", ".npy"]


def test_an_error_leaves_nothing_half(file: Any) -> None:
    with pytest.raises(AssertionError, match="made again"):
        file.write(refuse)
    assert names(file) == [".lock"]


def test_an_unexpected_fingerprint_is_refused(file: Any) -> None:
    with pytest.raises(ValueError, match="the photos have other pixels on this machine"):
        file.write(shades, expected="1234")
    assert file.open() is None
    record = file.write(shades)
    assert file.write(shades, expected=record.fingerprint) == record
    with pytest.raises(ValueError, match="the photos have other pixels on this machine"):
        file.write(refuse, expected="1234")


def test_a_full_disk(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 100, COUNT * SIZE * SIZE * 3 - 1))
    with pytest.raises(ValueError, match=r"the decoded photos need 0.0 GB in .*cache, but 0.0 GB are free; make room"):
        file.write(shades)


def test_a_cache_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    file = PixelFile.of(np.zeros((COUNT, 16), np.uint8), Decoder(SIZE), tmp_path / "cache")
    with pytest.raises(ValueError, match=r"the decoded photos cannot be written to .*cache .File exists"):
        file.write(shades)


def test_a_picture_that_has_gone_is_not_recorded(tmp_path: Path, file: Any) -> None:
    paths = [tmp_path / f"{row}.png" for row in range(COUNT)]
    for row, path in enumerate(paths):
        Image.fromarray(shade(row)).save(path)
    paths[2].unlink()
    sources = [str(path) for path in paths]
    with pytest.raises(ValueError, match=r"2\.png: missing .*; every machine of a sweep must be able"):
        file.write(Decoder(SIZE, 0.75).rows_of(sources))
    assert file.record() is None and file.open() is None
    Image.fromarray(shade(2)).save(paths[2])
    file.write(Decoder(SIZE, 0.75).rows_of(sources))
    assert file.open()[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5]
