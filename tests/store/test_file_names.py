"""Names of files that any disk takes."""

import pytest

from rsrl_ray.store.file_names import file_names


def test_plain_names_stay() -> None:
    names = ("paper", "k-0.9", "no_drop", "0", "K1")
    assert file_names(names) == dict(zip(names, names, strict=True))
    photos = ("a.jpg", "deep/b.PNG")
    assert file_names(photos, folders=True) == dict(zip(photos, photos, strict=True))


@pytest.mark.parametrize(
    "names",
    [
        ("k 0.9", "k/0.9", "k_0.9", "k:0.9", "K_0.9"),
        ("strict", "Strict", "STRICT"),
        ("a/b", "a_b"),
        ("é", "è", "//", "..", ".", "...", ".hidden", "-rf", "end."),
        ("aux", "nul.txt", "COM1", "x" * 121, "x" * 122),
    ],
)
def test_no_two_are_alike_on_any_disk(names: tuple[str, ...]) -> None:
    files = list(file_names(names).values())
    assert len({file.lower() for file in files}) == len(names)
    for file in files:
        assert file.isascii() and len(file) <= 120 and not set(file) & set(r'/\:*?"<>| ')
        assert file[0] not in ".-" and not file.endswith(".")
        assert file.lower() not in ("aux", "nul.txt", "com1")


@pytest.mark.parametrize("photo", ["/data/a.jpg", "s3://bucket/a.jpg", "../a.jpg", "a//b.jpg", "con/a.jpg"])
def test_a_photo_stays_inside_the_folder(photo: str) -> None:
    (file,) = file_names([photo], folders=True).values()
    assert "/" not in file and file.endswith(".jpg")


def test_a_name_does_not_depend_on_those_that_come_after_it() -> None:
    assert file_names(["k 0.9", "b"])["k 0.9"] == file_names(["k 0.9"])["k 0.9"]


@pytest.mark.parametrize("names", [("a", "a.edges"), ("a.edges", "a"), ("A", "a.EDGES"), ("a", "b")])
def test_all_files_of_a_name_are_its_own(names: tuple[str, str]) -> None:
    files = file_names(names, ends=("", ".edges"))
    written = [f"{file}{end}".lower() for file in files.values() for end in ("", ".edges")]
    assert len(set(written)) == 4
    assert files[names[0]] == names[0]
    assert (files[names[1]] == names[1]) == (names == ("a", "b"))  # what has the same files as ever keeps its name
