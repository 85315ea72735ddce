"""From a table of real picture files to pixels: checked together, decoded once, left out on request."""

import dataclasses
import os
import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyarrow import fs

from rsrl_ray.photos import decoding, known, source
from rsrl_ray.photos.checks import PhotoProblems
from rsrl_ray.photos.decoding import Decoder, read_digests
from rsrl_ray.photos.photo_set import check_photos, load_photos
from rsrl_ray.photos.picture import decode_photo
from rsrl_ray.photos.pixels import PixelFile
from rsrl_ray.photos.readers import Problem
from rsrl_ray.photos.row_file import RowFile
from rsrl_ray.photos.table import read_table

SIZE = 4
DECODER = Decoder(SIZE)
SCORES = [2, 2, 3, 3, 9, 9]


def save(path: Path, level: Any) -> Any:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 6), (level, level, level)).save(path)
    return path


def write_csv(folder: Path, rows: Any) -> Any:
    lines = [f"{image},{score}" for image, score in rows]
    (folder / "photos.csv").write_text("\n".join(["image,score", *lines, ""]))
    return folder / "photos.csv"


@pytest.fixture
def rows(tmp_path: Path) -> Any:
    """Six good pictures, grey of level 10, 20, ..., two of each score; their rows of a table."""
    for row in range(6):
        save(tmp_path / "images" / f"{row}.png", 10 * (row + 1))
    return [(f"images/{row}.png", score) for row, score in enumerate(SCORES)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What has been decoded for a cache since, counted."""
    calls = []

    def count(data: Any, size: Any, memory: Any, interpolation: Any) -> Any:
        calls.append(size)
        return decode_photo(data, size, memory, interpolation)

    monkeypatch.setattr(decoding, "decode_photo", count)
    return calls


def levels(photo_set: Any) -> Any:
    return photo_set.pixels()[:, 0, 0, 0].tolist()


def test_load(tmp_path: Path, rows: Any) -> None:
    told = []
    source = write_csv(tmp_path, rows)
    found = load_photos(source, DECODER, tmp_path / "cache", progress=lambda *what: told.append(what))
    assert found.images == tuple(image for image, _ in rows)
    assert found.scores.tolist() == SCORES and found.scores.dtype == np.int64
    assert found.classes.tolist() == [2, 3, 9]
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2] and found.labels.dtype == np.int64
    assert found.sources == tuple(str(tmp_path / image) for image, _ in rows)
    assert (found.problems, found.notes, found.image_size) == ((), (), SIZE)
    assert found.pixels().shape == (6, SIZE, SIZE, 3) and not found.pixels().flags.writeable
    assert levels(found) == [10, 20, 30, 40, 50, 60]
    assert told == [("reading", 6, 6), ("decoding", 6, 6)]


def test_a_start_looks_at_every_photo_once(tmp_path: Path, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write_csv(tmp_path, rows)
    first = load_photos(table, DECODER, tmp_path / "cache")
    looked = Counter()

    def counted(inner: Any) -> Any:
        return lambda path, *more, **named: (looked.update([str(path)]), inner(path, *more, **named))[1]

    monkeypatch.setattr(os, "stat", counted(os.stat))
    monkeypatch.setattr(os, "lstat", counted(os.lstat))
    read_table(table)
    assert not looked.keys() & set(first.sources)
    load_photos(table, DECODER, tmp_path / "cache")
    assert [looked[source] for source in first.sources] == [1] * 6


def test_every_kind_of_table_gives_the_same_photos(tmp_path: Path, rows: Any) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    votes = {score: " ".join("5" if vote == score else "0" for vote in range(1, 11)) for score in SCORES}
    for row, score in enumerate(SCORES):
        save(folder / str(score) / f"{row}.png", 10 * (row + 1))
        picture = (tmp_path / "images" / f"{row}.png").read_bytes()
        (tmp_path / "images" / f"{row}.jpg").write_bytes(picture)
    ava = [f"{row + 1} {row} {votes[score]} 1 22 1396\n" for row, score in enumerate(SCORES)]
    (tmp_path / "AVA.txt").write_text("".join(ava))
    table = pa.table({"image": [image for image, _ in rows], "score": SCORES})
    pq.write_table(table, tmp_path / "photos.parquet")
    sources = (write_csv(tmp_path, rows), tmp_path / "photos.parquet", tmp_path / "AVA.txt", folder)
    found = [load_photos(source, DECODER, tmp_path / "cache") for source in sources]
    assert [one.scores.tolist() for one in found] == [SCORES] * 4
    assert len({one.fingerprint for one in found}) == 1
    assert [levels(one) for one in found] == [[10, 20, 30, 40, 50, 60]] * 4


def test_the_fingerprint_is_of_the_pixels_alone(tmp_path: Path, rows: Any) -> None:
    cache = tmp_path / "cache"
    first = load_photos(write_csv(tmp_path, rows), DECODER, cache)
    images = [image for image, _ in rows]
    again = load_photos(write_csv(tmp_path, zip(images, [5, 5, 6, 6, 7, 7], strict=True)), DECODER, cache)
    assert again.fingerprint == first.fingerprint and again.classes.tolist() == [5, 6, 7]
    turned = load_photos(write_csv(tmp_path, rows[::-1]), DECODER, cache)
    larger = load_photos(write_csv(tmp_path, rows), Decoder(SIZE + 1), cache)
    assert len({first.fingerprint, turned.fingerprint, larger.fingerprint}) == 3


def test_the_second_load_decodes_nothing(tmp_path: Path, rows: Any, decoded: Any) -> None:
    source = write_csv(tmp_path, rows)
    first = load_photos(source, DECODER, tmp_path / "cache")
    assert decoded == [SIZE] * 6
    again = load_photos(source, DECODER, tmp_path / "cache")
    assert (again.fingerprint, again.pixels_path) == (first.fingerprint, first.pixels_path)
    assert len(decoded) == 6
    save(tmp_path / "images" / "0.png", 99)
    assert levels(load_photos(source, DECODER, tmp_path / "cache")) == [99, 20, 30, 40, 50, 60]
    assert len(decoded) == 7


def test_of_a_table_that_has_changed_only_new_photos_are_decoded(tmp_path: Path, rows: Any, decoded: Any) -> None:
    """In another order, with two photos more and one less; the bits are those of photos that are all decoded."""
    load_photos(write_csv(tmp_path, rows), DECODER, tmp_path / "cache")
    for row in (6, 7):
        save(tmp_path / "images" / f"{row}.png", 10 * (row + 1))
    new = [("images/7.png", 2), *rows[:0:-1], ("images/6.png", 9)]
    decoded.clear()
    found = load_photos(write_csv(tmp_path, new), DECODER, tmp_path / "cache")
    assert levels(found) == [80, 60, 50, 40, 30, 20, 70]
    assert len(decoded) == 2
    assert load_photos(tmp_path / "photos.csv", DECODER, tmp_path / "other").fingerprint == found.fingerprint
    decoded.clear()
    load_photos(write_csv(tmp_path, rows), Decoder(SIZE + 1), tmp_path / "cache")  # other pixels
    load_photos(write_csv(tmp_path, [*rows, *new[::6]]), Decoder(SIZE, 0.5), tmp_path / "cache")
    assert len(decoded) == 6 + 8


def test_what_an_older_file_has_damaged_or_as_no_good_is_decoded(tmp_path: Path, rows: Any, decoded: Any) -> None:
    (tmp_path / "text.png").write_text("not found")
    with pytest.raises(PhotoProblems):
        load_photos(write_csv(tmp_path, [*rows, ("text.png", 2)]), DECODER, tmp_path / "cache")
    decoded.clear()
    first = load_photos(write_csv(tmp_path, rows), DECODER, tmp_path / "cache")
    assert (len(decoded), levels(first)) == (0, [10, 20, 30, 40, 50, 60])
    with pytest.raises(PhotoProblems, match=r"text\.png: not a picture"):
        load_photos(write_csv(tmp_path, [("text.png", 2), *rows]), DECODER, tmp_path / "cache")
    assert len(decoded) == 1
    for file in (tmp_path / "cache").glob("*.npy"):
        file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    assert levels(load_photos(write_csv(tmp_path, rows[::-1]), DECODER, tmp_path / "cache")) == [60, 50, 40, 30, 20, 10]
    assert len(decoded) == 7


def test_a_damaged_cache_is_decoded_again(tmp_path: Path, rows: Any, decoded: Any) -> None:
    source = write_csv(tmp_path, rows)
    first = load_photos(source, DECODER, tmp_path / "cache")
    first.pixels_path.write_bytes(first.pixels_path.read_bytes()[:-1])
    again = load_photos(source, DECODER, tmp_path / "cache")
    assert len(decoded) == 12 and again.fingerprint == first.fingerprint
    again.pixels_path.write_bytes(b"\x93NUMPY")
    assert levels(again) == [10, 20, 30, 40, 50, 60]
    assert len(decoded) == 18


def test_on_another_node_the_photos_are_decoded_there(tmp_path: Path, rows: Any) -> None:
    found = load_photos(write_csv(tmp_path, rows), DECODER, tmp_path / "cache")
    for path in (tmp_path / "cache").iterdir():
        path.unlink()
    (tmp_path / "cache").rmdir()
    there = pickle.loads(pickle.dumps(found))
    assert levels(there) == [10, 20, 30, 40, 50, 60]
    there = dataclasses.replace(there, fingerprint="1234")
    with pytest.raises(ValueError, match="the photos have other pixels on this machine"):
        there.pixels()
    there.pixels_path.unlink()
    save(tmp_path / "images" / "3.png", 99)
    with pytest.raises(ValueError, match="the photos have other pixels on this machine"):
        there.pixels()
    (tmp_path / "images" / "3.png").unlink()
    with pytest.raises(ValueError, match=r"images/3.png: missing .*; every machine of a sweep must be able"):
        there.pixels()


BAD = [
    ("images/0.png", 2, ["the same path as line 16, with the score 3 there and 2 here"]),
    ("images/1.png", 2, []),
    ("images/2.png", 3, []),
    ("images/3.png", 3, ["the same bytes as line 15 (copy.png), with the score 9 there and 3 here"]),
    ("images/4.png", 9, []),
    ("images/5.png", 9, []),
    ("images/6.png", 2, []),
    ("images/7.png", 3, []),
    ("gone.png", 2, ["missing (there is no {folder}/gone.png)"]),
    ("images", 2, ["a folder, not a picture"]),
    ("empty.png", "good", ["the score is not an integer: 'good'", "zero bytes"]),
    ("text.png", 3, ["not a picture that Pillow can read"]),
    ("short.png", 3, ["truncated (image file is truncated)"]),
    ("copy.png", 9, ["the same bytes as line 5 (images/3.png), with the score 3 there and 9 here"]),
    ("images/../images/0.png", 3, ["the same path as line 2, with the score 2 there and 3 here"]),
    ("images/7.png", 3, ["the same path as line 9"]),
    ("images/8.png", 4, ["the only photo with the score 4 that is left of 2"]),
    ("", 4, ["no image is named"]),
    ("images/9.png", 9, []),
]
NOTE = "line 20, images/9.png: the same bytes as line 7 (images/5.png), with the same score"


@pytest.fixture
def bad(tmp_path: Path, rows: Any) -> Any:
    """A table with a problem of nearly every kind."""
    for row in (6, 7, 8):
        save(tmp_path / "images" / f"{row}.png", 10 * (row + 1))
    save(tmp_path / "images" / "9.png", 60)
    save(tmp_path / "copy.png", 40)
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not found")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "short.png")
    (tmp_path / "short.png").write_bytes((tmp_path / "short.png").read_bytes()[:5000])
    return write_csv(tmp_path, [(image, score) for image, score, _ in BAD])


def expected(folder: Path) -> Any:
    return [
        f"line {line}{', ' if image else ''}{image}: {message.format(folder=folder)}"
        for line, (image, _, messages) in enumerate(BAD, start=2)
        for message in messages
    ]


def test_everything_that_is_wrong_is_told_together(tmp_path: Path, bad: Any) -> None:
    examined = check_photos(bad)
    assert [str(problem) for problem in examined.problems] == expected(tmp_path)
    assert examined.images == tuple(image for image, _, messages in BAD if not messages)
    assert examined.scores.tolist() == [2, 3, 9, 9, 2, 3, 9]
    assert examined.notes[0] == NOTE and examined.notes[1].endswith("images/1.png: all of one colour, (20, 20, 20)")
    with pytest.raises(PhotoProblems) as caught:
        load_photos(bad, DECODER, tmp_path / "cache")
    assert caught.value.problems == examined.problems
    assert str(caught.value).splitlines() == [
        f"{bad}: {len(expected(tmp_path))} problems",
        *(f"  {line}" for line in expected(tmp_path)),
        "Correct the photos or their table, or leave these photos out with --skip_bad.",
    ]


def test_skip_bad_leaves_them_out_and_decodes_once(tmp_path: Path, bad: Any, decoded: Any) -> None:
    found = load_photos(bad, DECODER, tmp_path / "cache", skip_bad=True)
    readable = len(BAD) - 4
    assert len(decoded) == readable
    assert found.images == tuple(image for image, _, messages in BAD if not messages)
    assert [str(problem) for problem in found.problems] == expected(tmp_path)
    assert found.notes == (NOTE,) and found.classes.tolist() == [2, 3, 9]
    assert levels(found) == [20, 30, 50, 60, 70, 80, 60]
    assert [path.suffix for path in (tmp_path / "cache").iterdir()].count(".npy") == 1
    again = load_photos(bad, DECODER, tmp_path / "cache", skip_bad=True)
    assert len(decoded) == readable and again.fingerprint == found.fingerprint
    again.pixels_path.unlink()
    assert levels(load_photos(bad, DECODER, tmp_path / "cache", skip_bad=True)) == [20, 30, 50, 60, 70, 80, 60]
    assert len(decoded) == readable + 7


def test_skip_bad_after_a_refusal_decodes_nothing_again(tmp_path: Path, bad: Any, decoded: Any) -> None:
    with pytest.raises(PhotoProblems):
        load_photos(bad, DECODER, tmp_path / "cache")
    count = len(decoded)
    found = load_photos(bad, DECODER, tmp_path / "cache", skip_bad=True)
    assert len(decoded) == count and levels(found) == [20, 30, 50, 60, 70, 80, 60]


def test_skip_bad_gives_what_the_good_photos_alone_give(tmp_path: Path, bad: Any) -> None:
    found = load_photos(bad, DECODER, tmp_path / "cache", skip_bad=True)
    alone = write_csv(tmp_path, [(image, score) for image, score, messages in BAD if not messages])
    assert load_photos(alone, DECODER, tmp_path / "other").fingerprint == found.fingerprint


def test_a_table_is_mended_without_decoding_again(tmp_path: Path, rows: Any, decoded: Any) -> None:
    with pytest.raises(PhotoProblems, match=r"line 2, images/0.png: the score is not an integer: '2.5'"):
        load_photos(write_csv(tmp_path, [(rows[0][0], 2.5), *rows[1:]]), DECODER, tmp_path / "cache")
    load_photos(write_csv(tmp_path, rows), DECODER, tmp_path / "cache")
    assert len(decoded) == 6


@pytest.mark.parametrize("skip_bad", [False, True])
def test_fewer_than_two_classes_is_refused_even_so(tmp_path: Path, rows: Any, skip_bad: bool) -> None:
    source = write_csv(tmp_path, rows[:3])
    with pytest.raises(PhotoProblems) as caught:
        load_photos(source, DECODER, tmp_path / "cache", skip_bad=skip_bad)
    assert str(caught.value) == (
        f"{source}: 2 problems\n"
        "  line 4, images/2.png: the only photo with the score 3\n"
        "  fewer than two scores have two good photos or more; these have: 2\n"
        "Correct the photos or their table."
    )
    assert caught.value.problems[1] == Problem(None, None, caught.value.problems[1].message)


def test_no_picture_can_be_read(tmp_path: Path, rows: Any) -> None:
    source = write_csv(tmp_path, [(f"no/{image}", score) for image, score in rows])
    with pytest.raises(PhotoProblems, match=r"7 problems\n.*line 2, no/images/0.png: missing"):
        load_photos(source, DECODER, tmp_path / "cache")


def test_the_problems_of_a_parquet_file_and_a_folder_say_where(tmp_path: Path, rows: Any) -> None:
    pq.write_table(pa.table({"image": ["no.png"], "score": [1]}), tmp_path / "photos.parquet")
    assert str(check_photos(tmp_path / "photos.parquet").problems[0]).startswith("row 1, no.png: missing")
    (tmp_path / "folder" / "7").mkdir(parents=True)
    (tmp_path / "folder" / "7" / "a.jpg").touch()
    assert str(check_photos(str(tmp_path / "folder")).problems[0]) == "7/a.jpg: zero bytes"


def test_check_raises_for_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no.csv: cannot be read"):
        check_photos(tmp_path / "no.csv")


def test_the_cache_may_be_a_relative_path(tmp_path: Path, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path, rows)
    found = load_photos("photos.csv", DECODER, Path("cache"))
    assert found.pixels_path.is_absolute()
    monkeypatch.chdir("/")
    assert levels(found) == [10, 20, 30, 40, 50, 60]


def test_what_a_killed_process_wrote_of_decoded_photos_is_found(tmp_path: Path, rows: Any, decoded: Any) -> None:
    source = write_csv(tmp_path, rows)
    first = load_photos(source, DECODER, tmp_path / "cache")
    content = bytearray(first.pixels_path.read_bytes())
    content[-SIZE * SIZE * 3 :] = bytes(SIZE * SIZE * 3)  # the last photo is black: size, header and record are right
    first.pixels_path.write_bytes(content)
    assert levels(first) == [10, 20, 30, 40, 50, 60]  # as a trial on this node has it, whose sweep has read it before
    first.pixels_path.write_bytes(content)
    again = load_photos(source, DECODER, tmp_path / "cache")
    assert levels(again) == [10, 20, 30, 40, 50, 60] and again.fingerprint == first.fingerprint
    assert len(decoded) == 18


def test_a_node_reads_decoded_photos_once_a_sweep(tmp_path: Path, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    verified = RowFile.verified

    def count(self: Any) -> Any:
        reads.append(self.path)
        return verified(self)

    monkeypatch.setattr(RowFile, "verified", count)
    first = load_photos(write_csv(tmp_path, rows), DECODER, tmp_path / "cache")
    for _ in range(3):
        pickle.loads(pickle.dumps(first)).pixels()
    assert not reads  # it has just been made
    for sweep in range(1, 3):
        found = load_photos(write_csv(tmp_path, rows), DECODER, tmp_path / "cache")
        found.pixels()
        assert len(reads) == sweep


@pytest.mark.parametrize("read", [False, True])
def test_skip_bad_takes_the_place_of_what_was_decoded_unless_it_is_read(
    tmp_path: Path, bad: Any, read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(PhotoProblems):
        load_photos(bad, DECODER, cache)
    (whole,) = cache.glob("*.npy")
    mapped = np.load(whole).copy()
    held = RowFile.open(PixelFile(whole, len(mapped), SIZE)) if read else None
    copies, copy = [], shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", lambda *names: copies.append(names) or copy(*names))
    assert levels(load_photos(bad, DECODER, cache, skip_bad=True)) == [20, 30, 50, 60, 70, 80, 60]
    assert bool(copies) == read
    assert held is None or np.array_equal(held, mapped)


def test_what_is_known_by_size_and_time_is_not_read_again(
    tmp_path: Path, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, reads = write_csv(tmp_path, rows), []
    for path in (tmp_path / "images").iterdir():
        os.utime(path, (1e9, 1e9))
    monkeypatch.setattr(known, "_SETTLED_NS", -(10**12))  # the pictures' inodes have just been changed

    def count(sources: Any) -> Any:
        reads.extend(Path(one).name for one in sources)
        return read_digests(sources)

    monkeypatch.setattr(known, "read_digests", count)
    first = load_photos(source, DECODER, tmp_path / "cache")
    assert len(reads) == 6
    assert load_photos(source, DECODER, tmp_path / "cache").fingerprint == first.fingerprint and len(reads) == 6
    del reads[:]
    save(tmp_path / "images" / "0.png", 99)
    os.utime(tmp_path / "images" / "0.png", (1e9, 1e9))  # its size and time are as before, not its inode's time
    assert levels(load_photos(source, DECODER, tmp_path / "cache"))[0] == 99 and reads == ["0.png"]
    (tmp_path / "cache" / "digests.npz").write_bytes(b"PK damaged")
    load_photos(source, DECODER, tmp_path / "cache")
    assert len(reads) == 7


def test_a_bucket_is_listed_and_not_read_again(tmp_path: Path, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    listed, reads = [], []

    class Listing(fs.SubTreeFileSystem):
        def get_file_info(self, asked: Any) -> Any:
            if isinstance(asked, fs.FileSelector):
                listed.append(asked.base_dir)
            return super().get_file_info(asked)

    bucket = Listing(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(source, "_file_system", lambda root: (bucket, ""))
    monkeypatch.setattr(known, "read_digests", lambda names: reads.extend(names) or read_digests(names))
    table = write_csv(tmp_path, [(f"s3://user:key@bucket/{image}", score) for image, score in rows])
    for path in (tmp_path / "images").iterdir():
        os.utime(path, (1e9, 1e9))
    first = load_photos(table, DECODER, tmp_path / "cache")
    assert (len(listed), len(reads)) == (1, 6)
    assert first.images == tuple(f"s3://***@bucket/{image}" for image, _ in rows)  # what all results call them
    assert load_photos(table, DECODER, tmp_path / "cache").fingerprint == first.fingerprint
    assert (len(listed), len(reads)) == (2, 6)
    save(tmp_path / "images" / "0.png", 99)
    os.utime(tmp_path / "images" / "0.png", (1e9, 1.5e9))
    assert levels(load_photos(table, DECODER, tmp_path / "cache"))[0] == 99
    assert reads[6:] == ["s3://user:key@bucket/images/0.png"]


def test_what_was_changed_a_moment_ago_is_read_again(
    tmp_path: Path, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    monkeypatch.setattr(known, "read_digests", lambda sources: reads.extend(sources) or read_digests(sources))
    for _ in range(2):
        load_photos(write_csv(tmp_path, rows), DECODER, tmp_path / "cache")
    assert len(reads) == 12


def test_identical_bytes_and_named_groups_stay_together(tmp_path: Path, rows: Any) -> None:
    save(tmp_path / "images" / "6.png", 10)  # as 0
    table = [
        (*row, group) for row, group in zip([*rows, ("images/6.png", 2)], ["", "a", "a", "", "b", "", "b"], strict=True)
    ]
    lines = ["image,score,group", *(",".join(map(str, row)) for row in table)]
    (tmp_path / "photos.csv").write_text("\n".join(lines))
    found = load_photos(tmp_path / "photos.csv", DECODER, tmp_path / "cache")
    assert found.groups.tolist() == [0, 1, 1, 2, 0, 3, 0]  # 0 and 6 by their bytes, 4 and 6 by their name
    assert load_photos(write_csv(tmp_path, rows), DECODER, tmp_path / "cache").groups is None
