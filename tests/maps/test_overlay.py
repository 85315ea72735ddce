"""Overlays: where the map is on the photo, and its colours."""

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from rsrl_ray.maps.overlay import covered, overlay


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "box"),
    [
        (224, (11, 11), (4, 4), (2, 2), (-0.375, -0.375, 55.625, 55.625)),  # AlexNet: 55 x 55
        (224, (3, 3), (1, 1), (1, 1), (0, 0, 224, 224)),  # VGG: 224 x 224
        (128, (3, 3), (2, 2), (0, 0), (-0.25, -0.25, 63.75, 63.75)),  # SqueezeNet: 63 x 63
        (8, (1, 2), (1, 2), (0, 0), (0, 0, 4, 8)),  # 8 rows, 4 columns
    ],
)
def test_what_the_picture_covers_of_the_map(
    size: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    box: tuple[float, float, float, float],
) -> None:
    assert covered(size, kernel, stride, padding) == box


def colours(
    values: ArrayLike, photo: NDArray[np.uint8] | None = None, box: tuple[float, float, float, float] | None = None
) -> NDArray[np.int64]:
    values = np.array(values, dtype=np.float64)
    height, width = values.shape
    photo = np.zeros((height, width, 3), dtype=np.uint8) if photo is None else photo
    return np.asarray(overlay(photo, values, box or (0, 0, width, height))).astype(int)


def test_red_is_more_blue_is_less_and_the_photo_shows_at_zero() -> None:
    red, blue, grey = colours([[2.0, -2.0, 0.0]])[0]
    assert red[0] > red[2] + 80 and blue[2] > blue[0] + 80
    assert grey.tolist() == [96, 96, 96]


def test_symmetric_about_zero_whatever_the_larger_side() -> None:
    weak, strong = colours([[1.0, 0.0], [0.0, -4.0]])[[0, 1], [0, 1]]
    both = colours([[1.0, 0.0], [0.0, 4.0]])[[0, 1], [0, 1]]
    assert weak.tolist() == both[0].tolist() and strong.tolist() != both[1].tolist()
    assert 0 < weak[0] - weak[2] < both[1][0] - both[1][2]


def test_the_photo_shows_through_but_for_its_colours() -> None:
    photo = np.zeros((1, 2, 3), dtype=np.uint8)
    photo[0, 1] = (255, 255, 255)
    assert colours([[0.0, 0.0]], photo)[0].tolist() == [[96] * 3, [255] * 3]
    photo[0, 0] = (0, 0, 255)
    assert len(set(colours([[0.0, 0.0]], photo)[0, 0])) == 1


def test_at_the_size_of_the_photo() -> None:
    assert colours(np.eye(5), np.zeros((30, 47, 3), dtype=np.uint8), (0, 0, 5, 5)).shape == (30, 47, 3)


def test_the_map_is_laid_where_the_box_says() -> None:
    photo = np.zeros((8, 8, 3), dtype=np.uint8)
    values = np.zeros((4, 4))
    values[0, 3] = 1
    plain = colours(values, photo, (0, 0, 4, 4))
    assert plain[0, 7, 0] - plain[0, 7, 2] > 80 and (plain[4:] == 96).all() and (plain[:, :4] == 96).all()  # top right
    beyond = colours(values, photo, (-2, -2, 6, 6))  # the map covers the photo's middle, rows and columns 2 to 5
    redness = beyond[:, :, 0] - beyond[:, :, 2]
    assert redness[2, 5] > 80 and redness[6, 2] == 0
    assert redness[0, 7] > 80  # the edge goes on beyond the map


def test_a_map_of_zeros_leaves_the_photo() -> None:
    assert (colours(np.zeros((3, 3))) == 96).all()


def test_one_odd_pixel_does_not_drown_the_others() -> None:
    values = np.full((20, 20), 1.0)
    values[0, 0] = 1000
    strong = colours(np.full((20, 20), 1.0))[10, 10]
    assert colours(values)[10, 10].tolist() == strong.tolist()
