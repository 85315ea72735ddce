"""Work in several processes at once, as many as memory has room for."""

import os

import pytest

from rsrl_ray.analysis.figures.apart import processes, write_apart
from rsrl_ray.analysis.figures.drawings import PHOTO_BYTES


@pytest.mark.parametrize(
    ("photos", "rounds", "cores", "methods", "together"),
    [
        (3100, 30, 64, 40, 4),
        (3100, 30, 2, 40, 2),
        (3100, 30, 64, 3, 3),
        (150_000, 30, 64, 40, 2),
        (255_000, 30, 64, 40, 1),
    ],
)
def test_as_many_write_at_once_as_memory_has_room_for(
    photos: int, rounds: int, cores: int, methods: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of AVA takes 0.7 GiB in each process, beside 2.4 GiB that 1,000 trials take in the one that reads them."""
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert processes(methods, PHOTO_BYTES * photos * rounds) == together


def test_work_apart_comes_back_in_its_order() -> None:
    assert write_apart(sorted, [[3, 1], [2], [5, 4]], lambda: [0], 0) == [0, 1, 3, 2, 4, 5]
    assert write_apart(sorted, [[3, 1]], lambda: [0], 0) == [0, 1, 3]
    with pytest.raises(TypeError, match="not supported between"):
        write_apart(sorted, [[3, 1], [2, "a"]], lambda: [0], 0)  # type: ignore[list-item]


def test_without_room_for_a_second_process_there_is_none() -> None:
    here = os.getpid()
    assert write_apart(lambda part: [part, os.getpid()], [1, 2], lambda: [0], 2**40) == [0, 1, here, 2, here]
