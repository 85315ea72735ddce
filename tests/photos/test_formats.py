"""Which formats are read, and what is said of those that are not."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from PIL import Image

from rsrl_ray import terminal
from rsrl_ray.cli import tables
from rsrl_ray.photos import formats
from rsrl_ray.photos.checks import PhotoProblems
from rsrl_ray.photos.decoding import Decoder
from rsrl_ray.photos.photo_set import check_photos, load_photos
from rsrl_ray.photos.picture import decode_photo


@pytest.fixture
def without_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where pillow-heif is not installed."""
    known = tuple(name for name in formats.formats() if name != "HEIF")
    monkeypatch.setattr(formats, "formats", lambda: known)
    monkeypatch.setattr("rsrl_ray.photos.picture.formats", lambda: known)
    monkeypatch.delitem(Image.OPEN, "HEIF")


def heic() -> Any:
    data = BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (16, 16), "red")).save(data)
    return data.getvalue()


def test_what_is_read() -> None:
    assert formats.formats() == ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "HEIF")
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".avif", ".heic"} <= formats.picture_suffixes()
    assert not {".eps", ".pdf", ".db", ".xmp", ".mov"} & formats.picture_suffixes()


def test_heic_without_the_extra_names_it(without_heif: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^HEIC, which needs `pip install 'rsrl_ray\[heif\]'`$"):
        decode_photo(heic(), 8)
    for score in (3, 4):
        for photo in "abcd":
            (tmp_path / str(score)).mkdir(exist_ok=True)
            (tmp_path / str(score) / f"{photo}.HEIC").write_bytes(heic() + f"{score}{photo}".encode())
    named = "8 HEIC photos (3/a.HEIC, 3/b.HEIC, 3/c.HEIC, ...)"
    hint = f"{named} are not read; `pip install 'rsrl_ray[heif]'` makes them readable"
    found = check_photos(tmp_path)
    shown = terminal.make_console()
    with shown.capture() as text:
        shown.print(tables.examination(found, tmp_path), soft_wrap=True)
    assert hint in text.get()
    with pytest.raises(PhotoProblems) as refused:
        load_photos(tmp_path, Decoder(8), tmp_path / "cache")
    assert str(refused.value).endswith(hint)


def test_a_set_of_heic_is_photos_like_others(tmp_path: Path) -> None:
    for score in (3, 4, 5):
        for shade in (0, 200):
            (tmp_path / str(score)).mkdir(exist_ok=True)
            picture = Image.new("RGB", (16, 16), (shade, 30 * score, 0))
            pillow_heif.from_pillow(picture).save(tmp_path / str(score) / f"{shade}.heic", quality=90)
    assert load_photos(tmp_path, Decoder(8), tmp_path / "cache").scores.tolist() == [3, 3, 4, 4, 5, 5]
