"""Photos that a round sees, by hand."""

import numpy as np
import pytest

from rsrl_ray.core.passes import batch_count, passes
from rsrl_ray.vision.inputs import batches


def test_the_papers_rounds_pass_over_what_is_kept() -> None:
    assert passes(70, 100, 32, 5, steps="kept") == [70] * 5


@pytest.mark.parametrize(
    ("kept", "whole", "batch_size", "epochs", "expected"),
    [
        (100, 100, 32, 5, [100] * 5),  # 20 batches of 20
        (70, 100, 32, 5, [70] * 6 + [64]),  # 20 batches: 6 times 3 and 2
        (64, 100, 32, 5, [64] * 10),  # 10 times 2
        (10, 100, 32, 2, [10] * 8),  # 8 times 1
        (65, 100, 32, 1, [65, 65]),  # of 65 photos the last joins the second batch: 4 are 2 times 2
        (97, 129, 32, 2, [97, 97, 64]),  # of 129 too: 8 are 2 times 3 and 2
        (3, 7, 1, 2, [3, 3, 3, 3, 2]),  # 14 steps of a photo each
        (1, 100, 32, 1, [1] * 4),
    ],
)
def test_with_equal_steps_as_many_batches_as_of_all_photos(
    kept: int, whole: int, batch_size: int, epochs: int, expected: list[int]
) -> None:
    assert passes(kept, whole, batch_size, epochs, steps="all") == expected


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 32])
def test_the_batches_are_those_that_are_trained_on(batch_size: int) -> None:
    whole, epochs = 40, 3
    steps = epochs * len(batches(np.arange(whole), batch_size))
    for kept in range(1, whole + 1):
        assert batch_count(kept, batch_size) == len(batches(np.arange(kept), batch_size))
        cut = [batches(np.arange(kept)[:count], batch_size) for count in passes(kept, whole, batch_size, epochs, "all")]
        assert sum(map(len, cut)) == steps


def test_weighted_steps_are_those_of_all_photos() -> None:
    assert passes(70, 100, 32, 5, steps="weighted") == [100] * 5
