"""Pictures that travel in the page."""

import base64
from dataclasses import dataclass
from io import BytesIO

from PIL import Image


@dataclass(frozen=True)
class Embedded:
    """A picture that travels in the page. data : URI. width, height : of its place, CSS pixels."""

    data: str
    caption: str
    width: int
    height: int


def embedded(image: Image.Image, caption: str = "", quality: int = 85) -> Embedded:
    """The picture at its own size: each of its pixels is a CSS pixel of the page."""
    return Embedded(jpeg_uri(image, quality), caption, *image.size)


def jpeg_uri(image: Image.Image, quality: int = 85) -> str:
    """The picture as a data URI."""
    content = BytesIO()
    image.convert("RGB").save(content, "JPEG", quality=quality, optimize=True)
    return data_uri(content.getvalue(), "jpeg")


def data_uri(content: bytes, kind: str) -> str:
    """A picture's file as a data URI; kind : such as ``png``."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
