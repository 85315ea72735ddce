"""Every kind of table gives the same rows; a table that cannot be read says why."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rsrl_ray.photos.known import look
from rsrl_ray.photos.readers import Problem
from rsrl_ray.photos.table import photo_sources, read_table


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(17, "a.jpg", "zero bytes"), "line 17, a.jpg: zero bytes"),
        (Problem(2, "a.jpg", "zero bytes", "row"), "row 2, a.jpg: zero bytes"),
        (Problem(3, None, "no image is named"), "line 3: no image is named"),
        (Problem(None, "4/a.jpg", "zero bytes"), "4/a.jpg: zero bytes"),
        (Problem(None, None, "fewer than two classes"), "fewer than two classes"),
    ],
)
def test_a_problem_names_its_place(problem: Any, text: str) -> None:
    assert str(problem) == text


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "photos.csv"
    path.write_text("\ufefftaken, image ,score\r\nmay,a.jpg,4\r\n\r\n,,\r\njune,sub/../b.jpg, 5.0 \r\n", "utf-8")
    table = read_table(path)
    assert table.images == ("a.jpg", "sub/../b.jpg")
    assert table.sources == (str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg"))
    assert table.scores.tolist() == [4, 5] and table.scores.dtype == np.int64
    assert list(table.lines) == [2, 5]
    assert (table.where(1), table.faults, table.problems) == ("line 5", {}, ())


def test_csv_counts_lines_inside_quotes(tmp_path: Path) -> None:
    path = tmp_path / "photos.csv"
    path.write_text('image,score,remark\na.jpg,4,"two\nlines"\nb.jpg,5,\n')
    assert list(read_table(path).lines) == [2, 4]


def test_paths_and_uris(tmp_path: Path) -> None:
    path = tmp_path / "photos.csv"
    path.write_text("image,score\n/x/./a.jpg,1\nfile:///x/a%20b.jpg,1\ns3://bucket/a b#1.jpg,1\n,1\n")
    assert read_table(path).sources == ("/x/a.jpg", "/x/a b.jpg", "s3://bucket/a b#1.jpg", "")
    assert photo_sources(path, ["s3://bucket/a b#1.jpg"]) == {"s3://bucket/a b#1.jpg": "s3://bucket/a b#1.jpg"}


def test_what_is_kept_of_a_uri_holds_no_keys(tmp_path: Path) -> None:
    path, place = tmp_path / "photos.csv", "bucket/a b.jpg?region=x"
    path.write_text(f"image,score\ns3://user:p/w@{place}&secret_key=1,1\na?key=1.jpg,1\ns3://bucket/c.jpg,1\n")
    table, name = read_table(path), f"s3://***@{place}&secret_key=***"
    assert table.images == (name, "a?key=1.jpg", "s3://bucket/c.jpg")
    assert table.sources[::2] == (f"s3://user:p/w@{place}&secret_key=1", "s3://bucket/c.jpg")
    assert str(table.problem(0, "zero bytes")) == f"line 2, {name}: zero bytes"
    assert photo_sources(path, table.images) == dict(zip(table.images, table.sources, strict=True))
    path.write_text(path.read_text().replace("user:p/w", "user:new"))
    assert photo_sources(path, [name]) == {name: f"s3://user:new@{place}&secret_key=1"}
    path.unlink()
    assert photo_sources(path, table.images) == {name: name, "a?key=1.jpg": table.sources[1]} | {
        "s3://bucket/c.jpg": "s3://bucket/c.jpg"
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "the score is empty"),
        ("4.5", "the score is not an integer: '4.5'"),
        ("good", "the score is not an integer: 'good'"),
        ("nan", "the score is not an integer: 'nan'"),
        ("1_0", "the score is not an integer: '1_0'"),
        ("٤", "the score is not an integer: '٤'"),
    ],
)
def test_scores_that_are_no_integers(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "photos.csv"
    path.write_text(f"image,score\na.jpg,{text}\nb.jpg,+4\nc.jpg,-2.00\nd.jpg\n", "utf-8")
    table = read_table(path)
    assert table.faults == {0: fault, 3: "the score is empty"}
    assert table.scores.tolist() == [0, 4, -2, 0]


@pytest.mark.parametrize(
    "scores",
    [
        pa.array([4, 5, None], pa.int16()),
        pa.array([4.0, 5.0, None]),
        pa.array(["4", "5.0", None]),
        pa.array(["4", "5", None]).dictionary_encode(),
    ],
)
def test_parquet(tmp_path: Path, scores: Any) -> None:
    path = tmp_path / "photos.parquet"
    pq.write_table(pa.table({"image": ["a.jpg", "b.jpg", None], "more": [1, 2, 3], "score": scores}), path)
    table = read_table(path)
    assert table.images == ("a.jpg", "b.jpg", "")
    assert table.scores.tolist() == [4, 5, 0]
    assert table.faults == {2: "the score is empty"}
    assert [table.where(row) for row in range(3)] == ["row 1", "row 2", "row 3"]


def test_parquet_with_broken_numbers(tmp_path: Path) -> None:
    path = tmp_path / "photos.parquet"
    pq.write_table(pa.table({"image": ["a.jpg", "b.jpg"], "score": [4.5, float("nan")]}), path)
    assert read_table(path).faults == {
        0: "the score is not an integer: '4.5'",
        1: "the score is not an integer: 'nan'",
    }


def test_ava_rounds_the_mean_vote_half_up(tmp_path: Path) -> None:
    (tmp_path / "AVA.txt").write_text(
        "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396\n"  # mean 5.637
        "2 953958 1 1 0 0 0 0 0 0 0 0 15 0 1396\n"  # mean 1.5
        "\n"
        "3 954184 0 0 0 0 0 0 0 0 0 0 0 0 1396\n"
        "4 954113 0 4\n"
        "5 954114 0 x 5 17 38 36 15 6 5 1 1 22 1396\n"
        "6 954115 0 0 3 2 0 0 0 0 0 0 0 0 1396\n"  # mean 3.4
    )
    table = read_table(tmp_path / "AVA.txt")
    assert table.images == ("953619.jpg", "953958.jpg", "954184.jpg", "954115.jpg")
    assert table.scores.tolist() == [6, 2, 0, 3]
    assert table.faults == {2: "the score is empty"}
    assert [str(problem) for problem in table.problems] == [
        "line 5: the line needs an index, an image's id and ten counts of votes",
        "line 6: the line needs an index, an image's id and ten counts of votes",
    ]
    (tmp_path / "images").mkdir()
    table = read_table(tmp_path / "AVA.txt")
    assert table.images[0] == "images/953619.jpg"
    assert table.sources[0] == str(tmp_path / "images" / "953619.jpg")


def test_folder_per_score(tmp_path: Path) -> None:
    litter = (
        "9/.DS_Store",
        "10/Thumbs.db",
        "9/desktop.ini",
        "9/a.xmp",
        "10/b.XMP",
        "9/c.MOV",
        "9/@eaDir/x",
        "__MACOSX/y",
    )
    for name in ("10/b.jpg", "9/c.HEIC", "9/a.jpg", "good/d.jpg", ".git/e.jpg", "10/scan", "10/sub/f.jpg", *litter):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "README.md").touch()
    table = read_table(tmp_path)
    assert table.images == ("9/a.jpg", "9/c.HEIC", "10/b.jpg", "10/scan", "10/sub")
    assert table.scores.tolist() == [9, 9, 10, 10, 10]
    assert table.lines is None and table.where(2) == "10/b.jpg"
    assert [str(problem) for problem in table.problems] == ["good: the folder's name is not an integer score"]
    assert tuple(table.notes) == (
        "not read: 1 files that lie beside the folders of scores",
        "not read, because they are no pictures: 2 .xmp, 1 .DS_Store, 1 .mov, 1 @eaDir, 1 Thumbs.db, 1 desktop.ini",
    )


ACUTE, COMPOSED = "e\u0301", "\u00e9"


@pytest.mark.parametrize(
    ("named", "there"),
    [
        (f"caf{COMPOSED}.jpg", f"caf{ACUTE}.jpg"),
        (f"caf{ACUTE}.jpg", f"caf{COMPOSED}.jpg"),
        ("file://{}/cafe%CC%81.jpg", f"caf{COMPOSED}.jpg"),
        ("sub\\a.jpg", "sub/a.jpg"),
        ("  a.jpg ", "a.jpg"),
        ("\ufeffa.jpg", "a.jpg"),
        ("a.jpg", "a.jpg "),
        ("a.jpg", " a.jpg"),
    ],
)
def test_names_that_are_the_same_to_the_eye(tmp_path: Path, named: str, there: str) -> None:
    named = named.format(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / there).touch()
    (tmp_path / "photos.csv").write_text(f"image,score\n{named},3\n", "utf-8")
    table, _ = look(read_table(tmp_path / "photos.csv"))
    assert table.sources == (str(tmp_path / there),)
    assert list(photo_sources(tmp_path / "photos.csv", table.images).values()) == [str(tmp_path / there)]


def test_a_name_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    for name in (f"{COMPOSED}.jpg", f"{ACUTE}.jpg", "sub\\a.jpg"):
        (tmp_path / name).touch()
        (tmp_path / "photos.csv").write_text(f"image,score\n{name},3\n", "utf-8")
        assert look(read_table(tmp_path / "photos.csv"))[0].sources == (str(tmp_path / name),)


def test_groups(tmp_path: Path) -> None:
    (tmp_path / "photos.csv").write_text("group,image,score\nann,a.jpg,3\n ,b.jpg,4\n")
    assert read_table(tmp_path / "photos.csv").groups == ["ann", ""]
    pq.write_table(pa.table({"image": ["a.jpg"], "score": [3], "group": [7]}), tmp_path / "photos.parquet")
    assert read_table(tmp_path / "photos.parquet").groups == ["7"]
    (tmp_path / "photos.csv").write_text("group,image,score,group\nann,a.jpg,3,bob\n")
    with pytest.raises(ValueError, match="has the column 'group' more than once; it has: 'group', 'image'"):
        read_table(tmp_path / "photos.csv")


@pytest.mark.parametrize("name", ["photos.csv", "photos.PARQUET", "AVA.txt", "photos", "folder.csv"])
def test_where_a_photo_lies_is_known_with_and_without_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name.endswith("PARQUET"):
        pq.write_table(pa.table({"image": ["3/a.jpg"], "score": [3]}), tmp_path / name)
    elif name == "photos.csv":
        (tmp_path / name).write_text("image,score\n3/a.jpg,3\n")
    elif name == "AVA.txt":
        (tmp_path / name).write_text("1 7 0 0 9 0 0 0 0 0 0 0\n")
    else:
        (tmp_path / name / "3").mkdir(parents=True)
        (tmp_path / name / "3" / "a.jpg").touch()
    monkeypatch.chdir(tmp_path)
    table = read_table(tmp_path / name)
    folder = tmp_path / name if name in ("photos", "folder.csv") else tmp_path
    assert table.sources == (str(folder / table.images[0]),)
    assert photo_sources(name, table.images) == dict(zip(table.images, table.sources, strict=True))
    if name == "photos.csv":
        (tmp_path / name).unlink()
        assert photo_sources(name, ["3/a.jpg"]) == {"3/a.jpg": table.sources[0]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.csv", None, "cannot be read (No such file or directory)"),
        ("photos.xlsx", b"PK", "not a known kind of table; give a .csv or .parquet file"),
        ("photos.csv", b"", "empty; its first line must name the columns image and score"),
        ("photos.csv", b"image,score\n", "there are no photos in it"),
        (
            "photos.csv",
            b"image;score\na.jpg;4\n",
            "columns 'image' and 'score', once each; it has: 'image;score'",
        ),
        ("photos.csv", b"image,score,score\na,4,5\n", "once each; it has: 'image', 'score', 'score'"),
        ("photos.csv", b"image,score\n\xe9.jpg,4\n", "not UTF-8 text (byte 12); save it as UTF-8"),
        (
            "photos.csv",
            b'image,score\na,4\n"b,5\nc,6\n',
            "photos.csv, line 3: this is not CSV (unexpected end of data)",
        ),
        ("photos.parquet", b"image,score\na.jpg,4\n", "cannot be read as a Parquet file"),
        ("AVA.txt", b"\n", "there are no photos in it"),
    ],
)
def test_a_table_that_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_table(tmp_path / name)
    assert message in str(caught.value) and str(tmp_path / name) in str(caught.value)


def test_parquet_columns_of_the_wrong_kind(tmp_path: Path) -> None:
    path = tmp_path / "photos.parquet"
    pq.write_table(pa.table({"image": ["a.jpg"], "score": [[4]]}), path)
    with pytest.raises(ValueError, match=r"column score has list<.*int64>, not names or numbers"):
        read_table(path)
    pq.write_table(pa.table({"image": ["a.jpg"], "label": [4]}), path)
    with pytest.raises(ValueError, match="needs the columns 'image' and 'score', once each; it has: 'image', 'label'"):
        read_table(path)


def test_an_empty_folder_and_a_table_in_a_bucket(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are no photos in it"):
        read_table(tmp_path)
    with pytest.raises(ValueError, match=r"s3://bucket/photos.csv: the table of photos must be a file or folder"):
        read_table("s3://bucket/photos.csv")
