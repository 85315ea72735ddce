"""Every kind of picture that is read, against what OpenCV makes of the same bytes; and those that are refused."""

from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image

from rsrl_ray.photos.picture import decode_photo

SIDE = 32
DOWN, ACROSS = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
COLOUR = np.stack([ACROSS, DOWN, 1 - ACROSS], axis=2)  # [S, S, 3], 0 to 1
GREY = (ACROSS + DOWN) / 2
ALPHA = np.where(ACROSS < 0.5, 1.0, DOWN)


def as_8(values: Any) -> Any:
    return np.rint(values * 255).astype(np.uint8)


def as_16(values: Any) -> Any:
    return np.rint(values * 65535).astype(np.uint16)


def saved(values: Any, kind: Any, mode: Any = None, **options: Any) -> Any:
    image = Image.fromarray(values)
    data = BytesIO()
    (image if mode is None else image.convert(mode)).save(data, kind, **options)
    return data.getvalue()


def tiff(values: Any, **options: Any) -> Any:
    data = BytesIO()
    tifffile.imwrite(data, values, **options)
    return data.getvalue()


def by_opencv(kind: Any, values: Any) -> Any:
    done, data = cv2.imencode(kind, values)
    assert done
    return data.tobytes()


def heif(values: Any, **options: Any) -> Any:
    data = BytesIO()
    pillow_heif.from_pillow(Image.fromarray(values)).save(data, quality=-1, chroma=444, **options)
    return data.getvalue()


def opencv(data: Any) -> Any:
    """The picture as 8-bit RGB, [H, W, 3], transparency over white; white of 16 bits is 65535, of floats 1."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    found = found / {"uint8": 255, "uint16": 65535, "float32": 1}[found.dtype.name]
    if found.ndim == 2:
        found = np.repeat(found[:, :, None], 3, axis=2)
    alpha = found[:, :, 3:] if found.shape[2] == 4 else 1.0
    return as_8(found[:, :, 2::-1] * alpha + 1 - alpha)


BGR = COLOUR[:, :, ::-1]
RGBA = np.dstack([COLOUR, ALPHA])

READ = {
    "JPEG": saved(as_8(COLOUR), "JPEG", quality=95, subsampling=0),
    "JPEG, progressive": saved(as_8(COLOUR), "JPEG", quality=95, subsampling=0, progressive=True),
    "JPEG, grey": saved(as_8(GREY), "JPEG", quality=95),
    "JPEG, quarter colours": saved(as_8(COLOUR), "JPEG", quality=95, subsampling=2),
    "JPEG, CMYK": saved(as_8(COLOUR), "JPEG", "CMYK", quality=95, subsampling=0),
    "JPEG, by OpenCV": by_opencv(".jpg", as_8(BGR)),
    "PNG": saved(as_8(COLOUR), "PNG"),
    "PNG, grey": saved(as_8(GREY), "PNG"),
    "PNG, 1 bit": saved(as_8(GREY), "PNG", "1"),
    "PNG, palette": saved(as_8(COLOUR), "PNG", "P"),
    "PNG, 4 bits": saved(as_8(GREY), "PNG", "P", bits=4),
    "PNG, palette with alpha": saved(as_8(COLOUR), "PNG", "P", transparency=bytes(range(256))),
    "PNG, one colour clear": saved(as_8(COLOUR), "PNG", transparency=(0, 0, 255)),
    "PNG, grey with alpha": saved(as_8(np.dstack([GREY, ALPHA])), "PNG"),
    "PNG, alpha": saved(as_8(RGBA), "PNG"),
    "PNG, grey of 16 bits": by_opencv(".png", as_16(GREY)),
    "PNG, 16 bits": by_opencv(".png", as_16(BGR)),
    "PNG, alpha of 16 bits": by_opencv(".png", as_16(RGBA[:, :, [2, 1, 0, 3]])),
    "WebP": saved(as_8(COLOUR), "WEBP", lossless=True),
    "WebP, alpha": saved(as_8(RGBA), "WEBP", lossless=True, exact=True),
    "WebP, lossy": saved(as_8(COLOUR), "WEBP", quality=95),
    "TIFF": tiff(as_8(COLOUR), photometric="rgb"),
    "TIFF, grey": tiff(as_8(GREY)),
    "TIFF, 1 bit": saved(as_8(GREY), "TIFF", "1"),
    "TIFF, alpha of 16 bits": tiff(as_16(RGBA), photometric="rgb", extrasamples=["unassalpha"]),
    "TIFF, white is zero": tiff(as_8(GREY), photometric="miniswhite"),
    "TIFF, LZW": saved(as_8(COLOUR), "TIFF", compression="tiff_lzw"),
    "TIFF, deflate, tiles": tiff(as_8(COLOUR), photometric="rgb", compression="zlib", tile=(16, 16)),
    "TIFF, JPEG inside": saved(as_8(COLOUR), "TIFF", compression="jpeg", quality=95),
    "TIFF, planes": tiff(as_8(COLOUR).transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
    "TIFF, 16 bits": tiff(as_16(COLOUR), photometric="rgb"),
    "TIFF, grey of 16 bits": tiff(as_16(GREY)),
    "TIFF, grey of 16 bits, big-endian": tiff(as_16(GREY).astype(">u2"), byteorder=">"),
    "TIFF, palette": saved(as_8(COLOUR), "TIFF", "P"),
    "TIFF, floats": tiff(GREY.astype(np.float32)),
    "TIFF, several pages": tiff(np.stack([as_8(GREY), as_8(1 - GREY)]), photometric="minisblack"),
    "BigTIFF": tiff(as_8(COLOUR), photometric="rgb", bigtiff=True),
    "GIF": saved(as_8(COLOUR), "GIF"),
    "BMP": saved(as_8(COLOUR), "BMP"),
    "PPM": saved(as_8(COLOUR), "PPM"),
    "PGM, 16 bits": by_opencv(".pgm", as_16(GREY)),
    "JPEG 2000": saved(as_8(COLOUR), "JPEG2000"),
    "JPEG 2000, grey of 16 bits": by_opencv(".jp2", as_16(GREY)),
    "AVIF": saved(as_8(COLOUR), "AVIF", quality=100, subsampling="4:4:4"),
}


@pytest.mark.parametrize("kind", READ)
def test_the_same_as_opencv_has_it(kind: Any) -> None:
    pixels = decode_photo(READ[kind], None)
    assert pixels.shape == (SIDE, SIDE, 3)
    assert np.abs(pixels.astype(int) - opencv(READ[kind])).max() <= 2


def tagged(values: Any, tag: Any, kind: Any, white: Any, **options: Any) -> Any:
    return tiff(values, extratags=[(tag, kind, 1, white, True)], **options)


RAMP = np.array([[0, 1, 2048, 4095]])
MEANT = {
    "12 bits in 16, SMaxSampleValue": (tagged(RAMP.astype("u2"), 341, "H", 4095), [0, 0, 128, 255]),
    "12 bits in 16, MaxSampleValue": (tagged(RAMP.astype("u2"), 281, "H", 4095), [0, 0, 128, 255]),
    "12 bits in 16, WhiteLevel": (tagged(RAMP.astype("u2"), 50717, "I", 4095), [0, 0, 128, 255]),
    "12 bits in 32, tagged": (tagged(RAMP.astype("u4"), 341, "I", 4095), [0, 0, 128, 255]),
    "12 bits in 16 without a tag": (tiff(RAMP.astype("u2")), [0, 0, 8, 15]),
    "floats to 4095, tagged": (tagged(RAMP.astype("f4"), 341, "f", 4095.0), [0, 0, 128, 255]),
    "16 bits with a sign": (tiff(np.array([[-5, 0, 16384, 32767]], "i2")), [0, 0, 128, 255]),
    "16 bits, white is zero": (tiff(np.array([[0, 256, 65535]], "u2"), photometric="miniswhite"), [255, 254, 0]),
    "floats, white is zero": (tiff(np.array([[0, 0.25, 1]], "f4"), photometric="miniswhite"), [255, 191, 0]),
}


@pytest.mark.parametrize("kind", MEANT)
def test_what_is_white(kind: Any) -> None:
    data, expected = MEANT[kind]
    assert decode_photo(data, None)[0].tolist() == [[value] * 3 for value in expected]


def test_a_tiff_with_alpha() -> None:
    """OpenCV takes the colours of such a TIFF for multiplied with alpha already, which its tag denies."""
    data = tiff(as_8(RGBA), photometric="rgb", extrasamples=["unassalpha"])
    over_white = as_8(COLOUR * ALPHA[:, :, None] + 1 - ALPHA[:, :, None])
    assert np.abs(decode_photo(data, None).astype(int) - over_white).max() <= 2


INKS = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255]]], dtype=np.uint8)


@pytest.mark.parametrize(
    "data", [tiff(INKS, photometric="separated"), tiff(INKS * np.uint16(257), photometric="separated")]
)
def test_inks(data: Any) -> None:
    assert decode_photo(data, None)[0].tolist() == [[255] * 3, [0, 255, 255], [255, 0, 0], [0, 0, 0]]


def test_a_picture_of_a_phone_in_two_sizes() -> None:
    data = BytesIO()
    Image.fromarray(as_8(COLOUR)).save(data, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))], quality=95)
    assert np.abs(decode_photo(data.getvalue(), None).astype(int) - as_8(COLOUR)).max() <= 8


def test_heic() -> None:
    assert np.abs(decode_photo(heif(as_8(COLOUR)), None).astype(int) - as_8(COLOUR)).max() <= 4


def eps() -> Any:
    data = BytesIO()
    Image.fromarray(as_8(COLOUR)).save(data, "EPS")
    return data.getvalue()


AS_8_OR_16 = "save it with 8 or 16 bits"
FLOATS = f"but 0 is black and 1 is white if no tag (SMaxSampleValue) says otherwise; {AS_8_OR_16}"
REFUSED = {
    "floats of more than 1": (
        tiff(np.array([[0, 0.5, 65535]], "f4")),
        f"floats of 0 to 65535, {FLOATS}",
    ),
    "floats below 0": (
        tiff(np.array([[-1, 0.5, 1]], "f4")),
        f"floats of -1 to 1, {FLOATS}",
    ),
    "floats that are none": (tiff(np.array([[0.5, np.nan, 1]], "f4")), "a pixel is not a number (NaN or infinite)"),
    "integers of 32 bits": (
        tiff(RAMP.astype("u4")),
        f"32-bit integers without a tag (SMaxSampleValue) that says what is white; {AS_8_OR_16}",
    ),
    "integers of 8 bits with a sign": (
        tiff(np.array([[0, 127]], "i1")),
        "signed 8-bit values, so it is not known what is black; save it with unsigned 8 bits",
    ),
    **{
        name: (
            tiff(values, **options),
            "a kind of TIFF that Pillow does not read; save it with 8 or 16 bits, as grey, RGB or CMYK",
        )
        for name, values, options in (
            ("floats of 64 bits", GREY, {}),
            ("floats of 16 bits", GREY.astype("f2"), {}),
            ("floats in colour", COLOUR.astype("f4"), {"photometric": "rgb"}),
            ("complex numbers", GREY.astype("c8"), {}),
        )
    },
    "CIELAB": (tiff(as_8(COLOUR), photometric="cielab"), "CIELAB colours; save it as RGB"),
    "EPS": (eps(), "EPS, a format that is not read; save it as JPEG or PNG"),
    "PCX": (saved(as_8(COLOUR), "PCX"), "PCX, a format that is not read; save it as JPEG or PNG"),
    "ICNS": (saved(as_8(COLOUR), "ICNS"), "ICNS, a format that is not read; save it as JPEG or PNG"),
    "a page": (b"<html>not found</html>", "not a picture that Pillow can read"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_says_why(kind: Any) -> None:
    data, cause = REFUSED[kind]
    with pytest.raises(ValueError) as caught:
        decode_photo(data, 8)
    assert str(caught.value) == cause
