"""What the nearest photos are, by hand."""

from collections.abc import Iterator

import numpy as np
import pytest
from core.rules.judged import dropped, judged

from rsrl_ray.core.rules import edited_neighbours
from rsrl_ray.core.rules.edited_neighbours import EditedNeighbours
from rsrl_ray.core.rules.rule import NO_FEATURES, Seen

# The mean is (10, 10). Less it: 0 and 3 point right, 1 and 4 left, 2 and 5 are 3-4-5 triangles, upwards and downwards.
# The nearest three of 0 to 5: 3 2 5; 4 5 2; 0 3 1; 0 2 5; 1 5 2; 1 4 0.
FEATURES = np.array([[11, 10], [9, 10], [13, 14], [12, 10], [8, 10], [7, 6]], dtype=np.float32)


def _seen(labels: list[int], features: np.ndarray = FEATURES, **other: object) -> Seen:
    knobs = {"features_of": features.copy, "majority": np.arange(5)} | other
    return judged(labels, np.zeros((len(labels), 5)), **knobs)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    edited_neighbours._found.clear()
    yield
    edited_neighbours._found.clear()


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [0, 3, 5]),
        (2, [3, 5]),  # 0, 1, 2 and 4 have a neighbour of either class
        (3, [1, 2, 3, 4, 5]),  # 0 has neighbours of 1, 0, 0
        (5, [0, 1, 2, 3, 4, 5]),  # two of the own class and three of the other
        (99, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_the_nearest_photos_vote(k: int, expected: list[int]) -> None:
    assert dropped(EditedNeighbours(k), _seen([0, 1, 0, 1, 1, 0])) == expected


def test_without_a_single_winner_a_photo_stays() -> None:
    # The neighbours of 0 are of 1, 2, 3; of 2: 0, 1, 4; of 3: 0, 2, 3; of 4: 4, 3, 2; of 5: 4, 3, 0; of 1: 3, 3, 2.
    assert dropped(EditedNeighbours(3), _seen([0, 4, 2, 1, 3, 3])) == [1]


def test_ordered_a_photo_goes_that_is_more_than_one_class_from_the_median() -> None:
    # The medians are 2, 3, 1, 2, 3, 3: photo 0 is two classes away, and photos 1, 2 and 3 are one class away.
    assert dropped(EditedNeighbours(3, ordered=True), _seen([0, 4, 2, 1, 3, 3])) == [0]
    assert dropped(EditedNeighbours(3, ordered=True), _seen([1, 4, 2, 0, 3, 3])) == [3]


def test_of_two_medians_the_nearer_one_and_all_between_them_count() -> None:
    # The two neighbours are of 1 3; 3 3; 0 1; 0 3; 4 3; 4 3. Only photo 2 is two classes away, from 1.
    assert dropped(EditedNeighbours(2, ordered=True), _seen([0, 4, 3, 1, 3, 3])) == [2]


def test_photos_of_majority_classes_go_and_all_classes_vote() -> None:
    assert dropped(EditedNeighbours(3), _seen([0, 1, 0, 1, 1, 0], majority=np.array([0]))) == [2, 5]


def test_photos_that_were_dropped_still_vote() -> None:
    seen = _seen([0, 1, 0, 1, 1, 0], kept=np.array([True, True, False, False, False, True]))
    assert dropped(EditedNeighbours(3), seen) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("ordered", [False, True])
def test_a_photo_alone_stays(ordered: bool) -> None:
    assert dropped(EditedNeighbours(3, ordered), _seen([0], FEATURES[:1])) == []


def test_neighbours_are_found_once_for_all_rounds_and_rules_of_a_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    found = edited_neighbours.nearest

    def counted(features: np.ndarray, count: int) -> np.ndarray:
        asked.append(count)
        return found(features, count)

    monkeypatch.setattr(edited_neighbours, "nearest", counted)
    for _ in range(3):
        assert dropped(EditedNeighbours(3), _seen([0, 1, 0, 1, 1, 0])) == [1, 2, 3, 4, 5]
        assert dropped(EditedNeighbours(3, ordered=True), _seen([0, 4, 2, 1, 3, 3])) == [0]
    assert asked == [3]
    # Photos 2 and 3 change places: their neighbours are others.
    assert dropped(EditedNeighbours(1), _seen([0, 1, 0, 1, 1, 0])) == [0, 3, 5]
    assert dropped(EditedNeighbours(1), _seen([0, 1, 0, 1, 1, 0], FEATURES[[0, 1, 3, 2, 4, 5]])) == [3, 5]
    assert asked == [3, 1, 1]
    for more in range(20):
        EditedNeighbours(1).drops(_seen([0, 1, 0, 1, 1, 0], FEATURES * (more + 2)))
    assert len(edited_neighbours._found) == 8


def test_without_features_it_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=f"^{NO_FEATURES}$"):
        EditedNeighbours(3).drops(_seen([0, 1, 0, 1, 1, 0], features_of=None))


def test_in_words() -> None:
    assert str(EditedNeighbours(3)) == "edited neighbours, 3 nearest"
    assert str(EditedNeighbours(5, True)) == "edited ordered neighbours, 5 nearest"
    assert EditedNeighbours(3).at(1) == EditedNeighbours(3).at(9) != EditedNeighbours(3, True).at(1)
    with pytest.raises(ValueError, match=r"edited_neighbours: 0; give a whole number, 1 or more"):
        EditedNeighbours(0)
    with pytest.raises(ValueError, match=r"ordered: 'yes'; give true or false"):
        EditedNeighbours(3, "yes")  # type: ignore[arg-type]
