"""Pictures of the page: small, and what they show is not changed."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image

from rsrl_ray.analysis.page.pictures import drawing_uri, embedded


def opened(uri: str) -> Image.Image:
    kind, _, content = uri.partition(";base64,")
    assert kind == "data:image/webp"
    return Image.open(BytesIO(base64.b64decode(content))).convert("RGB")


def test_a_drawing_keeps_its_edges_and_nearly_its_colours() -> None:
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    colours[0] = [[255, 255, 255], [0, 0, 0]] * 15
    drawn = np.asarray(opened(drawing_uri(Image.fromarray(colours))))
    np.testing.assert_array_equal(drawn[0], colours[0])
    assert np.abs(drawn.astype(int) - colours).max() == 2


def test_a_photo_has_its_own_size() -> None:
    made = embedded(Image.new("L", (30, 20), 128), "grey")
    assert (made.caption, made.width, made.height) == ("grey", 30, 20)
    picture = opened(made.data)
    assert picture.size == (30, 20)
    np.testing.assert_allclose(picture.getpixel((15, 10)), 128, atol=2)
