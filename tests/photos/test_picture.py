"""Pixels of every kind of picture, as literal values, and the cause where there are none."""

import errno
import re
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import EpsImagePlugin, Image, JpegImagePlugin, PngImagePlugin
from PIL.PngImagePlugin import PngInfo
from pyarrow import fs

from rsrl_ray.photos import source
from rsrl_ray.photos.picture import decode_photo, oddity_of, small_photo
from rsrl_ray.photos.source import Unreadable, read_bytes

LOW = "16 bits, but only the lower 12 are used: the photo is nearly black"
RED, BLUE, WHITE = [255, 0, 0], [0, 0, 255], [255, 255, 255]


def encode(image: Any, kind: str = "PNG", **options: Any) -> Any:
    data = BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def red_blue() -> Any:
    return Image.fromarray(np.array([[RED, BLUE]], dtype=np.uint8))


def noise(size: Any = (64, 64)) -> Any:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_rgb(kind: str, options: Any) -> None:
    pixels = decode_photo(encode(red_blue(), kind, **options), None)
    assert pixels.dtype == np.uint8 and pixels.tolist() == [[RED, BLUE]]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[RED, BLUE]]),
        (2, [[BLUE, RED]]),
        (3, [[BLUE, RED]]),
        (6, [[RED], [BLUE]]),
        (8, [[BLUE], [RED]]),
    ],
)
def test_exif_orientation(orientation: int, expected: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decode_photo(encode(red_blue(), exif=exif), None).tolist() == expected


def test_exif_orientation_of_a_jpeg_that_is_warped() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(red_blue().resize((640, 320), Image.Resampling.NEAREST), "JPEG", exif=exif, subsampling=0)
    pixels = decode_photo(data, 8).astype(int)
    assert pixels.shape == (8, 8, 3)
    assert np.abs(pixels[0] - RED).max() <= 3 and np.abs(pixels[-1] - BLUE).max() <= 3


def test_exif_that_is_garbage_is_passed_over() -> None:
    data = encode(Image.new("RGB", (8, 8), "red"), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert decode_photo(data, None).shape == (8, 8, 3)
    text = PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n       2\nno hex")
    assert decode_photo(encode(red_blue(), pnginfo=text), None).tolist() == [[RED, BLUE]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_shifted(kind: str) -> None:
    grey = Image.fromarray(np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16))
    assert decode_photo(encode(grey, kind), None).tolist() == [[[v] * 3 for v in (0, 0, 1, 128, 255)]]


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)
    assert decode_photo(encode(image), None).tolist() == [[RED, BLUE]]
    assert decode_photo(encode(image, transparency=0), None).tolist() == [[WHITE, BLUE]]
    assert decode_photo(encode(image, transparency=b"\xff\x00"), None).tolist() == [[RED, WHITE]]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, WHITE),
        ("L", 77, [77, 77, 77]),
        ("LA", (0, 0), WHITE),
        ("LA", (77, 255), [77, 77, 77]),
        ("RGBA", (255, 0, 0, 255), RED),
        ("RGBA", (255, 0, 0, 0), WHITE),
        ("RGBA", (255, 0, 0, 128), [255, 127, 127]),
    ],
)
def test_other_modes(mode: str, colour: Any, expected: Any) -> None:
    assert decode_photo(encode(Image.new(mode, (1, 1), colour)), None).tolist() == [[expected]]


@pytest.mark.parametrize(("mode", "colour", "expected"), [("CMYK", (0, 255, 255, 0), RED), ("L", 77, [77] * 3)])
def test_jpegs_that_are_not_rgb(mode: str, colour: Any, expected: Any) -> None:
    pixels = decode_photo(encode(Image.new(mode, (8, 8), colour), "JPEG", quality=100), 4)
    assert pixels.shape == (4, 4, 3) and np.abs(pixels.astype(int) - expected).max() <= 2


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (2, 1), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert decode_photo(data, None).tolist() == [[RED, RED]]


def test_warping_is_antialiased() -> None:
    board = np.indices((64, 128)).sum(axis=0) % 2 * 255
    pixels = decode_photo(encode(Image.fromarray(board.astype(np.uint8))), 8)
    assert pixels.shape == (8, 8, 3) and pixels.min() >= 120 and pixels.max() <= 135


def test_warping_as_a_network_asks_for() -> None:
    steps = Image.fromarray(np.repeat(np.array([[0, 0, 200, 200]], np.uint8), 4, axis=0))
    bilinear, bicubic = (decode_photo(encode(steps), 8, interpolation=way)[0, :, 0] for way in ("bilinear", "bicubic"))
    assert bilinear.tolist() == [0, 0, 0, 50, 150, 200, 200, 200]
    assert bicubic.min() == 0 and bicubic.max() > 200  # it overshoots beside an edge


def test_large_jpegs_are_opened_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    draft = JpegImagePlugin.JpegImageFile.draft

    def spy(self: Any, mode: Any, size: Any) -> Any:
        result = draft(self, mode, size)
        sizes.append(self.size)
        return result

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", spy)
    image = noise((30, 40)).resize((1600, 1200), Image.Resampling.BICUBIC)
    data = encode(image, "JPEG", quality=95)
    reduced = decode_photo(data, 100).astype(int)
    assert sizes == [(400, 300)]
    whole = np.asarray(Image.open(BytesIO(data)).resize((100, 100), Image.Resampling.BILINEAR)).astype(int)
    assert reduced.shape == (100, 100, 3) and np.abs(reduced - whole).max() <= 5
    assert decode_photo(data, None).shape == (1200, 1600, 3)


def test_a_small_photo_keeps_its_shape_and_stands_upright() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    data = encode(noise((1200, 1600)), "JPEG", exif=turned)
    assert small_photo(data, 100).size == (75, 100)
    assert small_photo(encode(Image.new("L", (6, 3), 77)), 100).getpixel((5, 2)) == (77, 77, 77)  # never enlarged
    with pytest.raises(ValueError, match="truncated"):
        small_photo(data[:-100], 100)


def huge_png(width: Any, height: Any, kind: Any) -> Any:
    """A PNG whose header promises more pixels than there are; kind : 0 grey, 2 RGB, 6 RGBA."""
    data = encode(Image.new("L", (1, 1)))
    header = b"IHDR" + struct.pack(">IIBB", width, height, 8, kind) + data[26:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", r"zero bytes"),
        (b"<html>not found</html>", r"not a picture that Pillow can read"),
        (
            encode(noise(), "JPEG")[:-100],
            r"truncated \(image file is truncated \(\d+ bytes not processed\)\)",
        ),
        (encode(noise(), "JPEG")[:300], r"truncated \(.*\)"),
        (encode(noise(), "PNG")[:5000], r"truncated \(image file is truncated\)"),
        (encode(noise(), "WEBP")[:1000], r"truncated \(1000 of \d{4} bytes\)"),
        (
            huge_png(20_000, 20_000, 2),
            r"20000 x 20000 pixels take 1\.49 GiB to decode, more than the 0\.75 GiB of resources\.photo_memory",
        ),
    ],
)
@pytest.mark.parametrize("size", [None, 8])
def test_what_cannot_be_decoded(data: Any, cause: str, size: int | None) -> None:
    with pytest.raises(ValueError) as caught:
        decode_photo(data, size)
    assert re.fullmatch(cause, str(caught.value))


def test_broken_in_the_middle() -> None:
    data = bytearray(encode(noise()))
    data[60] ^= 255
    with pytest.raises(ValueError, match=r"^broken \(.*\)$"):
        decode_photo(bytes(data), None)


def test_the_limit_is_of_memory_and_pillows_own_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = encode(Image.new("RGB", (1000, 1000)))
    assert decode_photo(data, None).shape == (1000, 1000, 3)
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(ValueError, match=r"1000 x 1000 pixels take 0\.00 GiB to decode, more than the 0\.003 GiB of"):
        decode_photo(data, None, memory=0.003)
    assert decode_photo(data, None, memory=0.004).shape == (1000, 1000, 3)


def test_a_jpeg_is_limited_as_it_is_opened() -> None:
    data = encode(Image.new("RGB", (8000, 8000), "red"), "JPEG")
    assert decode_photo(data, 8, memory=0.004).shape == (8, 8, 3)  # an eighth of each side: 1 megapixel
    with pytest.raises(ValueError, match="8000 x 8000 pixels take 0\\.24 GiB"):
        decode_photo(data, None, memory=0.004)
    progressive = encode(Image.new("RGB", (2000, 2000), "red"), "JPEG", progressive=True)
    assert decode_photo(progressive, 8, memory=0.012).shape == (8, 8, 3)
    with pytest.raises(ValueError, match="250 x 250 pixels take 0\\.01 GiB"):
        decode_photo(progressive, 8, memory=0.011)


def test_turning_upright_is_limited() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.new("RGB", (1000, 1000)), exif=exif)
    assert decode_photo(data, None, memory=0.008).shape == (1000, 1000, 3)
    with pytest.raises(ValueError, match="1000 x 1000 pixels"):
        decode_photo(data, None, memory=0.007)


MEASURE = """
import io, resource, sys
import numpy as np
from PIL import Image
from rsrl_ray.photos import cost, picture
data = open(sys.argv[1], "rb").read()
picture.decode_photo(open(sys.argv[2], "rb").read(), 64)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
picture.decode_photo(data, 64)
took = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
opened = Image.open(io.BytesIO(data))
opened.draft(None, (128, 128))
print(took, cost.bytes_needed(opened))
"""


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGB", {}),
        ("PNG", "L", {}),
        ("PNG", "RGBA", {}),
        ("JPEG", "RGB", {"progressive": True, "subsampling": 0}),
        ("WEBP", "RGBA", {"quality": 50, "method": 0}),
        ("AVIF", "RGB", {"speed": 10}),
        ("HEIF", "RGB", {}),
        ("JPEG2000", "RGB", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("GIF", "P", {}),
    ],
)
def test_decoding_takes_no_more_than_is_told(kind: str, mode: str, options: Any, tmp_path: Path) -> None:
    pillow_heif.register_heif_opener()
    board = noise((16, 16)).resize((2000, 2000)).convert(mode)
    for name, image in (("large", board), ("small", board.resize((16, 16)))):
        (tmp_path / name).write_bytes(encode(image, kind, **options))
    measure = [sys.executable, "-c", MEASURE, tmp_path / "large", tmp_path / "small"]
    took, told = map(float, subprocess.run(measure, capture_output=True, text=True, check=True).stdout.split())
    assert took <= told + 10e6  # what the process itself takes in pages


def chunk(kind: Any, content: Any) -> Any:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


LONG = zlib.compress(bytes(2_000_000))
BESIDE = {
    "compressed text": chunk(b"zTXt", b"prompt\0\0" + LONG),
    "compressed text in UTF-8": chunk(b"iTXt", b"prompt\0\x01\0\0\0" + LONG),
    "plain text": 70 * chunk(b"tEXt", b"prompt\0" + bytes([65]) * 1_000_000),
    "a large colour profile": chunk(b"iCCP", b"profile\0\0" + LONG),
    "a wrong checksum": chunk(b"tEXt", b"a\0b")[:-1] + b"?",
    "a chunk that is cut": chunk(b"gAMA", b"12"),
}


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("place", [33, -12])  # behind the head; before the end
def test_what_does_not_touch_the_pixels_of_a_png_refuses_no_picture(beside: Any, place: int) -> None:
    data = encode(red_blue())
    assert decode_photo(data[:place] + BESIDE[beside] + data[place:], None).tolist() == [[RED, BLUE]]


@pytest.mark.parametrize("kind", range(0xE0, 0xF0))
@pytest.mark.parametrize(
    "name", [b"", b"MPF\0MM\0*", b"ICC_PROFILE\0\1\3", b"Photoshop 3.0\0008BIM", b"Exif\0\0MM", b"JFIF\0"]
)
def test_segments_of_a_jpeg_refuse_no_picture(kind: Any, name: bytes) -> None:
    data = encode(red_blue().resize((16, 8), Image.Resampling.NEAREST), "JPEG", quality=100, subsampling=0)
    expected = decode_photo(data, None)
    segment = bytes([0xFF, kind]) + struct.pack(">H", 2 + len(name)) + name
    assert np.array_equal(decode_photo(data[:20] + segment + data[20:], None), expected)


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EMFILE, "Too many open files")])
def test_what_passes_is_told_apart_from_broken_bytes(error: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any) -> None:
        raise error

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    with pytest.raises(Unreadable, match=r"^cannot be decoded now \((out of memory|Too many open files)\)$"):
        decode_photo(encode(red_blue()), None)


def test_no_code_of_a_stranger_format_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *arguments: ran.append(arguments))
    data = encode(red_blue(), "EPS")
    with pytest.raises(ValueError, match=r"^EPS, a format that is not read; save it as JPEG or PNG$"):
        decode_photo(data, 8)
    assert not ran


@pytest.mark.parametrize(
    ("image", "kind", "oddity"),
    [
        (Image.new("RGB", (9, 9), (1, 2, 3)), "PNG", "all of one colour, (1, 2, 3)"),
        (Image.fromarray(np.array([[0, 4095]], dtype=np.uint16)), "PNG", LOW),
        (Image.fromarray(np.array([[0, 4095]], dtype=np.uint16)), "TIFF", LOW),
        (Image.fromarray(np.array([[0, 4096]], dtype=np.uint16)), "PNG", ""),
        (Image.fromarray(np.array([[0, 15]], dtype=np.uint8)), "PNG", ""),
        (red_blue(), "PNG", ""),
    ],
)
def test_what_is_odd(image: Any, kind: str, oddity: Any) -> None:
    assert oddity_of(encode(image, kind), 8) == oddity


def test_reading(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"abc")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    assert read_bytes(str(tmp_path / "a.jpg")) == b"abc"
    for place, cause in {
        "": "no image is named",
        f"{tmp_path}/b.jpg": f"missing (there is no {tmp_path}/b.jpg)",
        f"{tmp_path}": "a folder, not a picture",
        f"{tmp_path}/empty.jpg": "zero bytes",
        f"{tmp_path}/loop.jpg": "cannot be read (Too many levels of symbolic links)",
        f"{tmp_path}/a\0.jpg": "cannot be read (embedded null byte)",
        "ftp://host/a.jpg": "cannot be read (Unrecognized filesystem type in URI: ftp://host/)",
    }.items():
        with pytest.raises(ValueError) as caught:
            read_bytes(place)
        assert str(caught.value) == cause


def test_reading_from_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bucket" / "sub").mkdir(parents=True)
    (tmp_path / "bucket" / "a b#1.jpg").write_bytes(b"abc")
    roots = []

    def local(root: Any) -> Any:
        roots.append(root)
        return fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "bucket"

    monkeypatch.setattr(source, "_file_system", local)
    assert read_bytes("s3://bucket/a b#1.jpg") == b"abc"
    assert read_bytes("s3://bucket/a%20b#1.jpg?region=eu-west-1") == b"abc"
    assert roots == ["s3://bucket/", "s3://bucket/?region=eu-west-1"]
    with pytest.raises(ValueError, match=r"^missing$"):
        read_bytes("s3://bucket/c.jpg")
    with pytest.raises(ValueError, match=r"^a folder, not a picture$"):
        read_bytes("s3://bucket/sub")
