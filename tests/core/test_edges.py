"""Edges of literal photos on the grid of a convolution."""

from typing import Any

import numpy as np
import pytest

from rsrl_ray.core.edges import edge_map


def grey(values: Any) -> Any:
    return np.repeat(np.array(values, dtype=np.uint8)[:, :, None], 3, axis=2)


def test_a_step_is_an_edge_on_both_sides_of_it_and_the_border_is_none() -> None:
    steps = grey([[0, 0, 10, 10]] * 3)
    # Sobel across the step: (1 + 2 + 1) * 10
    assert edge_map(steps, (1, 1), (1, 1), (0, 0)) == pytest.approx(np.array([[0, 40, 40, 0]] * 3))


def test_the_length_of_the_gradient_is_the_same_along_rows_and_columns() -> None:
    steps = grey([[0, 0, 10, 10]] * 4)
    turned = edge_map(steps.transpose(1, 0, 2), (1, 1), (1, 1), (0, 0))
    assert pytest.approx(edge_map(steps, (1, 1), (1, 1), (0, 0))) == turned.T
    corner = edge_map(grey([[0, 0, 0], [0, 10, 10], [0, 10, 10]]), (1, 1), (1, 1), (0, 0))
    assert corner[1, 1] == pytest.approx(np.hypot(30, 30))  # 2 + 1 of the 10s on one side, none on the other


def test_each_pixel_is_the_mean_of_its_window() -> None:
    steps = grey([[0, 0, 10, 10]] * 4)
    assert edge_map(steps, (2, 2), (2, 2), (0, 0)) == pytest.approx(np.array([[20, 20], [20, 20]]))
    padded = edge_map(steps, (4, 3), (1, 2), (1, 1))  # windows begin at columns -1 and 1 of 0 40 40 0
    assert padded == pytest.approx(np.array([[40 / 3, 80 / 3]] * 3))


def test_of_colours_only_how_bright_they_are_counts() -> None:
    red = np.zeros((1, 4, 3), dtype=np.uint8)
    red[0, 2:, 0] = 100
    assert edge_map(red, (1, 1), (1, 1), (0, 0)) == pytest.approx(np.array([[0, 119.6, 119.6, 0]]))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "shape"),
    [
        (224, (11, 11), (4, 4), (2, 2), (55, 55)),  # AlexNet
        (128, (3, 3), (2, 2), (0, 0), (63, 63)),  # SqueezeNet
        (16, (3, 2), (2, 1), (0, 1), (7, 17)),
    ],
)
def test_as_large_as_the_map(size: int, kernel: Any, stride: Any, padding: Any, shape: Any) -> None:
    assert edge_map(np.zeros((size, size, 3), np.uint8), kernel, stride, padding).shape == shape
